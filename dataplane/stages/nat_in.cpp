#include "dataplane/stages/nat_in.hpp"

#include "dataplane/config/snapshot.hpp"
#include "dataplane/stages/nat_classify.hpp"
#include "dataplane/stages/nat_icmp_error.hpp"
#include "dataplane/state/nat_table.hpp"

#include <array>

namespace twinspan {
namespace {

NatKey key_of(rte_mbuf& m, const PacketMeta& md) noexcept {
    const auto& ip = header_at<Ipv4Header>(m, 0);
    const be16 remote_port = md.protocol == +IpProtocol::icmp ? be16{} : md.src_port;
    return nat_key(ip.dst, ip.src, md.dst_port, remote_port, md.protocol);
}

// A translated ICMP error has no key: it is finished. Everything else gets one.
Verdict prepare(Context& ctx, rte_mbuf& m, NatKey& key) noexcept {
    PacketMeta& md = meta(m);
    const std::uint32_t pool = RouteResult::from_raw(md.route).index();
    if (pool >= ctx.config->pools.size()) [[unlikely]] {
        return Drop::nat_no_session;  // the FIB is ahead of the snapshot while a pool goes away
    }
    if (md.zone != ctx.config->pools[pool].zone) [[unlikely]] {
        return Drop::nat_wrong_peering;
    }
    const NatClass what = classify_for_nat(m, md, kIcmpEchoReply);
    if (!what.verdict.kept()) [[unlikely]] {
        return what.verdict;
    }
    if (what.kind == NatKind::icmp_error) [[unlikely]] {
        key = {};
        return translate_icmp_error_in(*ctx.nat, m);
    }
    key = key_of(m, md);
    return Verdict::keep();
}

// Returns whether the packet keeps the session alive.
bool rewrite(rte_mbuf& m, PacketMeta& md, NatSession& session) noexcept {
    const NatKey inside = session.inside();
    const ChecksumDelta l4_delta = session.l4_delta.inverse();
    auto& ip = header_at<Ipv4Header>(m, 0);
    ip.dst = inside.address();
    ip.checksum = session.ip_delta.inverse().apply(ip.checksum);
    md.dst_port = inside.port();
    if (md.protocol == +IpProtocol::tcp) {
        auto& tcp = header_at<TcpHeader>(m, md.l4_offset);
        tcp.dst_port = inside.port();
        tcp.checksum = l4_delta.apply(tcp.checksum);
        return nat_tcp::track_inbound(session.tcp, tcp.flags);
    }
    if (md.protocol == +IpProtocol::udp) {
        auto& udp = header_at<UdpHeader>(m, md.l4_offset);
        udp.dst_port = inside.port();
        udp.checksum = l4_delta.apply_udp(udp.checksum);
    } else {
        auto& icmp = header_at<IcmpHeader>(m, md.l4_offset);
        icmp.id = inside.port();
        icmp.checksum = checksum_of_echo(l4_delta.apply(icmp.checksum), icmp.id, icmp.sequence);
        md.src_port = inside.port();
    }
    return true;
}

}  // namespace

void NatIn::process(Context& ctx, Batch& batch) noexcept {
    std::array<NatKey, kBurst> keys;
    std::uint16_t n = 0;
    batch.for_each(ctx, [&](rte_mbuf& m) noexcept {
        const Verdict verdict = prepare(ctx, m, keys[n]);
        n = static_cast<std::uint16_t>(n + (verdict.kept() ? 1 : 0));
        return verdict;
    });

    std::array<NatSession*, kBurst> sessions;
    ctx.nat->find_outside({keys.data(), n}, sessions.data());

    std::uint16_t i = 0;
    batch.for_each(ctx, [&](rte_mbuf& m) noexcept -> Verdict {
        NatSession* session = sessions[i];
        const NatKey& key = keys[i++];
        PacketMeta& md = meta(m);
        if (session != nullptr) [[likely]] {
            if (rewrite(m, md, *session)) [[likely]] {
                session->seen(ctx.now_seconds);
            }
        } else if (key.rest != 0) {
            return Drop::nat_no_session;
        }
        md.zone = Zone::translated;
        return Verdict::keep();
    });
}

}  // namespace twinspan
