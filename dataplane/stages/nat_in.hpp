// The way back through NAT: finds the session of a packet to a pool address, and rewrites it to the inside host.
#pragma once

#include "dataplane/packet/batch.hpp"

#include <string_view>

namespace twinspan {

// In: packets whose route is a pool. Out: those translated; meta.zone is `translated`, meta's ports are the inside
// ones, and the destination is to be routed again. What comes from outside makes a session only where
// the pool's filter is open, by a mapping that the inside has made. Fragments, and what the inside sends, go to
// Context::aside.
class NatIn {
public:
    static constexpr std::string_view kName = "nat_in";
    void process(Context& ctx, Batch& batch) noexcept;
};

}  // namespace twinspan
