// What of a shared port's frames the workers take from Linux. Built by control.
#pragma once

#include "dataplane/base/prefix.hpp"
#include "dataplane/packet/headers.hpp"

#include <array>
#include <compare>
#include <cstdint>
#include <string_view>
#include <vector>

namespace twinspan {

// Who takes the frames to a prefix; of several prefixes, the longest says.
enum class SteerTo : std::uint8_t { linux_host, pool, encrypt };

struct SteeredPrefix {
    IpPrefix prefix;
    SteerTo to = SteerTo::linux_host;
    friend auto operator<=>(const SteeredPrefix&, const SteeredPrefix&) = default;
};

struct SteeredTags {
    std::uint16_t outer_tpid = 0x8100;
    std::uint16_t outer_id = 0;
    std::uint16_t inner_id = kNone;  // kNone: one tag
    static constexpr std::uint16_t kNone = 0xffff;
    friend auto operator<=>(const SteeredTags&, const SteeredTags&) = default;
};

struct Steering {
    std::vector<be32> tunnel_addresses;  // ESP and ESP in UDP to these
    std::vector<SteeredPrefix> prefixes;
    std::vector<SteeredTags> tags;
};

// Frames by what was decided, since the program was loaded.
enum class Steered : std::uint8_t { to_linux, esp, esp_in_udp, pool, encrypt, tagged, no_socket };
inline constexpr std::array<std::string_view, 7> kSteeredNames{"linux",   "esp",    "esp_in_udp", "pool",
                                                               "encrypt", "tagged", "no_socket"};
struct SteeringCounters {
    std::array<std::uint64_t, kSteeredNames.size()> frames{};
    std::uint64_t operator[](Steered what) const noexcept { return frames[static_cast<std::size_t>(what)]; }
};

}  // namespace twinspan
