// The bytes of an ESP packet in tunnel mode (RFC 4303 section 2) and what they cost.
//
//   | SPI 4 | sequence 4 | IV | payload | padding | pad length 1 | next header 1 | ICV |
//   |<-- authenticated -->|    |<------------- encrypted -------------------->|
#pragma once

#include "crypto/suite.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace twinspan {

static_assert(std::endian::native == std::endian::little, "the packet path swaps bytes without asking");

inline constexpr std::size_t kEspHeaderLen = 8;
inline constexpr std::size_t kEspTrailerMinLen = 2;  // pad length and next header
// Over all suites: what stands before a payload, and the room that sealing needs behind it.
inline constexpr std::size_t kEspMaxPayloadOffset = kEspHeaderLen + 16;
inline constexpr std::size_t kEspMaxRoom = 16 - 1 + kEspTrailerMinLen + 32;

inline constexpr std::uint8_t kNextHeaderIpv4 = 4;
inline constexpr std::uint8_t kNextHeaderIpv6 = 41;
inline constexpr std::uint8_t kNextHeaderDummy = 59;  // RFC 4303 section 2.6: discard without a word

enum class OuterIp : std::uint8_t { ipv4, ipv6 };
enum class EspCarrier : std::uint8_t { ip, udp };  // the second is NAT-T, RFC 3948

// Lengths in bytes.
struct EspLayout {
    std::uint8_t iv_len;
    std::uint8_t icv_len;
    std::uint8_t alignment;  // a power of two
    friend constexpr bool operator==(const EspLayout&, const EspLayout&) = default;
};

// `icv_len` as icv_len_is_valid allows.
constexpr EspLayout layout_of(Suite suite, std::size_t icv_len) noexcept {
    return {info(suite).iv_len, static_cast<std::uint8_t>(icv_len), info(suite).alignment};
}
constexpr EspLayout layout_of(Suite suite) noexcept { return layout_of(suite, info(suite).icv_len); }

constexpr std::size_t payload_offset(EspLayout l) noexcept { return kEspHeaderLen + l.iv_len; }

constexpr std::size_t pad_len(EspLayout l, std::size_t payload_len) noexcept {
    return (0 - (payload_len + kEspTrailerMinLen)) & (l.alignment - 1u);
}

// From the SPI to the end of the ICV.
constexpr std::size_t sealed_len(EspLayout l, std::size_t payload_len) noexcept {
    return payload_offset(l) + payload_len + pad_len(l, payload_len) + kEspTrailerMinLen + l.icv_len;
}

constexpr std::size_t min_len(EspLayout l) noexcept { return sealed_len(l, 0); }

constexpr std::size_t outer_len(OuterIp ip, EspCarrier carrier) noexcept {
    return (ip == OuterIp::ipv4 ? 20u : 40u) + (carrier == EspCarrier::udp ? 8u : 0u);
}

// The largest inner packet whose outer packet is at most `outer_limit` bytes, IP header included; 0 when none fits.
constexpr std::size_t max_inner_len(std::size_t outer_limit, EspLayout l, OuterIp ip, EspCarrier carrier) noexcept {
    const std::size_t fixed = outer_len(ip, carrier) + payload_offset(l) + l.icv_len;
    const std::size_t room = outer_limit < fixed ? 0 : (outer_limit - fixed) / l.alignment * l.alignment;
    return room < kEspTrailerMinLen ? 0 : room - kEspTrailerMinLen;
}

constexpr bool within_bounds(const SuiteInfo& s) noexcept {
    const EspLayout l = layout_of(s.id);
    return payload_offset(l) <= kEspMaxPayloadOffset && l.alignment - 1u + kEspTrailerMinLen + l.icv_len <= kEspMaxRoom;
}
static_assert(std::ranges::all_of(kSuites, within_bounds));

inline std::uint32_t load_be32(const std::uint8_t* p) noexcept {
    std::uint32_t v;
    std::memcpy(&v, p, sizeof v);
    return __builtin_bswap32(v);
}

inline std::uint32_t esp_spi(const std::uint8_t* esp) noexcept { return load_be32(esp); }
inline std::uint32_t esp_sequence_low(const std::uint8_t* esp) noexcept { return load_be32(esp + 4); }

// Sixteen bytes that leave in one store: what reads them back a few cycles later, the cipher, is
// served from the store buffer; from two narrow stores it would have to wait for the cache.
inline void store_block(std::uint8_t* to, std::uint64_t low, std::uint64_t high) noexcept {
    using Vector = long long __attribute__((vector_size(16)));
    const Vector v{static_cast<long long>(low), static_cast<long long>(high)};
    std::memcpy(to, &v, sizeof v);
}

// SPI, sequence number and an explicit IV of 8 bytes. The IV is the 64-bit sequence number: unique per key, as
// RFC 4106 section 3.1 and RFC 7634 section 2 ask, for as long as the sequence number is.
inline void write_esp_header(std::uint8_t* esp, std::uint32_t spi_be, std::uint64_t seq) noexcept {
    const std::uint64_t seq_be = __builtin_bswap64(seq);
    store_block(esp, std::uint64_t{spi_be} | (seq_be & 0xffff'ffff'0000'0000), seq_be);
}

// Salt and IV (RFC 4106 section 4); writes 16 bytes, of which the nonce is the first 12.
inline void write_nonce(std::uint8_t* nonce, std::uint32_t salt_be, std::uint64_t iv_be) noexcept {
    store_block(nonce, std::uint64_t{salt_be} | iv_be << 32, iv_be >> 32);
}

// SPI and 64-bit sequence number (RFC 4106 section 5, extended sequence numbers); writes 16 bytes, 12 count.
inline void write_esn_aad(std::uint8_t* aad, std::uint32_t spi_be, std::uint64_t seq) noexcept {
    write_nonce(aad, spi_be, __builtin_bswap64(seq));
}

}  // namespace twinspan
