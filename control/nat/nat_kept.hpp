// What the operator learns of NAT sessions over a restart: a log line and metrics.
#pragma once

#include "control/metrics.hpp"
#include "dataplane/dataplane.hpp"

#include <string>

namespace twinspan {

// Once, when the data plane has started. Without pools, only what became of earlier sessions is worth a line.
void tell_nat_kept(const NatKept& kept, bool has_pools, Metrics& metrics);

// "1500 sessions of an earlier run go on, 12 do not (10 expired, 2 no pool); 31 ms"; empty where there were none.
std::string text_of(const NatKept& kept);

}  // namespace twinspan
