// From a changed configuration file to what a running daemon does about it, or why it does nothing. Pure.
#pragma once

#include "control/config/load.hpp"
#include "control/reload/compare.hpp"

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

namespace twinspan {

struct ReloadPlan {
    Config config;  // to run with
    std::vector<std::string> changes;  // a line for each key; none: the file says what runs
    bool routes = false;  // what routes mean has changed
    bool log = false;  // and how the NAT logs
};

// `running` is what the daemon has made of `before`, and of the files before that. An error for each key that takes a
// restart, where `wanted` has it. `room`: sessions that the NAT's table was made for. `had_blocks`: by note_blocks(),
// of all that has run.
std::expected<ReloadPlan, std::vector<ConfigError>> plan_reload(const Config& running, const std::string& before,
                                                                const ConfigFile& wanted, std::uint32_t room,
                                                                const std::vector<PoolConfig>& had_blocks);

}  // namespace twinspan
