#include "dataplane/stages/hand_over.hpp"

#include "dataplane/config/snapshot.hpp"

namespace twinspan {

void HandOver::process(Context& ctx, Batch& batch) noexcept {
    const Snapshot& config = *ctx.config;
    if (!config.has_owners) [[likely]] {
        return;
    }
    std::uint16_t kept = 0;
    for (rte_mbuf* m : batch) {
        const std::uint16_t owner = config.tunnels[meta(*m).tunnel].owner;
        if (owner == kNone || owner == ctx.worker) {
            batch.data()[kept++] = m;
        } else {
            ctx.handed.push(m);
        }
    }
    batch.resize(kept);
}

}  // namespace twinspan
