// What workers count, as metrics: sums over all of them.
#pragma once

#include "control/metrics.hpp"
#include "dataplane/packet/batch.hpp"

#include <span>

namespace twinspan {

void set_worker_metrics(Metrics& metrics, std::span<const WorkerCounters* const> threads);

}  // namespace twinspan
