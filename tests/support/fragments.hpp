// Packets cut into fragments, as a router or a host on the way would send them; written apart from what is tested.
#pragma once

#include "tests/support/checksum.hpp"
#include "tests/support/packet_builder.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace twinspan::test {

// IPv4 without options; `size` bytes of payload each, a multiple of 8.
inline std::vector<Bytes> fragments4(const Bytes& packet, std::size_t size) {
    std::vector<Bytes> out;
    for (std::size_t at = 0; at < packet.size() - 20; at += size) {
        const std::size_t n = std::min(size, packet.size() - 20 - at);
        Bytes f(packet.begin(), packet.begin() + 20);
        f.insert(f.end(), packet.begin() + 20 + static_cast<std::ptrdiff_t>(at),
                 packet.begin() + 20 + static_cast<std::ptrdiff_t>(at + n));
        const std::size_t field = at / 8 | (at + n < packet.size() - 20 ? 0x2000u : 0u);
        f[2] = static_cast<std::uint8_t>(f.size() >> 8);
        f[3] = static_cast<std::uint8_t>(f.size());
        f[6] = static_cast<std::uint8_t>(field >> 8);
        f[7] = static_cast<std::uint8_t>(field);
        f[10] = f[11] = 0;
        const std::uint16_t sum = internet_checksum(std::span{f}.first(20));
        f[10] = static_cast<std::uint8_t>(sum >> 8);
        f[11] = static_cast<std::uint8_t>(sum);
        out.push_back(std::move(f));
    }
    return out;
}

// IPv6, the first `unfragmentable` bytes (40: the header alone) in each; `announced_at`: the byte in them that names
// what follows them.
inline std::vector<Bytes> fragments6(const Bytes& packet, std::size_t size, std::uint32_t id,
                                     std::size_t unfragmentable = 40, std::size_t announced_at = 6) {
    std::vector<Bytes> out;
    const std::size_t total = packet.size() - unfragmentable;
    for (std::size_t at = 0; at < total; at += size) {
        const std::size_t n = std::min(size, total - at);
        const std::size_t field = at | (at + n < total ? 1u : 0u);
        Bytes f(packet.begin(), packet.begin() + static_cast<std::ptrdiff_t>(unfragmentable));
        f.insert(f.end(), {f[announced_at], 0, static_cast<std::uint8_t>(field >> 8), static_cast<std::uint8_t>(field),
                           static_cast<std::uint8_t>(id >> 24), static_cast<std::uint8_t>(id >> 16),
                           static_cast<std::uint8_t>(id >> 8), static_cast<std::uint8_t>(id)});
        f[announced_at] = 44;
        const auto from = packet.begin() + static_cast<std::ptrdiff_t>(unfragmentable + at);
        f.insert(f.end(), from, from + static_cast<std::ptrdiff_t>(n));
        f[4] = static_cast<std::uint8_t>((f.size() - 40) >> 8);
        f[5] = static_cast<std::uint8_t>(f.size() - 40);
        out.push_back(std::move(f));
    }
    return out;
}

}  // namespace twinspan::test
