// What the SA store does as time passes.
#include "control/log.hpp"
#include "control/sa/sa_store.hpp"

#include <algorithm>

namespace twinspan {
namespace {

constexpr std::uint64_t kCheckpointTicks = 5;
constexpr std::uint64_t kRetryTicks = 200;  // 10 s: for SAs that were not taken
// Of one tick: with 10,000 busy tunnels a round takes 2 s, and a tenth of the time.
constexpr std::size_t kMostCheckpoints = 500;

}  // namespace

// Once for each limit, and again until it is told. Past a hard one nothing is sent any more, and Linux deletes the SA.
void SaStore::watch_limit(KernelSa& sa) {
    const SaLimit limit = std::max(sa.limit_reached(), sa.worn_out ? SaLimit::soft : SaLimit::none);
    if (limit <= sa.told) {
        return;
    }
    const bool hard = limit == SaLimit::hard;
    if (hard && sa.out() != nullptr && std::exchange(sa.usable, false)) {
        sa.out()->stop();
        change(sa.tunnel());
    }
    const auto told = kernel_->expire(sa.id(), hard);
    attempt(sa, told);
    if (told) {
        sa.told = limit;
        metrics_.add(hard ? Metric::xfrm_hard_expires : Metric::xfrm_soft_expires);
        spdlog::info("tunnel {}: SA {:#010x} has reached its {} limit", tunnel_name(sa), sa.id().spi,
                     hard ? "hard" : "soft");
    }
}

// A tunnel whose SA can reserve no more takes another one, or none, and its key daemon is to make one.
void SaStore::reserve() {
    for (std::size_t i = 0; i < places_.size(); ++i) {
        Place& place = places_[i];
        if (place.current == nullptr) {
            if (std::ranges::any_of(place.sas, &KernelSa::can_send)) {
                change(i);
            }
            continue;
        }
        attempt(*place.current, place.current->reserve(*kernel_));
        if (place.current->dry()) {
            place.current->worn_out = true;
            change(i);
        }
    }
}

void SaStore::checkpoint_some() {
    if (ticks_ % kCheckpointTicks == 0 && !checkpoint_at_ && !sas_.empty()) {
        checkpoint_at_ = sas_.begin()->first;
    }
    if (!checkpoint_at_) {
        return;
    }
    std::size_t left = kMostCheckpoints;
    auto next = sas_.lower_bound(*checkpoint_at_);
    for (; next != sas_.end() && left != 0; ++next) {
        KernelSa& sa = *next->second;
        const bool idle = sa.out() != nullptr && places_[sa.tunnel()].current != &sa;
        if (!idle && sa.has_changed()) {
            --left;
            attempt(sa, sa.checkpoint(*kernel_, now_s()));
        }
    }
    checkpoint_at_ = next == sas_.end() ? std::nullopt : std::optional{next->first};
}

void SaStore::tick() {
    static_.top_up(world_.config, metrics_);
    ++ticks_;
    static_.watch(world_.config, metrics_, now_s(), [this](std::size_t tunnel) { change(tunnel); });
    static_.write_usage(world_.config, metrics_, ticks_);
    const auto failed = [](const auto& item) { return item.second.metric == Metric::xfrm_sa_failed; };
    wants_resync_ |= ticks_ % kRetryTicks == 0 && std::ranges::any_of(refused_, failed);
    reserve();
    follow_packets();
    for (const auto& [id, sa] : sas_) {
        watch_limit(*sa);
        const bool idle = sa->out() != nullptr && places_[sa->tunnel()].current != sa.get();
        if (idle && ticks_ - sa->since_tick == kTakeOverTicks) {
            change(sa->tunnel());
        }
    }
    checkpoint_some();
    commit();
}

void SaStore::close() {
    workers_ = {};
    static_.give_back(world_.config, metrics_);
    for (const auto& [id, sa] : sas_) {
        const bool given_back = sa->out() != nullptr && places_[sa->tunnel()].current != sa.get();
        if (!given_back) {
            attempt(*sa, sa->give_back(*kernel_, now_s()));
        }
    }
}

}  // namespace twinspan
