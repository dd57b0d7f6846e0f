#include "control/model/policy.hpp"

#include "control/config/prefix.hpp"
#include "control/model/world.hpp"

#include <algorithm>
#include <initializer_list>

namespace twinspan {
namespace {

constexpr std::uint8_t bits(std::initializer_list<Zone> zones) noexcept {
    unsigned result = 0;
    for (const Zone zone : zones) {
        result |= 1u << static_cast<unsigned>(zone);
    }
    return static_cast<std::uint8_t>(result);
}

}  // namespace

std::array<std::uint8_t, kZoneCount> may_send_matrix() noexcept {
    using enum Zone;
    constexpr std::uint8_t kEverywhere =
        bits({lan, private_peering, public_peering, microsoft_peering, internet, tunnel});
    std::array<std::uint8_t, kZoneCount> result{};
    const auto set = [&](Zone from, std::uint8_t to) { result[static_cast<std::size_t>(from)] = to; };
    set(lan, kEverywhere);
    set(private_peering, bits({lan, tunnel}));
    set(translated, bits({lan, private_peering}));
    set(tunnel, bits({lan, private_peering}));
    set(self, kEverywhere);
    return result;
}

std::string refusal(const Config& config, Zone zone, const IpPrefix& prefix) {
    if (carries_public_addresses_only(zone) && touches_private_space(prefix)) {
        return "private_or_default_route: " + to_string(zone) + " peering carries public prefixes only";
    }
    const auto accept = std::ranges::find(config.accept, zone, &AcceptConfig::zone);
    if (accept == config.accept.end()) {
        return {};
    }
    const auto covers = [&](const auto& accepted) { return to_prefix(accepted).contains(prefix); };
    if (std::ranges::any_of(accept->prefixes4, covers) || std::ranges::any_of(accept->prefixes6, covers)) {
        return {};
    }
    return "not_accepted: outside accept of the " + to_string(zone) + " peering";
}

}  // namespace twinspan
