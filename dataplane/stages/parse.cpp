#include "dataplane/stages/parse.hpp"

#include "dataplane/config/snapshot.hpp"
#include "dataplane/packet/make_linear.hpp"
#include "dataplane/packet/parse_ip.hpp"
#include "dataplane/stages/plain_frame.hpp"

namespace twinspan {
namespace {

struct LinkLayer {
    std::uint16_t leg = kNone;
    std::uint16_t bytes = sizeof(EthernetHeader);  // in the buffer, tags included
    be16 type{};
};

constexpr bool is_vlan(be16 type) noexcept { return type == kEtherTypeVlan || type == kEtherTypeQinQ; }

std::uint16_t find_qinq(const PortLegs& port, std::uint16_t outer, std::uint16_t inner) noexcept {
    for (const PortLegs::QinQ& q : port.qinq) {
        if (q.outer == outer && q.inner == inner) {
            return q.leg;
        }
    }
    return kNone;
}

// A driver may have taken the outer tag off (VLAN_STRIPPED), then its TPID is not known.
[[gnu::noinline]] void find_tagged_leg(const Snapshot& config, const PortLegs& port, rte_mbuf& m,
                                       LinkLayer& l2) noexcept {
    std::array<std::uint16_t, 2> id;
    std::array<be16, 2> tpid{};
    unsigned tags = 0;
    if ((m.ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0) {
        id[tags++] = m.vlan_tci & kVlanIdMask;
    }
    while (is_vlan(l2.type)) {
        if (tags == 2 || m.data_len < l2.bytes + sizeof(VlanTag)) {
            return;
        }
        // The TPID is the type just read; the TCI and the next type follow it.
        tpid[tags] = l2.type;
        id[tags++] = header_at<be16>(m, l2.bytes).host() & kVlanIdMask;
        l2.type = header_at<be16>(m, l2.bytes + 2u);
        l2.bytes = static_cast<std::uint16_t>(l2.bytes + sizeof(VlanTag));
    }
    const std::uint16_t found = tags == 2             ? find_qinq(port, id[0], id[1])
                                : port.tagged.empty() ? kNone
                                                      : port.tagged[id[0]];
    if (found == kNone) {
        return;
    }
    for (unsigned t = 0; t < tags; ++t) {
        if (tpid[t].raw != 0 && tpid[t] != config.legs[found].tags[t].tpid) [[unlikely]] {
            return;
        }
    }
    l2.leg = found;
}

LinkLayer find_leg(const Snapshot& config, const PortLegs& port, rte_mbuf& m) noexcept {
    LinkLayer l2{.type = header_at<EthernetHeader>(m, 0).type};
    if (is_vlan(l2.type) || (m.ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0) {
        find_tagged_leg(config, port, m, l2);
    } else {
        l2.leg = port.untagged;
    }
    return l2;
}

Verdict parse(Context& ctx, CountedRun& leg_rx, rte_mbuf& m) noexcept {
    if (m.data_len < sizeof(EthernetHeader) || m.port >= ctx.config->ports.size()) [[unlikely]] {
        return Drop::malformed_frame;
    }
    const PortLegs& port = ctx.config->ports[m.port];
    const LinkLayer l2 = find_leg(*ctx.config, port, m);
    if (l2.leg == kNone) [[unlikely]] {
        return Drop::unknown_vlan;
    }
    const Leg& leg = ctx.config->legs[l2.leg];
    PacketMeta& pm = meta(m);
    pm.rx_leg = l2.leg;
    pm.l2_length = static_cast<std::uint8_t>(l2.bytes);
    pm.zone = leg.zone;
    pm.tunnel = kNone;
    pm.flags = 0;
    const MacAddress& dst = header_at<EthernetHeader>(m, 0).dst;
    if ((dst[0] & 1) != 0) {
        pm.flags = meta_flag::kMulticast;
    } else if (dst != leg.mac) [[unlikely]] {
        return Drop::not_for_us;
    }
    leg_rx.add(l2.leg, m.pkt_len);
    rte_pktmbuf_adj(&m, l2.bytes);
    if (l2.type == kEtherTypeIpv4 || l2.type == kEtherTypeIpv6) [[likely]] {
        return parse_ip(m, pm);
    }
    pm.ip = IpVersion::none;
    pm.protocol = 0;
    return is_link_control(l2.type) ? Verdict::keep() : Verdict{Drop::unknown_ethertype};
}

// parse_ip's short way.
bool plain_inner(rte_mbuf& m, PacketMeta& pm) noexcept {
    PlainIpv4 ip;
    if (m.data_len < kPlainMinBytes || m.nb_segs != 1 ||
        !parse_plain_ipv4(rte_pktmbuf_mtod(&m, const std::uint8_t*), m.data_len, ip)) [[unlikely]] {
        return false;
    }
    pm.ip = IpVersion::v4;
    pm.protocol = ip.protocol;
    pm.l4_offset = sizeof(Ipv4Header);
    pm.l3_length = ip.length;
    std::memcpy(&pm.src_port, &ip.ports, sizeof(ip.ports));
    m.data_len = ip.length;
    m.pkt_len = ip.length;
    return true;
}

}  // namespace

void Parse::process(Context& ctx, Batch& batch) noexcept {
    unsigned segments = 0;
    for (rte_mbuf* m : batch) {
        rte_prefetch0(&meta(*m));
        rte_prefetch0(rte_pktmbuf_mtod(m, const void*));
        segments |= m->nb_segs;
    }
    if (segments != 1) [[unlikely]] {
        make_linear(ctx, batch);
    }
    CountedRun leg_rx{ctx.counters->leg_rx};
    PlainFrames plain{*ctx.config};
    batch.for_each(
        ctx, [&](rte_mbuf& m) noexcept { return plain.take(m, leg_rx) ? Verdict::keep() : parse(ctx, leg_rx, m); });
    plain.count(leg_rx);
}

void ParseInner::process(Context& ctx, Batch& batch) noexcept {
    batch.for_each(ctx, [](rte_mbuf& m) noexcept {
        PacketMeta& pm = meta(m);
        pm.flags = 0;
        pm.l2_length = 0;
        return plain_inner(m, pm) ? Verdict::keep() : parse_ip(m, pm);
    });
}

}  // namespace twinspan
