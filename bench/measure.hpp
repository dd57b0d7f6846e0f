// Times the real worker loop over a generator port, with the real graph and with an empty one.
#pragma once

#include "bench/site.hpp"
#include "bench/traffic.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace twinspan::bench {

// Samples are short, some tens of microseconds, so that what else runs on the machine disturbs few of them.
struct Effort {
    unsigned samples;           // the first quartile of them is reported
    unsigned loops_per_sample;  // of kBurst packets
};

// All in TSC cycles per packet.
struct Row {
    std::string size;                   // bytes of the frame without FCS, or "imix"
    double frame_bytes = 0;             // mean
    double cycles_per_packet = 0;       // path only: the loop less the empty loop
    double loop_cycles_per_packet = 0;  // generator, loop and null port included
    double empty_cycles_per_packet = 0; // what was subtracted
    double spread = 0;                  // of the loop's samples: between the quartiles, over the median
    double raw_cycles_per_packet = 0;   // ESP: the bare IPsec-MB call
};

// Fails when a packet of the run did not come out as it should.
Result<Row> measure(Site& site, const SizePattern& sizes, rte_mempool* pool, Engine& engine, const Effort& effort);

}  // namespace twinspan::bench
