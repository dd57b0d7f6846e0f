// Cuts IPv4 packets to their egress's MTU (RFC 791 section 3.2). Needs: HopLimit's word that they may be cut, NatOut
// where they are translated; at most kFragmentedAtOnce. Leaves: the pieces in Context::fragments. Thread: worker.
#pragma once

#include "dataplane/packet/batch.hpp"

#include <string_view>

namespace twinspan {

class Fragment {
public:
    static constexpr std::string_view kName = "fragment";
    void process(Context& ctx, Batch& batch) noexcept;
};

}  // namespace twinspan
