// The commands of the control socket (docs/control-socket.md).
#pragma once

#include "control/failover.hpp"
#include "control/rpc/status.hpp"

#include <nlohmann/json.hpp>

namespace twinspan {

// Answers one request. `drain` and `undrain` have taken effect when it returns.
nlohmann::json run_command(const nlohmann::json& request, const StatusSources& sources, Failover& failover);

}  // namespace twinspan
