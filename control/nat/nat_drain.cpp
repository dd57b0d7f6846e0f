#include "control/nat/nat_drain.hpp"

#include "control/config/ranges.hpp"
#include "dataplane/state/nat_table.hpp"

#include <algorithm>

namespace twinspan {
void NatDrain::watch(const std::vector<PoolConfig>& pools) {
    pools_.resize(pools.size());
    draining_ = false;
    for (std::size_t i = 0; i < pools.size(); ++i) {
        Pool& pool = pools_[i];
        pool.draining = pools[i].draining;
        pool.left = pool.draining.empty() ? std::nullopt : pool.left;
        draining_ = draining_ || !pool.draining.empty();
    }
    next_ = 0;
    next_walk_ = {};
}

std::vector<NatDrain::Drained> NatDrain::tick(const NatTable& table, Time now) {
    if (!draining_ || (next_ == 0 && now < next_walk_)) {
        return {};
    }
    if (next_ == 0) {
        next_ = 1;
        seen_.clear();
        next_walk_ = now + kBetween;
    }
    next_ = table.walk(next_, kEachTick, [this](const NatSessionView& view) { count(view); });
    return next_ == 0 ? finish() : std::vector<Drained>{};
}

void NatDrain::count(const NatSessionView& view) {
    const be32 address = view.outside.address();
    if (std::ranges::any_of(pools_, [&](const Pool& pool) { return holds(pool.draining, address); })) {
        ++seen_[address.host()];
    }
}

std::vector<NatDrain::Drained> NatDrain::finish() {
    Ranges busy;
    for (const auto& [address, sessions] : seen_) {
        busy.push_back({to_be32(address), to_be32(address)});
    }
    busy = unite(std::move(busy), {});
    std::vector<Drained> drained;
    for (std::size_t i = 0; i < pools_.size(); ++i) {
        Pool& pool = pools_[i];
        if (pool.draining.empty()) {
            continue;
        }
        pool.left = 0;
        for (const auto& [address, sessions] : seen_) {
            *pool.left += holds(pool.draining, to_be32(address)) ? sessions : 0;
        }
        if (Ranges free = subtract(pool.draining, busy); !free.empty()) {
            drained.push_back({static_cast<std::uint16_t>(i), std::move(free)});
        }
    }
    return drained;
}

std::uint64_t NatDrain::addresses() const noexcept {
    std::uint64_t sum = 0;
    for (const Pool& pool : pools_) {
        sum += count_addresses(pool.draining);
    }
    return sum;
}

std::optional<std::uint64_t> NatDrain::sessions_left(std::uint16_t pool) const noexcept {
    return pool < pools_.size() ? pools_[pool].left : std::nullopt;
}

}  // namespace twinspan
