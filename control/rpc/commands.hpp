// The commands of the control socket (docs/control-socket.md).
#pragma once

#include "control/failover.hpp"
#include "control/rpc/status.hpp"

#include <nlohmann/json.hpp>

#include <functional>
#include <string>
#include <vector>

namespace twinspan {

// Reads the configuration again, and follows it unless it is only to be checked. A line for each change; an error has a
// line for each reason.
using Reload = std::function<Result<std::vector<std::string>>(bool only_check)>;

// Answers one request. `drain`, `undrain` and `reload` have taken effect when it returns.
nlohmann::json run_command(const nlohmann::json& request, const StatusSources& sources, Failover& failover,
                           const Reload& reload = {});

}  // namespace twinspan
