// NAT pools from one reading of the configuration to the next. A pool is known by its peering and link (name_of()) and
// keeps its number for the life of the process, also when it is taken away and comes again. There are seven such names
// at most, and kMaxNatPools is more. Pure.
#pragma once

#include "control/config/ranges.hpp"
#include "control/reload/compare.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace twinspan {

// Running pools with what `wanted`, a file's, says of them. What has lost its place drains.
std::vector<PoolConfig> follow_pools(std::vector<PoolConfig> running, const std::vector<PoolConfig>& wanted);

// The last sessions on these addresses have ended.
void give_up(PoolConfig& pool, const Ranges& drained);

// As compare(), of the keys below `nat`.
std::vector<ConfigChange> compare_pools(const std::vector<PoolConfig>& running, const std::vector<PoolConfig>& wanted);

struct PoolRefusal {
    KeyPath key;
    std::string why;  // what was found, what was expected
};
// What running sessions would not survive. `room`: sessions that the table was made for. `had_blocks`: see
// note_blocks().
std::vector<PoolRefusal> refuse_pools(const std::vector<PoolConfig>& running, const std::vector<PoolConfig>& wanted,
                                      std::uint32_t room, const std::vector<PoolConfig>& had_blocks);

// Of each pool that gives blocks, or did: as it was then. Hosts may have such blocks for as long as the process lives.
void note_blocks(std::vector<PoolConfig>& had_blocks, const std::vector<PoolConfig>& running);

}  // namespace twinspan
