// What became of the sessions of an earlier run.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace twinspan {

enum class NatLeftOut : std::uint8_t {
    expired,     // idle for too long by the present timeouts
    no_pool,     // its pool is gone, or down
    no_address,  // its outside address or port is none of its pool's any more
    taken,       // another session has one of its two ends, or another host its block
    host_limit,
    no_room,
    nonsense,    // torn, or never a session of ours
};
inline constexpr auto kNatLeftOutNames =
    std::to_array<std::string_view>({"expired", "no pool", "no address", "taken", "host limit", "no room", "nonsense"});

struct NatRestored {
    std::uint64_t restored = 0;
    std::array<std::uint64_t, kNatLeftOutNames.size()> left_out{};

    void leave_out(NatLeftOut why, std::uint64_t n = 1) noexcept { left_out[static_cast<std::size_t>(why)] += n; }
    std::uint64_t operator[](NatLeftOut why) const noexcept { return left_out[static_cast<std::size_t>(why)]; }
    NatRestored& operator+=(const NatRestored& other) noexcept {
        restored += other.restored;
        for (std::size_t i = 0; i < left_out.size(); ++i) {
            left_out[i] += other.left_out[i];
        }
        return *this;
    }
};

}  // namespace twinspan
