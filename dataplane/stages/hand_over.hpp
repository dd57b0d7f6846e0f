// Lets one worker do all the encryption of a tunnel whose peer has a narrow replay window: numbers given out by several
// workers could reach the peer further out of order than it accepts. Needs: meta.tunnel. Leaves: the packets that this
// worker encrypts; the others are in Context::handed. Thread: worker.
#pragma once

#include "dataplane/packet/batch.hpp"

#include <string_view>

namespace twinspan {

class HandOver {
public:
    static constexpr std::string_view kName = "hand_over";
    void process(Context& ctx, Batch& batch) noexcept;
};

}  // namespace twinspan
