// What kind of packet Linux is to get, which says whose rate it counts for. Only looked at on the way to Linux.
#pragma once

#include "dataplane/config/snapshot.hpp"
#include "dataplane/packet/batch.hpp"

namespace twinspan {

inline constexpr be16 kBgpPort = to_be16(179);
inline constexpr be16 kBfdPort = to_be16(3784);          // RFC 5881 section 4
inline constexpr be16 kBfdEchoPort = to_be16(3785);
inline constexpr be16 kBfdMultihopPort = to_be16(4784);  // RFC 5883 section 5
inline constexpr std::uint8_t kSentByNeighbour = 255;    // RFC 5082: no router lowered it on the way

// The packet's data starts at its IP header.
inline std::uint8_t hop_limit_of(rte_mbuf& m, const PacketMeta& pm) noexcept {
    return pm.ip == IpVersion::v4 ? header_at<Ipv4Header>(m, 0).ttl : header_at<Ipv6Header>(m, 0).hop_limit;
}

// RFC 4861 sections 4 and 11.2: types 133 to 137, and nobody off the link can have sent them.
inline bool is_neighbour_discovery(rte_mbuf& m, const PacketMeta& pm) noexcept {
    if (pm.protocol != +IpProtocol::icmpv6 || pm.ip != IpVersion::v6) {
        return false;
    }
    const std::uint8_t type = header_at<IcmpHeader>(m, pm.l4_offset).type;
    return type >= 133 && type <= 137 && hop_limit_of(m, pm) == kSentByNeighbour;
}

inline PuntClass punt_class(const Snapshot& config, rte_mbuf& m, const PacketMeta& pm) noexcept {
    if (pm.ip == IpVersion::none) {
        return PuntClass::link;
    }
    if ((pm.flags & meta_flag::kLaterFragment) != 0) {
        return PuntClass::other;  // it has no ports to tell by
    }
    if (is_neighbour_discovery(m, pm)) {
        return PuntClass::link;
    }
    if (pm.protocol == +IpProtocol::tcp) {
        return pm.src_port == kBgpPort || pm.dst_port == kBgpPort ? PuntClass::routing : PuntClass::other;
    }
    if (pm.protocol != +IpProtocol::udp) {
        return PuntClass::other;
    }
    if (pm.dst_port == kBfdPort) {
        return hop_limit_of(m, pm) == kSentByNeighbour ? PuntClass::routing : PuntClass::other;
    }
    if (pm.dst_port == kBfdEchoPort || pm.dst_port == kBfdMultihopPort) {
        return PuntClass::routing;
    }
    return pm.dst_port == kIkePort || config.takes_esp(pm.dst_port) ? PuntClass::ike : PuntClass::other;
}

constexpr Drop over_rate(PuntClass kind) noexcept {
    switch (kind) {
        case PuntClass::link:
            return Drop::punt_link_limited;
        case PuntClass::routing:
            return Drop::punt_routing_limited;
        case PuntClass::ike:
            return Drop::punt_ike_limited;
        case PuntClass::other:
            break;
    }
    return Drop::punt_rate_limited;
}

}  // namespace twinspan
