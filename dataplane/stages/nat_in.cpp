#include "dataplane/stages/nat_in.hpp"

#include "dataplane/config/snapshot.hpp"
#include "dataplane/stages/nat_aside.hpp"
#include "dataplane/stages/nat_icmp_error.hpp"
#include "dataplane/stages/nat_inbound.hpp"
#include "dataplane/stages/nat_rewrite.hpp"
#include "dataplane/state/nat_table.hpp"

#include <array>

namespace twinspan {
namespace {

NatKey key_of(rte_mbuf& m, const PacketMeta& md) noexcept {
    const auto& ip = header_at<Ipv4Header>(m, 0);
    const NatPorts ports = ports_in(m, md);
    return nat_key(ip.dst, ip.src, ports.dst, ports.src, md.protocol);
}

// A translated ICMP error has no key: it is finished. Everything else gets one.
Verdict classify(Context& ctx, rte_mbuf& m, const NatPool& pool, NatKey& key) noexcept {
    const PacketMeta& md = meta(m);
    const NatClass what = classify_for_nat(m, md, pool);
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

// Whether the packet stays.
bool prepare(Context& ctx, rte_mbuf& m, NatKey& key) noexcept {
    const PacketMeta& md = meta(m);
    const std::uint32_t index = RouteResult::from_raw(md.route).index();
    if (index >= ctx.config->pools.size()) [[unlikely]] {
        ctx.drop(&m, Drop::nat_no_session);  // the FIB is ahead of the snapshot while a pool goes away
        return false;
    }
    const NatPool& pool = ctx.config->pools[index];
    if (md.zone != pool.zone) [[unlikely]] {
        set_aside_or_end(ctx, m, pool);
        return false;
    }
    const Verdict verdict = classify(ctx, m, pool, key);
    if (!verdict.kept()) [[unlikely]] {
        end_or_set_aside(ctx, m, verdict.reason());
        return false;
    }
    return true;
}

// RFC 4787 REQ-6: what comes from outside may be kept from keeping sessions alive, at the pool's wish.
bool may_refresh(const Context& ctx, const PacketMeta& md) noexcept {
    return ctx.config->pools[RouteResult::from_raw(md.route).index()].inbound_refresh;
}

template <bool kOptions>
void translate(Context& ctx, Batch& batch) noexcept {
    std::array<NatKey, kBurst> keys;
    std::uint16_t n = 0;
    batch.keep_if([&](rte_mbuf& m) noexcept {
        const bool stays = prepare(ctx, m, keys[n]);
        n = static_cast<std::uint16_t>(n + (stays ? 1 : 0));
        return stays;
    });

    std::array<NatSession*, kBurst> sessions;
    ctx.nat->find_outside({keys.data(), n}, sessions.data());

    std::uint16_t i = 0;
    batch.for_each(ctx, [&](rte_mbuf& m) noexcept -> Verdict {
        NatSession* session = sessions[i];
        const NatKey& key = keys[i++];
        PacketMeta& md = meta(m);
        if (session == nullptr && key.rest != 0) [[unlikely]] {
            const NatTable::Opened opened = open_from_outside(ctx, m, key);
            if (opened.session == nullptr) {
                return opened.reason;
            }
            session = opened.session;
        }
        if (session != nullptr) [[likely]] {
            if (rewrite_in(m, md, *session) && (!kOptions || may_refresh(ctx, md))) [[likely]] {
                session->seen(ctx.now_seconds);
            }
            if (kOptions && (session->flags.load(std::memory_order_relaxed) & kNatTwice) != 0) {
                rewrite_remote_in(m, md, *session);
            }
        }
        md.zone = Zone::translated;
        return Verdict::keep();
    });
}

}  // namespace

void NatIn::process(Context& ctx, Batch& batch) noexcept {
    if (ctx.config->has_nat_options) [[unlikely]] {
        translate<true>(ctx, batch);
    } else {
        translate<false>(ctx, batch);
    }
}

}  // namespace twinspan
