#include "dataplane/stages/inject.hpp"

#include "dataplane/config/snapshot.hpp"
#include "dataplane/packet/parse_ip.hpp"

#include <cstring>

namespace twinspan {
namespace {

bool is_tagged(rte_mbuf& m) noexcept {
    const be16 type = header_at<EthernetHeader>(m, 0).type;
    return type == kEtherTypeVlan || type == kEtherTypeQinQ;
}

bool is_under_encrypt(const Snapshot& config, rte_mbuf& m) noexcept {
    const be16 type = header_at<EthernetHeader>(m, 0).type;
    std::uint64_t found = 0;
    if (type == kEtherTypeIpv4 && m.data_len >= sizeof(EthernetHeader) + sizeof(Ipv4Header)) {
        const std::uint32_t dst = header_at<Ipv4Header>(m, sizeof(EthernetHeader)).dst.host();
        config.fib4.bulk(config.fib4.table, &dst, &found, 1);
    } else if (type == kEtherTypeIpv6 && m.data_len >= sizeof(EthernetHeader) + sizeof(Ipv6Header)) {
        const Ipv6Address dst = header_at<Ipv6Header>(m, sizeof(EthernetHeader)).dst;
        config.fib6.bulk(config.fib6.table, &dst, &found, 1);
    } else {
        return false;
    }
    return RouteResult::from_raw(static_cast<std::uint32_t>(found)).must_encrypt();
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
        // A TAP stands for one leg: its tags are put on here, and what Linux tags itself could be another leg's.
        if (m.data_len < sizeof(EthernetHeader) || is_tagged(m)) {
            return Drop::inject_bad_packet;
        }
        const std::uint16_t index = config.netdevs[meta(m).netdev].index;
        const Leg& leg = config.legs[index];
        if (!leg.up) {
            return Drop::link_down;
        }
        if (is_under_encrypt(config, m)) {
            return Drop::encrypt_required;
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
