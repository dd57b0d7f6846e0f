#include "dataplane/stages/inject.hpp"

#include "dataplane/config/snapshot.hpp"
#include "dataplane/packet/parse_ip.hpp"
#include "dataplane/stages/forward_policy.hpp"

#include <algorithm>
#include <cstring>
#include <type_traits>

namespace twinspan {
namespace {

// Offset of the UDP header from the frame's start; 0: no whole datagram of UDP. Extension headers IKE has none.
unsigned find_udp(const Ipv4Header& ip) noexcept {
    const bool whole = (ip.fragment.raw & (kIpv4MoreFragments.raw | kIpv4FragmentOffset.raw)) == 0;
    return ip.protocol == +IpProtocol::udp && ip.header_bytes() >= sizeof(Ipv4Header) && whole
               ? static_cast<unsigned>(sizeof(EthernetHeader)) + ip.header_bytes()
               : 0;
}
unsigned find_udp(const Ipv6Header& ip) noexcept {
    return ip.next_header == +IpProtocol::udp ? static_cast<unsigned>(sizeof(EthernetHeader) + sizeof(Ipv6Header)) : 0;
}

// IKE of one of our tunnels, from our end to its gateway (RFC 7296, RFC 3948 section 2.2): port 500, or the NAT
// traversal port with the marker or a keepalive. It brings the encryption up, so it cannot be under it. ESP of Linux's
// making is none: it would use the numbers of an SA that is ours.
template <class Header>
bool is_ike_of_tunnel(const Snapshot& config, rte_mbuf& m, const Header& ip) noexcept {
    const unsigned udp_at = find_udp(ip);
    const unsigned payload_at = udp_at + static_cast<unsigned>(sizeof(UdpHeader));
    if (udp_at == 0 || m.data_len <= payload_at) {
        return false;
    }
    const be16 port = header_at<UdpHeader>(m, udp_at).src_port;
    if (port != kIkePort) {
        const bool keepalive = m.data_len == payload_at + 1 && header_at<std::uint8_t>(m, payload_at) == kNatKeepalive;
        const bool marked = m.data_len >= payload_at + sizeof(be32) && header_at<be32>(m, payload_at) == kNonEspMarker;
        if (!config.takes_esp(port) || !(keepalive || marked)) {
            return false;
        }
    }
    const IpAddress from = IpAddress::from(ip.src), to = IpAddress::from(ip.dst);
    return std::ranges::any_of(config.tunnels, [&](const Tunnel& t) { return t.local == from && t.remote == to; });
}

// Linux's routes are not ours: it knows neither `encrypt:` nor the pools. Under the one nothing leaves in clear, and
// past the others it may send only as itself; what it merely forwards would go out untranslated.
template <class Header>
Verdict may_leave(const Snapshot& config, const Leg& leg, rte_mbuf& m) noexcept {
    if (m.data_len < sizeof(EthernetHeader) + sizeof(Header)) {
        return Drop::inject_bad_packet;
    }
    const auto& ip = header_at<Header>(m, sizeof(EthernetHeader));
    if (config.route_to(ip.dst).must_encrypt() && !is_ike_of_tunnel(config, m, ip)) {
        return Drop::encrypt_required;
    }
    constexpr IpVersion kIp = std::is_same_v<Header, Ipv4Header> ? IpVersion::v4 : IpVersion::v6;
    if (must_translate(config, leg.zone, kIp) && ip.src != decltype(ip.src){} &&
        config.route_to(ip.src).kind() != RouteKind::local) {
        return Drop::policy_denied;
    }
    return Verdict::keep();
}

// A TAP stands for one leg: its tags are put on here, and what Linux tags itself could be another leg's. What is
// neither IP nor control of the link could hide IP from the guard.
Verdict may_leave(const Snapshot& config, const Leg& leg, rte_mbuf& m) noexcept {
    const be16 type = header_at<EthernetHeader>(m, 0).type;
    if (type == kEtherTypeIpv4) {
        return may_leave<Ipv4Header>(config, leg, m);
    }
    if (type == kEtherTypeIpv6) {
        return may_leave<Ipv6Header>(config, leg, m);
    }
    return is_link_control(type) ? Verdict::keep() : Verdict{Drop::inject_bad_packet};
}

bool push_tags(rte_mbuf& m, const Leg& leg) noexcept {
    const std::size_t bytes = leg.tag_count * sizeof(VlanTag);
    char* frame = rte_pktmbuf_prepend(&m, static_cast<std::uint16_t>(bytes));
    if (frame == nullptr) {
        return false;
    }
    std::memmove(frame, frame + bytes, 2 * sizeof(MacAddress));
    std::memcpy(frame + 2 * sizeof(MacAddress), leg.tags.data(), bytes);
    return true;
}

}  // namespace

void InjectFrame::process(Context& ctx, Batch& batch) noexcept {
    const Snapshot& config = *ctx.config;
    batch.for_each(ctx, [&](rte_mbuf& m) noexcept -> Verdict {
        if (m.data_len < sizeof(EthernetHeader)) {
            return Drop::inject_bad_packet;
        }
        const std::uint16_t index = config.netdevs[meta(m).netdev].index;
        const Leg& leg = config.legs[index];
        if (!leg.up) {
            return Drop::link_down;
        }
        if (const Verdict verdict = may_leave(config, leg, m); !verdict.kept()) {
            return verdict;
        }
        if (!push_tags(m, leg)) {
            return Drop::no_headroom;
        }
        ctx.counters->leg_tx[index].add(1, m.pkt_len);
        ctx.transmit[leg.port].push(&m);
        return Verdict::keep();
    });
    batch.clear();
}

void InjectIntoTunnel::process(Context& ctx, Batch& batch) noexcept {
    const Snapshot& config = *ctx.config;
    batch.for_each(ctx, [&](rte_mbuf& m) noexcept -> Verdict {
        PacketMeta& pm = meta(m);
        pm.rx_leg = kNone;
        pm.l2_length = 0;
        pm.zone = Zone::self;
        pm.flags = meta_flag::kInjected;
        pm.tunnel = config.netdevs[pm.netdev].index;
        if (!parse_ip(m, pm).kept()) {
            return Drop::inject_bad_packet;
        }
        const Tunnel& tunnel = config.tunnels[pm.tunnel];
        if (!tunnel.up) {
            return Drop::tunnel_down;
        }
        return pm.l3_length > tunnel.inner_mtu ? Verdict{Drop::too_big} : Verdict::keep();
    });
}

}  // namespace twinspan
