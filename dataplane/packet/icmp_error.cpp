#include "dataplane/packet/icmp_error.hpp"

#include "dataplane/config/snapshot.hpp"

#include <rte_ip.h>

#include <algorithm>
#include <cstring>

namespace twinspan {
namespace {

struct TypeCode {
    std::uint8_t type, code;
};

constexpr TypeCode icmp4(IcmpError error) noexcept {
    switch (error) {
        case IcmpError::hop_limit_expired:
            return {11, 0};
        case IcmpError::too_big:
            return {3, 4};
        case IcmpError::prohibited:
            return {3, 13};
        case IcmpError::unreachable:
            break;
    }
    return {3, 0};
}

constexpr TypeCode icmp6(IcmpError error) noexcept {
    switch (error) {
        case IcmpError::hop_limit_expired:
            return {3, 0};
        case IcmpError::too_big:
            return {2, 0};
        case IcmpError::prohibited:
            return {1, 1};
        case IcmpError::unreachable:
            break;
    }
    return {1, 0};
}

bool is_unicast_source(be32 address) noexcept {
    const std::uint32_t a = address.host();
    return a != 0 && a >> 24 != 127 && a < 0xe0000000u;
}

// RFC 4443 section 2.4 (e): errors, and redirects, which are no errors by their number.
bool is_icmp6_error(std::uint8_t type) noexcept { return type < 128 || type == 137; }

bool is_icmp4_error(std::uint8_t type) noexcept {
    return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

// An error quotes the packet. What came out of a tunnel is quoted into tunnels, and where tunnels may send to, only:
// its source is no more than what the far end claims.
template <class Address>
bool may_be_quoted(const Snapshot& config, const PacketMeta& pm, const Address& source) noexcept {
    if (pm.zone != Zone::tunnel) {
        return true;
    }
    const RouteResult back = config.route_to(source);
    if (back.kind() == RouteKind::connected) {
        return back.index() < config.legs.size() && config.allows(Zone::tunnel, config.legs[back.index()].zone);
    }
    if (back.kind() != RouteKind::forward || back.index() >= config.groups.size()) {
        return false;
    }
    const Egress& egress = config.egresses[config.buckets[config.groups[back.index()].first_bucket]];
    return egress.kind == EgressKind::tunnel || config.allows(Zone::tunnel, egress.zone);
}

// What both RFCs forbid to answer: errors, multicast, later fragments, senders that are no single host.
bool may_answer(const Context& ctx, rte_mbuf& m, const PacketMeta& pm) noexcept {
    if ((pm.flags & (meta_flag::kLaterFragment | meta_flag::kMulticast)) != 0 || pm.rx_leg >= ctx.config->legs.size()) {
        return false;
    }
    if (pm.ip == IpVersion::v4) {
        const auto& ip = header_at<Ipv4Header>(m, 0);
        return is_unicast_source(ip.src) && may_be_quoted(*ctx.config, pm, ip.src) && ip.dst.host() < 0xe0000000u &&
               !(pm.protocol == +IpProtocol::icmp && is_icmp4_error(header_at<IcmpHeader>(m, pm.l4_offset).type));
    }
    const auto& ip = header_at<Ipv6Header>(m, 0);
    return ip.src[0] != 0xff && ip.src != Ipv6Address{} && may_be_quoted(*ctx.config, pm, ip.src) &&
           ip.dst[0] != 0xff &&
           !(pm.protocol == +IpProtocol::icmpv6 && is_icmp6_error(header_at<IcmpHeader>(m, pm.l4_offset).type));
}

// ICMPv4 has 16 bits for the MTU, ICMPv6 has 32: their low halves lie at the same place.
IcmpHeader icmp_header(TypeCode tc, std::uint16_t mtu) noexcept {
    return {.type = tc.type, .code = tc.code, .checksum = {}, .id = {}, .sequence = to_be16(mtu)};
}

bool build_ipv4(const Leg& leg, rte_mbuf& m, IcmpError error, std::uint16_t mtu) noexcept {
    constexpr unsigned kHeaders = sizeof(Ipv4Header) + sizeof(IcmpHeader);
    constexpr unsigned kMaxBytes = 576;  // RFC 1812 section 4.3.2.3
    const be32 to = header_at<Ipv4Header>(m, 0).src;
    const auto quoted = std::min<std::uint16_t>(m.data_len, kMaxBytes - kHeaders);
    m.data_len = quoted;
    m.pkt_len = quoted;
    if (leg.address4.raw == 0 || rte_pktmbuf_prepend(&m, kHeaders) == nullptr) {
        return false;
    }
    auto& icmp = header_at<IcmpHeader>(m, sizeof(Ipv4Header));
    icmp = icmp_header(icmp4(error), mtu);
    icmp.checksum.raw = static_cast<std::uint16_t>(~rte_raw_cksum(&icmp, m.data_len - sizeof(Ipv4Header)));
    auto& ip = header_at<Ipv4Header>(m, 0);
    ip = {.version_ihl = 0x45,
          .tos = 0xc0,  // RFC 1812 section 4.3.2.5: precedence 6
          .total_length = to_be16(m.data_len),
          .id = {},
          .fragment = {},
          .ttl = 64,
          .protocol = +IpProtocol::icmp,
          .checksum = {},
          .src = leg.address4,
          .dst = to};
    ip.checksum.raw = static_cast<std::uint16_t>(~rte_raw_cksum(&ip, sizeof(ip)));
    return true;
}

bool build_ipv6(const Leg& leg, rte_mbuf& m, IcmpError error, std::uint16_t mtu) noexcept {
    constexpr unsigned kHeaders = sizeof(Ipv6Header) + sizeof(IcmpHeader);
    constexpr unsigned kMaxBytes = 1280;  // RFC 4443 section 2.4 (c)
    const Ipv6Address to = header_at<Ipv6Header>(m, 0).src;
    const auto quoted = std::min<std::uint16_t>(m.data_len, kMaxBytes - kHeaders);
    m.data_len = quoted;
    m.pkt_len = quoted;
    if (leg.address6 == Ipv6Address{} || rte_pktmbuf_prepend(&m, kHeaders) == nullptr) {
        return false;
    }
    const auto icmp_bytes = static_cast<std::uint16_t>(m.data_len - sizeof(Ipv6Header));
    auto& ip = header_at<Ipv6Header>(m, 0);
    ip = {.version_class_flow = to_be32(0x60000000),
          .payload_length = to_be16(icmp_bytes),
          .next_header = +IpProtocol::icmpv6,
          .hop_limit = 64,
          .src = leg.address6,
          .dst = to};
    auto& icmp = header_at<IcmpHeader>(m, sizeof(Ipv6Header));
    icmp = icmp_header(icmp6(error), mtu);
    // RFC 8200 section 8.1: pseudo-header of addresses, length and next header.
    std::uint32_t sum = rte_raw_cksum(&ip.src, 2 * sizeof(Ipv6Address));
    sum += to_be16(icmp_bytes).raw + to_be16(+IpProtocol::icmpv6).raw;
    sum += rte_raw_cksum(&icmp, icmp_bytes);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    icmp.checksum.raw = static_cast<std::uint16_t>(~sum);
    return true;
}

}  // namespace

void end_with_icmp(Context& ctx, rte_mbuf& m, Drop reason, IcmpError error, std::uint16_t mtu) noexcept {
    PacketMeta& pm = meta(m);
    if (ctx.icmp_tokens == 0 || ctx.generated.full() || !may_answer(ctx, m, pm)) {
        ctx.drop(&m, reason);
        return;
    }
    const Leg& leg = ctx.config->legs[pm.rx_leg];
    const bool v4 = pm.ip == IpVersion::v4;
    if (!(v4 ? build_ipv4(leg, m, error, mtu) : build_ipv6(leg, m, error, mtu))) {
        ctx.drop(&m, reason);
        return;
    }
    --ctx.icmp_tokens;
    (*ctx.counters)[reason].add(1);
    ctx.counters->generated.add(1);
    pm.protocol = v4 ? +IpProtocol::icmp : +IpProtocol::icmpv6;
    pm.l4_offset = v4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header);
    pm.l3_length = m.data_len;
    pm.src_port = pm.dst_port = {};
    pm.zone = Zone::self;
    pm.flags = 0;
    pm.l2_length = 0;
    ctx.generated.push(&m);
}

}  // namespace twinspan
