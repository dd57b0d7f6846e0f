#include "dataplane/nat_restart.hpp"

#include <rte_cycles.h>

#include <array>
#include <chrono>
#include <utility>

namespace twinspan {
namespace {

std::string name_of(const NatPool& pool) {
    // Written to files: these words stay what they are.
    constexpr std::array<const char*, kZoneCount> kZones{"lan",      "private", "public",     "microsoft",
                                                         "internet", "tunnel",  "translated", "self"};
    const std::string zone = kZones[static_cast<std::size_t>(pool.zone)];
    return pool.link == Link::primary ? zone + " primary" : pool.link == Link::secondary ? zone + " secondary" : zone;
}

}  // namespace

std::vector<std::string> names_of(std::span<const NatPool> pools) {
    std::vector<std::string> names;
    for (const NatPool& pool : pools) {
        names.push_back(name_of(pool));
    }
    return names;
}

void name_pools(NatKeeper& keeper, std::span<const NatPool> pools) {
    for (std::size_t i = 0; i < kMaxNatPools; ++i) {
        keeper.name_pool(i, i < pools.size() ? name_of(pools[i]) : "");
    }
}

NatMoment moment_now(std::uint64_t hz) noexcept { return nat_moment(static_cast<std::uint32_t>(rte_rdtsc() / hz)); }

NatKept restore(NatKeeper& keeper, NatTable& table, std::span<const NatPool> pools, std::uint64_t hz) {
    const auto began = std::chrono::steady_clock::now();
    const NatMoment now = moment_now(hz);
    const std::vector<std::string> names = names_of(pools);
    keeper.clear(now);
    name_pools(keeper, pools);
    NatRestored sum;
    for (auto& [file, saved] : keeper.found()) {
        sum.leave_out(NatLeftOut::nonsense, saved.nonsense);
        sum.leave_out(NatLeftOut::no_pool, adapt_nat_saved(saved, now, boot_id(), names));
        sum += table.restore(saved.sessions, pools, now.table);
    }
    keeper.done();
    return {.file = keeper.file(),
            .saved = keeper.saved(),
            .problems = keeper.problems(),
            .restored = sum,
            .took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began)};
}

}  // namespace twinspan
