// Looks every destination up in the FIB, the whole burst in one call: meta.route says what the packet is
// (ours, a pool's, or to forward, and to which group). Needs: Parse. Thread: worker.
#pragma once

#include "dataplane/packet/batch.hpp"

#include <string_view>

namespace twinspan {

class Route {
public:
    static constexpr std::string_view kName = "route";
    void process(Context& ctx, Batch& batch) noexcept;
};

}  // namespace twinspan
