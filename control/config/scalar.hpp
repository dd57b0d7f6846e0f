// The words and units of the configuration file: text to values. nullopt: not that kind of text, or out of range.
#pragma once

#include "dataplane/config/snapshot.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace twinspan {

// Decimal, or hexadecimal after 0x.
std::optional<std::uint64_t> parse_unsigned(std::string_view text, std::uint64_t min, std::uint64_t max);
std::optional<bool> parse_bool(std::string_view text);                 // true, false
std::optional<std::uint64_t> parse_mib(std::string_view text);         // 1024MiB, 2GiB; in MiB
std::optional<std::uint64_t> parse_bandwidth(std::string_view text);   // 50Mbps, 10Gbps; in bit/s
std::optional<std::uint32_t> parse_seconds(std::string_view text);     // 300s, 5m, 2h; 1 s to 7 days
std::optional<std::uint32_t> parse_milliseconds(std::string_view text);  // 300ms, 1s; 1 ms to 1 minute
std::optional<std::uint64_t> parse_bytes(std::string_view text);  // 102400000KB, 100GB; Azure's KB has 1024 bytes
std::optional<std::uint32_t> parse_rate(std::string_view text);        // 10000pps, 10kpps; in packets/s
std::optional<std::uint8_t> parse_percent(std::string_view text);      // 1% to 100%
std::optional<std::pair<std::uint16_t, std::uint16_t>> parse_ports(std::string_view text);  // 1024-65535
// A prefix, an address, or first-last.
std::optional<Ipv4Range> parse_range4(std::string_view text);
std::optional<std::uint8_t> parse_dscp(std::string_view text);  // 0 to 63, or a class: EF, AF41, CS3, BE
std::optional<Link> parse_link(std::string_view text);  // primary, secondary
// A name for a thing of ours, at most 32 characters: letters, digits, and - _ . behind the first.
std::optional<std::string> parse_name(std::string_view text);
// What Linux takes as a name of a network interface: at most 15 characters.
std::optional<std::string> parse_netdev_name(std::string_view text);

// The candidate with the fewest edits between, if they are few for a word of that length; else empty.
std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace twinspan
