// Known answers at start: refuses to carry traffic on a cipher that does not compute what the RFC says.
#pragma once

#include "crypto/ipsec_mb.hpp"

#include <expected>
#include <string>

namespace twinspan {

// Seals and opens one packet per suite and sequence width through the functions that packets take, and checks that a
// changed packet is refused. The error names the suite. Thread: control, with each worker's engine, at start.
std::expected<void, std::string> self_test(Engine& engine);

}  // namespace twinspan
