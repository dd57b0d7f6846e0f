// The words that policy, configuration and packets share: zones, IP versions, "no such index".
#pragma once

#include <cstddef>
#include <cstdint>

namespace twinspan {

// Where a packet comes from or goes to, as policy sees it. The first five are peerings.
enum class Zone : std::uint8_t {
    lan,
    private_peering,
    public_peering,
    microsoft_peering,
    internet,
    tunnel,      // came out of a tunnel, or enters one
    translated,  // came back through a NAT session
    self,        // made here: ICMP errors, packets from Linux
};
inline constexpr std::size_t kZoneCount = 8;

// Private addresses do not belong there, and what leaves is translated.
constexpr bool carries_public_addresses_only(Zone zone) noexcept {
    return zone == Zone::microsoft_peering || zone == Zone::public_peering;
}

inline constexpr std::uint16_t kNone = 0xffff;  // "no such index" for legs, pools, tunnels, egresses

enum class IpVersion : std::uint8_t { none = 0, v4 = 4, v6 = 6 };

}  // namespace twinspan
