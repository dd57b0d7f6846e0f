// Where a path's cycles go: the real graph with a clock around each stage.
#pragma once

#include "bench/measure.hpp"

#include <string>
#include <vector>

namespace twinspan::bench {

struct StageCost {
    std::string name;          // the stage's own; one that a path meets twice is listed twice, in order
    double cycles_per_packet;  // TSC, of the packets that it saw: the first quartile of samples
};

// The stages in the order in which the path meets them. A Split's sorting is in none of them.
std::vector<StageCost> measure_stages(Site& site, const SizePattern& sizes, rte_mempool* pool, Engine& engine,
                                      const Effort& effort);

}  // namespace twinspan::bench
