#include "dataplane/stages/pick_member.hpp"

#include "dataplane/config/snapshot.hpp"
#include "dataplane/packet/flow_hash.hpp"
#include "dataplane/stages/forward_policy.hpp"

namespace twinspan {
namespace {

constexpr std::uint32_t kNoBucket = 0xffff'ffff;

std::uint32_t bucket_of(const Snapshot& config, rte_mbuf& m) noexcept {
    PacketMeta& pm = meta(m);
    const std::uint32_t index = RouteResult::from_raw(pm.route).index();
    if (index >= config.groups.size()) [[unlikely]] {
        return kNoBucket;  // a route younger than this loop's snapshot
    }
    const Group group = config.groups[index];
    if (group.bucket_mask == 0) {
        return group.first_bucket;
    }
    pm.flow_hash = flow_hash(m, pm);
    return group.first_bucket + (pm.flow_hash & group.bucket_mask);
}

Verdict check(const Snapshot& config, rte_mbuf& m) noexcept {
    PacketMeta& pm = meta(m);
    const Egress& egress = config.egresses[pm.egress];
    if (egress.kind == EgressKind::drop) [[unlikely]] {
        return egress.reason;
    }
    if (RouteResult::from_raw(pm.route).must_encrypt() && egress.kind != EgressKind::tunnel) [[unlikely]] {
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
    // Buckets and egresses come from memory for many packets at once: nothing that one packet does here waits for
    // another.
    batch.for_each(ctx, [&config](rte_mbuf& m) noexcept {
        const std::uint32_t bucket = bucket_of(config, m);
        if (bucket == kNoBucket) [[unlikely]] {
            return Verdict{Drop::no_route};
        }
        meta(m).egress = config.buckets[bucket];
        return check(config, m);
    });
}

}  // namespace twinspan
