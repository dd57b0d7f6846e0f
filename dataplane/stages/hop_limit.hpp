// Takes one hop off TTL or hop limit, and tells the sender of a packet that is spent, or longer than its
// way out allows (RFC 1812 sections 5.3.1 and 4.3.3.1, RFC 1191). What is too long and may be cut goes to
// Context::oversize. Needs: PickMember. Thread: worker.
#pragma once

#include "dataplane/packet/batch.hpp"

#include <string_view>

namespace twinspan {

class HopLimit {
public:
    static constexpr std::string_view kName = "hop_limit";
    void process(Context& ctx, Batch& batch) noexcept;
};

}  // namespace twinspan
