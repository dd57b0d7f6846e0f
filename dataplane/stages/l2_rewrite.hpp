// Puts the finished Ethernet header and VLAN tags of meta.egress before the packet and hands it to the
// port. The end of the way for what leaves. Thread: worker.
#pragma once

#include "dataplane/packet/batch.hpp"

#include <string_view>

namespace twinspan {

class L2Rewrite {
public:
    static constexpr std::string_view kName = "l2_rewrite";
    void process(Context& ctx, Batch& batch) noexcept;
};

}  // namespace twinspan
