// Addresses and prefixes as configuration and routes name them, and their text forms.
#pragma once

#include "dataplane/base/endian.hpp"
#include "dataplane/base/prefix.hpp"
#include "dataplane/config/snapshot.hpp"
#include "dataplane/packet/headers.hpp"

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace twinspan {

constexpr std::uint32_t mask4(unsigned length) noexcept { return length == 0 ? 0 : ~std::uint32_t{0} << (32 - length); }
// Clears the bits behind the first `length`.
Ipv6Address masked(const Ipv6Address& address, unsigned length) noexcept;

// Host bits are zero.
struct Prefix4 {
    be32 address{};
    std::uint8_t length = 0;

    constexpr bool contains(be32 a) const noexcept { return (a.host() & mask4(length)) == address.host(); }
    constexpr bool covers(Prefix4 other) const noexcept { return length <= other.length && contains(other.address); }
    constexpr bool overlaps(Prefix4 other) const noexcept { return covers(other) || other.covers(*this); }
    constexpr be32 last() const noexcept { return to_be32(address.host() | ~mask4(length)); }
    friend constexpr auto operator<=>(Prefix4, Prefix4) noexcept = default;
};

struct Prefix6 {
    Ipv6Address address{};
    std::uint8_t length = 0;

    bool contains(const Ipv6Address& a) const noexcept { return masked(a, length) == address; }
    bool covers(const Prefix6& other) const noexcept { return length <= other.length && contains(other.address); }
    bool overlaps(const Prefix6& other) const noexcept { return covers(other) || other.covers(*this); }
    friend auto operator<=>(const Prefix6&, const Prefix6&) noexcept = default;
};

inline IpPrefix to_prefix(Prefix4 prefix) noexcept { return {IpAddress::from(prefix.address), prefix.length}; }
inline IpPrefix to_prefix(const Prefix6& prefix) noexcept { return {IpAddress::from(prefix.address), prefix.length}; }

// An address of ours together with the length of its subnet: 203.0.113.1/30.
struct InterfaceAddress4 {
    be32 address{};
    std::uint8_t length = 32;

    constexpr Prefix4 network() const noexcept { return {to_be32(address.host() & mask4(length)), length}; }
    friend constexpr auto operator<=>(InterfaceAddress4, InterfaceAddress4) noexcept = default;
};

struct InterfaceAddress6 {
    Ipv6Address address{};
    std::uint8_t length = 128;

    Prefix6 network() const noexcept { return {masked(address, length), length}; }
    friend auto operator<=>(const InterfaceAddress6&, const InterfaceAddress6&) noexcept = default;
};

// The fewest prefixes that make up the range, ascending.
std::vector<Prefix4> prefixes_of(Ipv4Range range);

// No place on public and Microsoft peering, in neither direction: RFC 1918 section 3, addresses that carriers share
// (RFC 6598), link-local ones (RFC 3927).
inline constexpr auto kPrivate4 = std::to_array<Prefix4>({{to_be32(0x0a000000), 8},
                                                          {to_be32(0xac100000), 12},
                                                          {to_be32(0xc0a80000), 16},
                                                          {to_be32(0x64400000), 10},
                                                          {to_be32(0xa9fe0000), 16}});
inline constexpr Prefix6 kUniqueLocal6{{0xfc}, 7};  // RFC 4193
inline constexpr Prefix6 kLinkLocal6{{0xfe, 0x80}, 10};  // RFC 4291; every link has it

// True when any address of it is private or unique local: those of a short prefix are, and of the default route.
bool touches_private_space(Ipv4Range range) noexcept;
bool touches_private_space(const IpPrefix& prefix) noexcept;

std::optional<be32> parse_address4(std::string_view text);
std::optional<Ipv6Address> parse_address6(std::string_view text);
std::optional<IpAddress> parse_address(std::string_view text);  // of either version
std::optional<InterfaceAddress4> parse_interface_address4(std::string_view text);
std::optional<InterfaceAddress6> parse_interface_address6(std::string_view text);
// A prefix, or an address alone (/32, /128). Host bits that are not zero are refused.
std::optional<Prefix4> parse_prefix4(std::string_view text);
std::optional<Prefix6> parse_prefix6(std::string_view text);

std::string to_string(be32 address);
std::string to_string(const Ipv6Address& address);
std::string to_string(Prefix4 prefix);
std::string to_string(const Prefix6& prefix);
std::string to_string(InterfaceAddress4 address);
std::string to_string(const InterfaceAddress6& address);

}  // namespace twinspan
