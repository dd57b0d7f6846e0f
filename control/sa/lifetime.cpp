#include "control/sa/lifetime.hpp"

#include <algorithm>
#include <chrono>

namespace twinspan {
namespace {

SaLimit limit_of(std::uint64_t used, std::uint64_t limit) noexcept {
    return limit == 0 || used < limit - limit / 10 ? SaLimit::none : used < limit ? SaLimit::soft : SaLimit::hard;
}

std::optional<std::uint64_t> left_of(std::uint64_t used, std::uint64_t limit) noexcept {
    return limit == 0 ? std::nullopt : std::optional{limit - std::min(used, limit)};
}

}  // namespace

SaLimit limit_of(const LifetimeConfig& lifetime, const SaUsage& used, std::uint64_t age_s) noexcept {
    return std::max({limit_of(used.bytes, lifetime.bytes), limit_of(used.packets, lifetime.packets),
                     limit_of(age_s, lifetime.seconds)});
}

SaLimit limit_of_numbers(const OutboundSa& sa) noexcept { return limit_of(sa.next_seq(), sa.end_of_sequence()); }

std::uint64_t now_s() noexcept {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count());
}

LifetimeLeft left_of(const LifetimeConfig& lifetime, const SaUsage& used, std::uint64_t age_s) noexcept {
    return {left_of(used.bytes, lifetime.bytes), left_of(used.packets, lifetime.packets),
            left_of(age_s, lifetime.seconds)};
}

}  // namespace twinspan
