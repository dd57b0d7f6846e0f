#include "dataplane/stages/nat_out.hpp"

#include "dataplane/config/snapshot.hpp"
#include "dataplane/stages/nat_classify.hpp"
#include "dataplane/stages/nat_icmp_error.hpp"
#include "dataplane/state/nat_table.hpp"

#include <array>

namespace twinspan {
namespace {

bool is_private(be32 address) noexcept {  // RFC 1918 section 3
    const std::uint32_t a = address.host();
    return a >> 24 == 10 || a >> 20 == (172u << 4 | 1) || a >> 16 == (192u << 8 | 168);
}

std::uint16_t pool_of(const Context& ctx, const PacketMeta& md) noexcept {
    return ctx.config->egresses[md.egress].pool;
}

NatKey key_of(rte_mbuf& m, const PacketMeta& md, std::uint16_t pool) noexcept {
    const auto& ip = header_at<Ipv4Header>(m, 0);
    const be16 remote_port = md.protocol == +IpProtocol::icmp ? be16{} : md.dst_port;
    return nat_key(ip.src, ip.dst, md.src_port, remote_port, md.protocol, pool);
}

// A translated ICMP error has no key: it is finished. Everything else gets one.
Verdict prepare(Context& ctx, rte_mbuf& m, NatKey& key) noexcept {
    const PacketMeta& md = meta(m);
    if (md.ip == IpVersion::v4 && is_private(header_at<Ipv4Header>(m, 0).dst)) [[unlikely]] {
        return Drop::private_destination;
    }
    const NatClass what = classify_for_nat(m, md, kIcmpEchoRequest);
    if (!what.verdict.kept()) [[unlikely]] {
        return what.verdict;
    }
    const std::uint16_t pool = pool_of(ctx, md);
    if (what.kind == NatKind::icmp_error) [[unlikely]] {
        key = {};
        return translate_icmp_error_out(*ctx.nat, m, pool);
    }
    key = key_of(m, md, pool);
    return Verdict::keep();
}

[[gnu::noinline]] NatTable::Opened open_session(Context& ctx, rte_mbuf& m, const NatKey& key) noexcept {
    const PacketMeta& md = meta(m);
    if (md.protocol == +IpProtocol::tcp && (header_at<TcpHeader>(m, md.l4_offset).flags & kTcpRst) != 0) {
        if (NatSession* session = ctx.nat->find_inside(key)) {
            return {session, {}};
        }
        return {nullptr, Drop::nat_no_session};  // a reset ends a connection, it does not begin one
    }
    return ctx.nat->open(ctx.worker, key, ctx.config->pools[key.pool()], ctx.now_seconds);
}

// Returns whether the packet keeps the session alive.
bool rewrite(rte_mbuf& m, PacketMeta& md, NatSession& session) noexcept {
    const NatKey outside = session.outside();
    auto& ip = header_at<Ipv4Header>(m, 0);
    ip.src = outside.address();
    ip.checksum = session.ip_delta.apply(ip.checksum);
    md.src_port = outside.port();
    if (md.protocol == +IpProtocol::tcp) {
        auto& tcp = header_at<TcpHeader>(m, md.l4_offset);
        tcp.src_port = outside.port();
        tcp.checksum = session.l4_delta.apply(tcp.checksum);
        return nat_tcp::track_outbound(session.tcp, tcp.flags);
    }
    if (md.protocol == +IpProtocol::udp) {
        auto& udp = header_at<UdpHeader>(m, md.l4_offset);
        udp.src_port = outside.port();
        udp.checksum = session.l4_delta.apply_udp(udp.checksum);
    } else {
        auto& icmp = header_at<IcmpHeader>(m, md.l4_offset);
        icmp.id = outside.port();
        icmp.checksum = checksum_of_echo(session.l4_delta.apply(icmp.checksum), icmp.id, icmp.sequence);
        md.dst_port = outside.port();
    }
    return true;
}

}  // namespace

void NatOut::process(Context& ctx, Batch& batch) noexcept {
    std::array<NatKey, kBurst> keys;
    std::uint16_t n = 0;
    batch.for_each(ctx, [&](rte_mbuf& m) noexcept {
        const Verdict verdict = prepare(ctx, m, keys[n]);
        n = static_cast<std::uint16_t>(n + (verdict.kept() ? 1 : 0));
        return verdict;
    });

    std::array<NatSession*, kBurst> sessions;
    ctx.nat->find_inside({keys.data(), n}, sessions.data());

    std::uint16_t i = 0;
    batch.for_each(ctx, [&](rte_mbuf& m) noexcept -> Verdict {
        NatSession* session = sessions[i];
        const NatKey& key = keys[i++];
        if (session == nullptr) [[unlikely]] {
            if (key.rest == 0) {
                return Verdict::keep();
            }
            const NatTable::Opened opened = open_session(ctx, m, key);
            if (opened.session == nullptr) {
                return opened.reason;
            }
            session = opened.session;
        }
        if (rewrite(m, meta(m), *session)) [[likely]] {
            session->seen(ctx.now_seconds);
        }
        return Verdict::keep();
    });
}

}  // namespace twinspan
