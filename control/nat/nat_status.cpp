#include "control/nat/nat_status.hpp"

#include "control/log.hpp"
#include "dataplane/state/nat_table.hpp"

#include <utility>

namespace twinspan {
namespace {

std::uint64_t milliseconds_since_1970() {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

}  // namespace

NatStatus::NatStatus(const std::vector<PoolConfig>& pools, const NatTable& table, Tell tell)
    : table_(table), tell_(std::move(tell)) {
    follow(pools);
}

void NatStatus::follow(const std::vector<PoolConfig>& pools) {
    for (std::size_t i = 0; i < pools.size(); ++i) {
        const PoolConfig& pool = pools[i];
        if (i == pools_.size()) {
            pools_.push_back(
                {.name = name_of(pool), .watch = NatWatch{pool.sessions, pool.high_water, pool.low_water}});
        } else {
            pools_[i].watch.set_marks(pool.sessions, pool.high_water, pool.low_water);
        }
    }
}

void NatStatus::tick(Time now) {
    survey_.tick(table_, now);
    if (now - looked_ < NatWatch::kInterval) {
        return;
    }
    looked_ = now;
    for (std::uint16_t i = 0; i < pools_.size(); ++i) {
        look(i, now);
    }
}

void NatStatus::look(std::uint16_t index, Time now) {
    Pool& pool = pools_[index];
    const NatUsage usage = table_.usage(index);
    const NatWatch::Change change = pool.watch.sample(usage.sessions);
    if (change != NatWatch::Change::none) {
        tell_water(index, usage, change == NatWatch::Change::rose, now);
    }
    const std::uint64_t refused = usage.ports_exhausted + usage.blocks_exhausted + usage.sessions_exhausted;
    if (refused != pool.refused && (pool.exhausted_line == Time{} || now - pool.exhausted_line >= kBetweenLines)) {
        spdlog::error(
            "pool {}: {} packets found no room for a session ({} without a port, {} without a block of ports, "
            "{} without a record in all)",
            pool.name, refused - pool.refused, usage.ports_exhausted, usage.blocks_exhausted, usage.sessions_exhausted);
        pool.exhausted_line = now;
        pool.refused = refused;
    }
}

void NatStatus::tell_water(std::uint16_t index, const NatUsage& usage, bool rose, Time now) {
    Pool& pool = pools_[index];
    const NatWater& water = pool.watch.water();
    const std::uint64_t mark = rose ? water.high : water.low;
    if (pool.water_line == Time{} || now - pool.water_line >= kBetweenLines) {
        spdlog::log(rose ? spdlog::level::warn : spdlog::level::info,
                    "pool {}: {} of {} sessions, {} its {} mark of {}", pool.name, usage.sessions, pool.watch.limit(),
                    rose ? "at or above" : "down to", rose ? "high-water" : "low-water", mark);
        pool.water_line = now;
    }
    tell_({.inside = nat_key({}, {}, {}, {}, 0, index),
           .time = milliseconds_since_1970(),
           .value = static_cast<std::uint32_t>(mark),
           .kind = rose ? NatEventKind::high_water : NatEventKind::low_water});
}

}  // namespace twinspan
