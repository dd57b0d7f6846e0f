// Source NAT towards a peering that has a pool (RFC 3022, 4787, 5382, 5508): finds or makes the session, and rewrites
// the packet to its outside address and port.
#pragma once

#include "dataplane/packet/batch.hpp"

#include <string_view>

namespace twinspan {

// In: packets whose egress is a nat egress. Out: those translated; meta's ports are the translated ones. Fragments go
// to Context::aside.
class NatOut {
public:
    static constexpr std::string_view kName = "nat_out";
    void process(Context& ctx, Batch& batch) noexcept;
};

// Hairpinning (RFC 4787 REQ-9, RFC 5382 REQ-8, RFC 5508 REQ-7), its first half: what the inside sends to an address of
// a pool gets its source from that pool, and is then as if it had come from the pool's peering.
// In: whole packets whose route is a pool. Out: those translated, for NatIn.
class NatHairpin {
public:
    static constexpr std::string_view kName = "nat_hairpin";
    void process(Context& ctx, Batch& batch) noexcept;
};

}  // namespace twinspan
