// The Internet checksum computed from scratch over all bytes (RFC 1071): the oracle for code that updates it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace twinspan::test {

// One's complement sum of big-endian 16-bit words, an odd byte padded with zero on the right; not yet folded.
inline std::uint64_t ones_sum(std::span<const std::uint8_t> bytes) {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        sum += i % 2 == 0 ? static_cast<std::uint64_t>(bytes[i]) << 8 : bytes[i];
    }
    return sum;
}

inline std::uint16_t folded_complement(std::uint64_t sum) {
    while (sum > 0xffff) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return static_cast<std::uint16_t>(~sum);
}

inline std::uint16_t internet_checksum(std::span<const std::uint8_t> bytes) {
    return folded_complement(ones_sum(bytes));
}

// RFC 9293 section 3.1, RFC 8200 section 8.1. `addresses`: source and destination as they lie in the header.
inline std::uint16_t transport_checksum(std::span<const std::uint8_t> addresses, std::uint8_t protocol,
                                        std::span<const std::uint8_t> segment) {
    return folded_complement(ones_sum(addresses) + protocol + segment.size() + ones_sum(segment));
}

// Puts that of an IPv4 packet without options right.
inline void set_ipv4_checksum(std::span<std::uint8_t> packet) {
    packet[10] = packet[11] = 0;
    const std::uint16_t checksum = internet_checksum(packet.first(20));
    packet[10] = static_cast<std::uint8_t>(checksum >> 8);
    packet[11] = static_cast<std::uint8_t>(checksum);
}

}  // namespace twinspan::test
