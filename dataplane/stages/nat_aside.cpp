#include "dataplane/stages/nat_aside.hpp"

#include "dataplane/config/snapshot.hpp"
#include "dataplane/stages/forward_policy.hpp"

namespace twinspan {
namespace {

void set_aside(Context& ctx, rte_mbuf& m, Drop otherwise) noexcept {
    if (ctx.aside.full()) [[unlikely]] {
        ctx.drop(&m, otherwise);
    } else {
        ctx.aside.push(&m);
    }
}

}  // namespace

[[gnu::noinline]] void end_or_set_aside(Context& ctx, rte_mbuf& m, Drop reason) noexcept {
    if (reason == Drop::fragment_unsupported && ctx.reassembly != nullptr) {
        set_aside(ctx, m, reason);
    } else {
        ctx.drop(&m, reason);
    }
}

[[gnu::noinline]] void set_aside_or_end(Context& ctx, rte_mbuf& m, const NatPool& pool) noexcept {
    const PacketMeta& md = meta(m);
    if (!ctx.config->allows(md.zone, pool.zone) || md.ip != IpVersion::v4) {
        ctx.drop(&m, Drop::nat_wrong_peering);
    } else if (const Verdict verdict = may_send(*ctx.config, m, md, pool.zone); !verdict.kept()) {
        ctx.drop(&m, verdict.reason());
    } else {
        set_aside(ctx, m, Drop::nat_wrong_peering);
    }
}

void SetAsideTooLong::process(Context& ctx, Batch& batch) noexcept {
    batch.keep_if([&ctx](rte_mbuf& m) noexcept {
        const PacketMeta& md = meta(m);
        if (md.l3_length <= ctx.config->egresses[md.egress].mtu) {
            return true;
        }
        if (ctx.oversize.full()) [[unlikely]] {
            ctx.drop(&m, Drop::too_big);
        } else {
            ctx.oversize.push(&m);
        }
        return false;
    });
}

}  // namespace twinspan
