// Lowers the maximum segment size that TCP SYNs offer to what fits the tunnel, both ways: meta.tunnel is
// the tunnel the packet enters or came from. Needs: parse. Thread: worker.
#pragma once

#include "dataplane/packet/batch.hpp"

#include <string_view>

namespace twinspan {

class ClampMss {
public:
    static constexpr std::string_view kName = "clamp_mss";
    void process(Context& ctx, Batch& batch) noexcept;
};

}  // namespace twinspan
