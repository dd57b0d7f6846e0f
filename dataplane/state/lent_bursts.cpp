#include "dataplane/state/lent_bursts.hpp"

#include <algorithm>

namespace twinspan {

LentBursts::LentBursts(BurstOffers* offers, std::uint32_t workers)
    : offers_(offers), size_(2 * workers + kMostPerWalk), bursts_(std::make_unique<LentBurst[]>(size_)) {}

// A full ring has no room for what nobody has time for: then this worker opens the burst itself.
void LentBursts::offer(const Snapshot* config, Batch& batch, const EspArrivals& in) noexcept {
    LentBurst& burst = at(tail_++);
    burst.config = config;
    std::copy(batch.begin(), batch.end(), burst.batch.data());
    burst.batch.resize(batch.size());
    std::copy_n(in.entry.begin(), batch.size(), burst.in.entry.begin());
    std::copy_n(in.job.begin(), batch.size(), burst.in.job.begin());
    batch.clear();
    burst.state.store(LentBurst::offered, std::memory_order_release);
    (void)offers_->put(&burst);
}

LentBurst* LentBursts::opened() noexcept {
    LentBurst& oldest = at(head_);
    return !empty() && oldest.state.load(std::memory_order_acquire) == LentBurst::opened ? &oldest : nullptr;
}

void LentBursts::release() noexcept {
    LentBurst& oldest = at(head_++);
    oldest.batch.clear();
    oldest.state.store(LentBurst::kept, std::memory_order_relaxed);
}

bool LentBursts::open_one(Context& ctx) noexcept {
    for (std::uint32_t i = head_; i != tail_; ++i) {
        if (at(i).take()) {
            at(i).open(ctx);
            return true;
        }
    }
    return false;
}

// The ring may still name a burst that its receiver has opened meanwhile, or has even lent again: taking it is what
// counts.
bool help_to_open(BurstOffers& offers, Context& ctx) noexcept {
    while (LentBurst* burst = offers.take()) {
        if (burst->take()) {
            burst->open(ctx);
            return true;
        }
    }
    return false;
}

}  // namespace twinspan
