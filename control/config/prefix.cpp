#include "control/config/prefix.hpp"

#include "control/config/ranges.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <utility>

namespace twinspan {

namespace {

// inet_pton wants a terminated string; no address text is longer than this.
template <class T>
std::optional<T> parse_with(int family, std::string_view text) {
    std::array<char, INET6_ADDRSTRLEN + 1> buffer{};
    if (text.size() >= buffer.size() || text.find('\0') != std::string_view::npos) {
        return std::nullopt;
    }
    std::ranges::copy(text, buffer.begin());
    T value{};
    return inet_pton(family, buffer.data(), &value) == 1 ? std::optional{value} : std::nullopt;
}

// "address/length" to its two parts; the length is `width` when it is left out and that is allowed.
template <class Address, class Parse>
std::optional<std::pair<Address, std::uint8_t>> parse_slash(std::string_view text, std::uint8_t width,
                                                            bool length_optional, Parse parse) {
    const std::size_t slash = text.find('/');
    const auto address = parse(text.substr(0, slash));
    if (!address) {
        return std::nullopt;
    }
    if (slash == std::string_view::npos) {
        return length_optional ? std::optional{std::pair{*address, width}} : std::nullopt;
    }
    const std::string_view digits = text.substr(slash + 1);
    std::uint8_t length = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
    if (error != std::errc{} || end != digits.data() + digits.size() || length > width) {
        return std::nullopt;
    }
    return std::pair{*address, length};
}

}  // namespace

Ipv6Address masked(const Ipv6Address& address, unsigned length) noexcept {
    Ipv6Address out{};
    std::copy_n(address.begin(), length / 8, out.begin());
    if (length % 8 != 0) {
        out[length / 8] = static_cast<std::uint8_t>(address[length / 8] & 0xff00u >> length % 8);
    }
    return out;
}

std::vector<Prefix4> prefixes_of(Ipv4Range range) {
    std::vector<Prefix4> out;
    const std::uint64_t end = std::uint64_t{range.last.host()} + 1;
    for (std::uint64_t first = range.first.host(); first < end;) {
        unsigned bits = 0;  // of the largest aligned block that begins here and does not go beyond the end
        while (bits < 32 && first % (std::uint64_t{2} << bits) == 0 && first + (std::uint64_t{2} << bits) <= end) {
            ++bits;
        }
        out.push_back({to_be32(static_cast<std::uint32_t>(first)), static_cast<std::uint8_t>(32 - bits)});
        first += std::uint64_t{1} << bits;
    }
    return out;
}

bool touches_private_space(Ipv4Range range) noexcept {
    return std::ranges::any_of(kPrivate4,
                               [range](Prefix4 p) { return overlap(range, Ipv4Range{p.address, p.last()}); });
}

bool touches_private_space(const IpPrefix& prefix) noexcept {
    return prefix.family() == IpFamily::v6
               ? prefix.overlaps(to_prefix(kUniqueLocal6))
               : std::ranges::any_of(kPrivate4, [&](Prefix4 p) { return prefix.overlaps(to_prefix(p)); });
}

std::optional<be32> parse_address4(std::string_view text) { return parse_with<be32>(AF_INET, text); }
std::optional<Ipv6Address> parse_address6(std::string_view text) { return parse_with<Ipv6Address>(AF_INET6, text); }

std::optional<IpAddress> parse_address(std::string_view text) {
    const auto address = IpAddress::parse(text);
    return address ? std::optional{*address} : std::nullopt;
}

std::optional<InterfaceAddress4> parse_interface_address4(std::string_view text) {
    const auto parts = parse_slash<be32>(text, 32, false, parse_address4);
    return parts ? std::optional{InterfaceAddress4{parts->first, parts->second}} : std::nullopt;
}

std::optional<InterfaceAddress6> parse_interface_address6(std::string_view text) {
    const auto parts = parse_slash<Ipv6Address>(text, 128, false, parse_address6);
    return parts ? std::optional{InterfaceAddress6{parts->first, parts->second}} : std::nullopt;
}

std::optional<Prefix4> parse_prefix4(std::string_view text) {
    const auto parts = parse_slash<be32>(text, 32, true, parse_address4);
    if (!parts || (parts->first.host() & ~mask4(parts->second)) != 0) {
        return std::nullopt;
    }
    return Prefix4{parts->first, parts->second};
}

std::optional<Prefix6> parse_prefix6(std::string_view text) {
    const auto parts = parse_slash<Ipv6Address>(text, 128, true, parse_address6);
    if (!parts || masked(parts->first, parts->second) != parts->first) {
        return std::nullopt;
    }
    return Prefix6{parts->first, parts->second};
}

std::string to_string(be32 address) {
    std::array<char, INET_ADDRSTRLEN> buffer{};
    return inet_ntop(AF_INET, &address, buffer.data(), buffer.size());
}

std::string to_string(const Ipv6Address& address) {
    std::array<char, INET6_ADDRSTRLEN> buffer{};
    return inet_ntop(AF_INET6, address.data(), buffer.data(), buffer.size());
}

std::string to_string(Prefix4 prefix) { return to_string(prefix.address) + '/' + std::to_string(prefix.length); }
std::string to_string(const Prefix6& prefix) { return to_string(prefix.address) + '/' + std::to_string(prefix.length); }
std::string to_string(InterfaceAddress4 a) { return to_string(a.address) + '/' + std::to_string(a.length); }
std::string to_string(const InterfaceAddress6& a) { return to_string(a.address) + '/' + std::to_string(a.length); }

}  // namespace twinspan
