// Addresses that reloads have taken out of pools: how many sessions each still has, by walks over the table, and when
// the last has ended. No counter is exact for each address. Control thread only.
#pragma once

#include "control/config/config.hpp"
#include "dataplane/state/nat_session.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

namespace twinspan {

class NatTable;

class NatDrain {
public:
    using Time = std::chrono::steady_clock::time_point;

    static constexpr std::uint32_t kEachTick = 1u << 15;  // records
    static constexpr std::chrono::seconds kBetween{1};    // walks

    struct Drained {
        std::uint16_t pool = 0;
        std::vector<Ipv4Range> addresses;
    };

    // The addresses that drain, of pools by number. When every worker has the snapshot that begins no session there:
    // a walk that is under way begins anew.
    void watch(const std::vector<PoolConfig>& pools);
    // From a timer, some 100 times a second: the addresses that a whole walk has seen no session on.
    std::vector<Drained> tick(const NatTable& table, Time now);

    std::uint64_t addresses() const noexcept;  // that drain, of all pools
    // Of a pool, by the last walk; nothing: it drains nothing, or the first walk is under way.
    std::optional<std::uint64_t> sessions_left(std::uint16_t pool) const noexcept;

private:
    struct Pool {
        std::vector<Ipv4Range> draining;
        std::optional<std::uint64_t> left;
    };
    void count(const NatSessionView& view);
    std::vector<Drained> finish();

    std::vector<Pool> pools_;
    std::unordered_map<std::uint32_t, std::uint64_t> seen_;  // sessions by draining address, in this walk
    std::uint32_t next_ = 0;  // record; 0: between walks
    Time next_walk_{};
    bool draining_ = false;
};

}  // namespace twinspan
