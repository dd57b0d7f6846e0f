// Which packets may go on to which zone, whatever the way out is: asked by PickMember and Glean. Thread: worker.
#pragma once

#include "dataplane/config/snapshot.hpp"
#include "dataplane/packet/batch.hpp"

#include <algorithm>

namespace twinspan {

constexpr bool is_outside(Zone zone) noexcept {
    return zone == Zone::microsoft_peering || zone == Zone::public_peering || zone == Zone::internet;
}

// Why `from` may not send where it wants to, by name: sessions that Microsoft's side starts have their own.
constexpr Drop denied(Zone from) noexcept { return is_outside(from) ? Drop::unsolicited : Drop::policy_denied; }

// RFC 1812 section 5.3.7: a source in network 0, loopback, multicast or class E is nobody to forward for.
constexpr bool is_martian(be32 source) noexcept {
    const std::uint32_t a = source.host();
    return a >> 24 == 0 || a >> 24 == 127 || a >= 0xe0000000u;
}

// RFC 4291 sections 2.5.2 (unspecified), 2.5.3 (loopback), 2.5.6 (link-local) and 2.7 (multicast).
constexpr bool is_martian(const Ipv6Address& source) noexcept {
    if (source[0] == 0xff || (source[0] == 0xfe && (source[1] & 0xc0) == 0x80)) {
        return true;
    }
    for (std::size_t i = 0; i < 15; ++i) {
        if (source[i] != 0) {
            return false;
        }
    }
    return source[15] <= 1;
}

// Whether a packet may leave there only with an outside address. Pools are of IPv4.
inline bool must_translate(const Snapshot& config, Zone to, IpVersion ip) noexcept {
    return carries_public_addresses_only(to) ||
           (ip == IpVersion::v4 && std::ranges::find(config.pools, to, &NatPool::zone) != config.pools.end());
}

inline RouteResult route_to_source(const Snapshot& config, rte_mbuf& m, const PacketMeta& pm) noexcept {
    return pm.ip == IpVersion::v4 ? config.route_to(header_at<Ipv4Header>(m, 0).src)
                                  : config.route_to(header_at<Ipv6Header>(m, 0).src);
}

// The packet's data starts at its IP header.
inline Verdict may_send(const Snapshot& config, rte_mbuf& m, const PacketMeta& pm, Zone to) noexcept {
    if (!config.allows(pm.zone, to)) [[unlikely]] {
        return denied(pm.zone);
    }
    if (pm.ip == IpVersion::v4 ? is_martian(header_at<Ipv4Header>(m, 0).src)
                               : is_martian(header_at<Ipv6Header>(m, 0).src)) [[unlikely]] {
        return Drop::martian_source;
    }
    // RFC 4301 section 5.2: what should have come through a tunnel and did not is discarded. Else whoever stands on
    // the private peering could speak for the far end.
    if (pm.zone == Zone::private_peering && route_to_source(config, m, pm).must_encrypt()) [[unlikely]] {
        return Drop::encrypt_required;
    }
    return Verdict::keep();
}

}  // namespace twinspan
