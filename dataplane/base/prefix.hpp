// IP addresses and prefixes of either family, as configuration and the Linux mirror speak of them.
// The packet path uses be32 and Ipv6Address.
#pragma once

#include "dataplane/base/error.hpp"
#include "dataplane/packet/headers.hpp"

#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>

namespace twinspan {

enum class IpFamily : std::uint8_t { v4 = 4, v6 = 6 };

constexpr unsigned address_bits(IpFamily family) noexcept { return family == IpFamily::v4 ? 32 : 128; }

struct IpAddress {
    IpFamily family = IpFamily::v4;
    std::array<std::uint8_t, 16> bytes{};  // network order; IPv4 is the first four, the rest are zero

    static IpAddress from(be32 v4) noexcept {
        IpAddress a;
        std::memcpy(a.bytes.data(), &v4, sizeof v4);
        return a;
    }
    static constexpr IpAddress from(const Ipv6Address& v6) noexcept { return {IpFamily::v6, v6}; }
    // "192.0.2.1" or "2001:db8::1"; nothing before or after it.
    static Result<IpAddress> parse(std::string_view text);

    constexpr bool is_v4() const noexcept { return family == IpFamily::v4; }
    be32 v4() const noexcept {
        be32 value;
        std::memcpy(&value, bytes.data(), sizeof value);
        return value;
    }
    constexpr const Ipv6Address& v6() const noexcept { return bytes; }
    constexpr bool is_unspecified() const noexcept {
        return std::ranges::all_of(bytes, [](std::uint8_t b) { return b == 0; });
    }
    std::string text() const;

    friend constexpr bool operator==(const IpAddress&, const IpAddress&) noexcept = default;
    friend constexpr auto operator<=>(const IpAddress&, const IpAddress&) noexcept = default;
};

// An address with a length: a network when the host bits are zero, else an interface address such as 10.10.0.1/24.
struct IpPrefix {
    IpAddress address;
    std::uint8_t length = 0;

    // "10.0.0.0/8"; without a slash, the length is that of a host.
    static Result<IpPrefix> parse(std::string_view text);
    static constexpr IpPrefix host(const IpAddress& a) noexcept {
        return {a, static_cast<std::uint8_t>(address_bits(a.family))};
    }

    constexpr IpFamily family() const noexcept { return address.family; }
    // The same prefix with the host bits cleared.
    constexpr IpPrefix network() const noexcept {
        IpPrefix n = *this;
        for (std::size_t i = 0; i < n.address.bytes.size(); ++i) {
            const int keep = std::clamp(static_cast<int>(length) - static_cast<int>(i) * 8, 0, 8);
            n.address.bytes[i] &= static_cast<std::uint8_t>(0xff00 >> keep);
        }
        return n;
    }
    constexpr bool is_network() const noexcept { return *this == network(); }
    constexpr bool contains(const IpAddress& a) const noexcept {
        return a.family == family() && IpPrefix{a, length}.network().address == network().address;
    }
    constexpr bool contains(const IpPrefix& other) const noexcept {
        return other.length >= length && contains(other.address);
    }
    constexpr bool overlaps(const IpPrefix& other) const noexcept { return contains(other) || other.contains(*this); }
    std::string text() const;

    friend constexpr bool operator==(const IpPrefix&, const IpPrefix&) noexcept = default;
    friend constexpr auto operator<=>(const IpPrefix&, const IpPrefix&) noexcept = default;
};

}  // namespace twinspan

template <>
struct std::hash<twinspan::IpAddress> {
    std::size_t operator()(const twinspan::IpAddress& a) const noexcept {
        std::uint64_t words[2];
        std::memcpy(words, a.bytes.data(), sizeof words);
        // Multiply and fold: neighbouring networks must not share buckets.
        std::uint64_t h = (words[0] ^ 0x9e3779b97f4a7c15u) * 0xff51afd7ed558ccdu;
        h = (h ^ (h >> 32) ^ words[1] ^ static_cast<std::uint64_t>(a.family)) * 0xc4ceb9fe1a85ec53u;
        return static_cast<std::size_t>(h ^ (h >> 29));
    }
};

template <>
struct std::hash<twinspan::IpPrefix> {
    std::size_t operator()(const twinspan::IpPrefix& p) const noexcept {
        return std::hash<twinspan::IpAddress>{}(p.address) * 31 + p.length;
    }
};
