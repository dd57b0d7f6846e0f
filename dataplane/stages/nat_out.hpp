// Source NAT towards a peering that has a pool (RFC 3022, 4787, 5382, 5508): finds or makes the session, and rewrites
// the packet to its outside address and port.
#pragma once

#include "dataplane/packet/batch.hpp"

#include <string_view>

namespace twinspan {

// In: packets whose egress is a nat egress. Out: those translated; meta's ports are the translated ones.
class NatOut {
public:
    static constexpr std::string_view kName = "nat_out";
    void process(Context& ctx, Batch& batch) noexcept;
};

}  // namespace twinspan
