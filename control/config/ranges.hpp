// Sets of IPv4 addresses as ranges: disjoint, ascending. Pure.
#pragma once

#include "dataplane/config/snapshot.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace twinspan {

using Ranges = std::vector<Ipv4Range>;

constexpr bool holds(Ipv4Range range, be32 address) noexcept { return range.first <= address && address <= range.last; }
constexpr bool overlap(Ipv4Range a, Ipv4Range b) noexcept { return a.first <= b.last && b.first <= a.last; }
std::string to_string(Ipv4Range range);  // "198.51.100.2-198.51.100.5", "198.51.100.7"

// Of any ranges, in any order. Ranges that touch become one.
Ranges unite(Ranges a, const Ranges& b);
Ranges subtract(const Ranges& from, const Ranges& what);
bool holds(const Ranges& ranges, be32 address) noexcept;
bool overlap(const Ranges& a, const Ranges& b) noexcept;
std::uint64_t count_addresses(const Ranges& ranges) noexcept;
std::string to_string(const Ranges& ranges);  // "198.51.100.2-198.51.100.5, 198.51.100.7"

}  // namespace twinspan
