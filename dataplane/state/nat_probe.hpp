// How free ports are looked for: at random (RFC 6056), and so many at most.
#pragma once

#include <cstdint>

namespace twinspan {

inline constexpr std::uint32_t kProbesPerAddress = 128;  // fewer ports are searched to their end

inline std::uint64_t next_random(std::uint64_t& state) noexcept {  // xorshift*, Vigna 2016
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545f4914f6cdd1du;
}

}  // namespace twinspan
