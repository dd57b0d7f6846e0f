// What stands behind a payload: padding, pad length, next header (RFC 4303 sections 2.4 to 2.6).
#pragma once

#include "crypto/esp_format.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace twinspan {

enum class OpenStatus : std::uint8_t { ok, bad_length, auth_failed, bad_padding };

struct Opened {
    std::uint32_t
        payload_len;  // from payload_offset(layout()) on; traffic-flow padding (RFC 4303 section 2.7) included
    std::uint8_t next_header;
    OpenStatus status;
};

// Padding 1, 2, 3, ... as it lies in memory (RFC 4303 section 2.4).
inline constexpr std::array<std::uint8_t, 256> kCounting = [] {
    std::array<std::uint8_t, 256> bytes{};
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        bytes[i] = static_cast<std::uint8_t>(i + 1);
    }
    return bytes;
}();

// Padding and pad length for an alignment of 4, by pad length.
inline constexpr std::array<std::uint32_t, 4> kShortTrailer{0x00, 0x01'01, 0x02'02'01, 0x03'03'02'01};

// Writes padding, pad length and next header behind the payload and returns their length. Stores 8 or 18 bytes,
// whatever the length, which the room behind the payload makes safe.
inline std::size_t write_trailer(std::uint8_t* payload_end, std::size_t padding, std::uint8_t next_header) noexcept {
    if (padding < kShortTrailer.size()) [[likely]] {
        const std::uint64_t trailer = kShortTrailer[padding] | std::uint64_t{next_header} << (8 * (padding + 1));
        std::memcpy(payload_end, &trailer, sizeof trailer);
    } else {
        std::memcpy(payload_end, kCounting.data(), 16);
        payload_end[padding] = static_cast<std::uint8_t>(padding);
        payload_end[padding + 1] = next_header;
    }
    return padding + kEspTrailerMinLen;
}

// Reads the trailer that ends `len` authenticated bytes, of which there are at least kEspTrailerMinLen. The padding
// must lie within them and count up.
inline Opened read_trailer(const std::uint8_t* payload, std::size_t len) noexcept {
    const std::uint8_t* end = payload + len - kEspTrailerMinLen;
    const std::size_t padding = end[0];
    const std::uint8_t next_header = end[1];
    if (padding > len - kEspTrailerMinLen) [[unlikely]] {
        return {0, next_header, OpenStatus::bad_padding};
    }
    for (const std::uint8_t* p = end - padding; p != end; ++p) {
        if (*p != kCounting[static_cast<std::size_t>(p - (end - padding))]) [[unlikely]] {
            return {0, next_header, OpenStatus::bad_padding};
        }
    }
    return {static_cast<std::uint32_t>(len - kEspTrailerMinLen - padding), next_header, OpenStatus::ok};
}

// Whether a packet of `len` bytes has whole blocks of payload and at least one.
inline bool length_is_valid(EspLayout l, std::size_t len) noexcept {
    return len >= min_len(l) && (len - payload_offset(l) - l.icv_len) % l.alignment == 0;
}

// Which byte differs is not to be told by time. `len` is 8 or more, and no secret. The two pieces overlap where it is
// less than 16, and leave a gap in the middle where it is more: then there is a third.
inline bool icv_matches(const std::uint8_t* received, const std::uint8_t* computed, std::size_t len) noexcept {
    const auto difference = [=](std::size_t at) noexcept {
        std::uint64_t a, b;
        std::memcpy(&a, received + at, sizeof a);
        std::memcpy(&b, computed + at, sizeof b);
        return a ^ b;
    };
    std::uint64_t all = difference(0) | difference(len - 8);
    for (std::size_t at = 8; at + 8 < len; at += 8) {
        all |= difference(at);
    }
    return all == 0;
}

}  // namespace twinspan
