// Makes packets for us whole again that arrive in fragments: ESP, and all of UDP, since a later fragment does not say
// to which port it goes: ESP in UDP and IKE. Other protocols stay as they are, for Linux to reassemble.
// Needs: Parse, Route (local), fragments only. Leaves: whole packets, parsed, and others' fragments. Thread: worker.
#pragma once

#include "dataplane/packet/batch.hpp"

#include <string_view>

namespace twinspan {

class Reassemble {
public:
    static constexpr std::string_view kName = "reassemble";
    void process(Context& ctx, Batch& batch) noexcept;
};

// Makes every IPv4 packet whole that NAT has set aside, whatever its protocol: its first fragment alone has ports.
class ReassembleForNat {
public:
    static constexpr std::string_view kName = "reassemble_for_nat";
    void process(Context& ctx, Batch& batch) noexcept;
};

}  // namespace twinspan
