// Finds the leg a frame came in on, validates its headers, and fills the packet's metadata.
// Needs: m.port is an index in Snapshot::ports. Leaves: the data starts at the IP header (or behind the
// ethertype of what is not IP), the L2 bytes lie before it. Thread: worker.
#pragma once

#include "dataplane/packet/batch.hpp"

#include <string_view>

namespace twinspan {

class Parse {
public:
    static constexpr std::string_view kName = "parse";
    void process(Context& ctx, Batch& batch) noexcept;
};

// The same for the packet inside a tunnel packet: IP only, no leg to find (EspIn has set zone and tunnel).
class ParseInner {
public:
    static constexpr std::string_view kName = "parse_inner";
    void process(Context& ctx, Batch& batch) noexcept;
};

}  // namespace twinspan
