// How much of an SA's lifetime is used up (RFC 4301 section 4.4.2.1). Pure.
#pragma once

#include "control/config/config.hpp"
#include "crypto/sa.hpp"

#include <cstdint>
#include <optional>

namespace twinspan {

enum class SaLimit : std::uint8_t { none, soft, hard };

// What is left until the hard limits; nothing where there is none.
struct LifetimeLeft {
    std::optional<std::uint64_t> bytes;
    std::optional<std::uint64_t> packets;
    std::optional<std::uint64_t> seconds;
};

// Of static keys: hard at the limit, soft at nine tenths of it.
SaLimit limit_of(const LifetimeConfig& lifetime, const SaUsage& used, std::uint64_t age_s) noexcept;
// The same of its sequence numbers.
SaLimit limit_of_numbers(const OutboundSa& sa) noexcept;
LifetimeLeft left_of(const LifetimeConfig& lifetime, const SaUsage& used, std::uint64_t age_s) noexcept;

// Since 1970, as Linux counts the age of its SAs.
std::uint64_t now_s() noexcept;

}  // namespace twinspan
