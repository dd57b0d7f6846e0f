#include "dataplane/stages/pick_member.hpp"

#include "dataplane/config/snapshot.hpp"
#include "dataplane/packet/flow_hash.hpp"
#include "dataplane/stages/forward_policy.hpp"

namespace twinspan {
namespace {

Verdict pick(const Snapshot& config, rte_mbuf& m) noexcept {
    PacketMeta& pm = meta(m);
    const RouteResult route = RouteResult::from_raw(pm.route);
    if (route.index() >= config.groups.size()) [[unlikely]] {
        return Drop::no_route;  // a route younger than this loop's snapshot
    }
    const Group group = config.groups[route.index()];
    std::uint32_t bucket = group.first_bucket;
    if (group.bucket_mask != 0) {
        pm.flow_hash = flow_hash(m, pm);
        bucket += pm.flow_hash & group.bucket_mask;
    }
    pm.egress = config.buckets[bucket];
    const Egress& egress = config.egresses[pm.egress];
    if (egress.kind == EgressKind::drop) [[unlikely]] {
        return egress.reason;
    }
    if (route.must_encrypt() && egress.kind != EgressKind::tunnel) [[unlikely]] {
        return Drop::encrypt_required;
    }
    if (egress.kind == EgressKind::tunnel) {
        pm.tunnel = egress.tunnel;  // else it stays the one the packet came from: Glean shows it to Linux there
    }
    return may_send(config, m, pm, egress.zone);
}

}  // namespace

void PickMember::process(Context& ctx, Batch& batch) noexcept {
    const Snapshot& config = *ctx.config;
    batch.for_each(ctx, [&config](rte_mbuf& m) noexcept { return pick(config, m); });
}

}  // namespace twinspan
