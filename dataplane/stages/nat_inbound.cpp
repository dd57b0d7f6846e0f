#include "dataplane/stages/nat_inbound.hpp"

#include "dataplane/config/snapshot.hpp"
#include "dataplane/stages/nat_icmp_error.hpp"
#include "dataplane/stages/nat_rewrite.hpp"

#include <algorithm>
#include <array>

namespace twinspan {
namespace {

std::uint16_t pool_of(const PacketMeta& md) noexcept {
    return static_cast<std::uint16_t>(RouteResult::from_raw(md.route).index());
}

// A translated ICMP error has no key: it is finished. Everything else gets one.
Verdict prepare_reply(Context& ctx, rte_mbuf& m, NatKey& key) noexcept {
    const PacketMeta& md = meta(m);
    const std::uint16_t pool = pool_of(md);
    const NatClass what = classify_for_nat(m, md, ctx.config->pools[pool]);
    if (!what.verdict.kept()) {
        return what.verdict;
    }
    if (what.kind == NatKind::icmp_error) {
        key = {};
        return translate_icmp_error_out(*ctx.nat, m, pool);
    }
    const auto& ip = header_at<Ipv4Header>(m, 0);
    const NatPorts ports = ports_out(m, md);
    key = nat_key(ip.src, ip.dst, ports.src, ports.dst, md.protocol, pool);
    return Verdict::keep();
}

// A mapping that the inside has made takes what begins a conversation, which of TCP is a SYN; a static one takes those
// that were there before us, too.
bool begins_outside(rte_mbuf& m, const PacketMeta& md, bool is_static) noexcept {
    constexpr std::uint8_t kAll = kTcpSyn | kTcpAck | kTcpRst;
    return md.protocol == +IpProtocol::tcp && !is_static
               ? (header_at<TcpHeader>(m, md.l4_offset).flags & kAll) == kTcpSyn
               : begins_session(m, md);
}

// NatHairpin has given it a source of a pool.
bool is_hairpin(const Context& ctx, const NatKey& outside) noexcept {
    return ctx.config->route_to(outside.remote()).kind() == RouteKind::pool;
}

}  // namespace

NatTable::Opened open_from_outside(Context& ctx, rte_mbuf& m, const NatKey& outside) noexcept {
    const PacketMeta& md = meta(m);
    const std::uint16_t index = pool_of(md);
    const NatPool& pool = ctx.config->pools[index];
    if (pool.zone == Zone::public_peering) {
        return {nullptr, is_hairpin(ctx, outside) ? Drop::nat_no_session : Drop::unsolicited};
    }
    const NatStatic* mapping = pool.statics.from_outside(outside.address(), outside.protocol(), outside.port());
    if (!begins_outside(m, md, mapping != nullptr)) {  // an earlier packet of the burst may have made it
        return {ctx.nat->find_outside(outside), Drop::nat_no_session};
    }
    if (mapping == nullptr) {
        return ctx.nat->open_mapped(ctx.worker, outside, pool, ctx.now_seconds);
    }
    const NatKey inside = nat_key(mapping->inside, outside.remote(), mapping->to_inside(outside.port()),
                                  outside.remote_port(), outside.protocol(), index);
    return ctx.nat->open_inbound(ctx.worker, outside, inside, pool, ctx.now_seconds,
                                 is_hairpin(ctx, outside) ? nullptr : pool.from_microsoft.get());
}

NatTable::Opened open_from_inside(Context& ctx, const NatKey& inside) noexcept {
    const NatPool& pool = ctx.config->pools[inside.pool()];
    const NatStatic* mapping = pool.statics.from_inside(inside.address(), inside.protocol(), inside.port());
    if (mapping == nullptr) {
        return ctx.nat->open(ctx.worker, inside, pool, ctx.now_seconds);
    }
    const NatKey outside = nat_key(mapping->outside, inside.remote(), mapping->to_outside(inside.port()),
                                   inside.remote_port(), inside.protocol());
    return ctx.nat->open_inbound(ctx.worker, outside, inside, pool, ctx.now_seconds);
}

void NatReply::process(Context& ctx, Batch& batch) noexcept {
    std::array<NatKey, kBurst> keys;
    std::uint16_t n = 0;
    batch.for_each(ctx, [&](rte_mbuf& m) noexcept {
        const Verdict verdict = prepare_reply(ctx, m, keys[n]);
        n = static_cast<std::uint16_t>(n + (verdict.kept() ? 1 : 0));
        return verdict;
    });

    std::array<NatSession*, kBurst> sessions;
    ctx.nat->find_inside({keys.data(), n}, sessions.data());

    std::uint16_t i = 0;
    batch.for_each(ctx, [&](rte_mbuf& m) noexcept -> Verdict {
        NatSession* session = sessions[i];
        const NatKey& key = keys[i++];
        PacketMeta& md = meta(m);
        if (session == nullptr && key.rest != 0) {
            return Drop::nat_no_session;  // who stands behind such an address begins the session
        }
        if (session != nullptr) {
            if (rewrite_out(m, md, *session)) {
                session->seen(ctx.now_seconds);
            }
            rewrite_remote_out(m, md, *session);
        }
        md.flags |= meta_flag::kTranslated;
        return Verdict::keep();
    });
}

void KeepToPool::process(Context& ctx, Batch& batch) noexcept {
    batch.for_each(ctx, [&ctx](rte_mbuf& m) noexcept -> Verdict {
        const Egress& egress = ctx.config->egresses[meta(m).egress];
        if (egress.kind == EgressKind::glean) {
            return Verdict::keep();  // where it ends
        }
        const RouteResult source = ctx.config->route_to(header_at<Ipv4Header>(m, 0).src);
        const bool own = source.kind() == RouteKind::pool && source.index() == egress.pool;
        return egress.kind == EgressKind::nat && own ? Verdict::keep() : Verdict{Drop::nat_wrong_peering};
    });
}

}  // namespace twinspan
