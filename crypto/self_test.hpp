// Known answers at start: refuses to carry traffic on a cipher that does not compute what the RFC says.
#pragma once

#include "crypto/sa.hpp"

#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>

namespace twinspan {

// A whole ESP packet, made by something else than this code (tests/vectors/esp.py).
struct KnownAnswer {
    Suite suite;
    SequenceWidth width;
    std::uint64_t seq;
    std::string_view esp_hex;
};

// Opens and seals one packet per suite and sequence width through the functions that packets take, and checks that a
// changed packet is refused. The error names the suite. Thread: control, with each worker's engine, at start.
std::expected<void, std::string> self_test(Engine& engine);
std::expected<void, std::string> self_test(Engine& engine, std::span<const KnownAnswer> known_answers);

}  // namespace twinspan
