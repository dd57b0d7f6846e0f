// Integers in network byte order. No implicit conversion: mixing the orders does not compile.
// Packed, so that one may lie at any address: headers follow 14 bytes of Ethernet, and options begin anywhere.
#pragma once

#include <bit>
#include <compare>
#include <concepts>
#include <cstdint>

namespace twinspan {

template <std::unsigned_integral T>
struct [[gnu::packed]] BigEndian {
    T raw;  // as it lies in the packet

    static constexpr BigEndian from_host(T value) noexcept { return {swap(value)}; }
    constexpr T host() const noexcept { return swap(raw); }
    friend constexpr bool operator==(BigEndian, BigEndian) noexcept = default;
    // Orders by value, not by how the bytes happen to load.
    friend constexpr std::strong_ordering operator<=>(BigEndian a, BigEndian b) noexcept {
        return a.host() <=> b.host();
    }

private:
    static constexpr T swap(T value) noexcept {
        if constexpr (std::endian::native == std::endian::big || sizeof(T) == 1) {
            return value;
        } else if constexpr (sizeof(T) == 2) {
            return __builtin_bswap16(value);
        } else if constexpr (sizeof(T) == 4) {
            return __builtin_bswap32(value);
        } else {
            return __builtin_bswap64(value);
        }
    }
};

using be16 = BigEndian<std::uint16_t>;
using be32 = BigEndian<std::uint32_t>;
using be64 = BigEndian<std::uint64_t>;

constexpr be16 to_be16(std::uint16_t host) noexcept { return be16::from_host(host); }
constexpr be32 to_be32(std::uint32_t host) noexcept { return be32::from_host(host); }
constexpr be64 to_be64(std::uint64_t host) noexcept { return be64::from_host(host); }

}  // namespace twinspan
