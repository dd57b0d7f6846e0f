// What Linux told us about links, addresses, neighbours, routes and nexthop objects, as plain values.
// No netlink header is needed to use them.
#pragma once

#include "dataplane/base/prefix.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace twinspan::netlink {

// Kernel interface index; 0 is none.
using IfIndex = std::uint32_t;

inline constexpr std::uint32_t kTableMain = 254;
inline constexpr std::uint32_t kTableLocal = 255;

struct LinkEvent {
    IfIndex ifindex = 0;
    std::string name;
    bool up = false;       // IFF_UP: the administrator's wish
    bool carrier = false;  // IFF_RUNNING: the operational state
    MacAddress mac{};      // zero where the link has none (TUN)
    std::uint32_t mtu = 0;
    bool deleted = false;
    friend bool operator==(const LinkEvent&, const LinkEvent&) = default;
};

struct AddressEvent {
    IfIndex ifindex = 0;
    IpPrefix prefix;         // our address, host bits included
    bool tentative = false;  // IPv6: duplicate detection runs or failed, Linux does not answer for it yet
    bool deleted = false;
    friend bool operator==(const AddressEvent&, const AddressEvent&) = default;
};

enum class NeighbourState : std::uint8_t { none, incomplete, reachable, stale, delay, probe, failed, noarp, permanent };

struct NeighbourEvent {
    IfIndex ifindex = 0;
    IpAddress address;
    MacAddress mac{};
    NeighbourState state = NeighbourState::none;
    bool usable = false;  // the MAC address is known and may be used
    bool deleted = false;
    friend bool operator==(const NeighbourEvent&, const NeighbourEvent&) = default;
};

enum class RouteType : std::uint8_t {
    unicast,
    local,
    broadcast,
    anycast,
    multicast,
    blackhole,
    unreachable,
    prohibit,
    other
};

struct NextHop {
    std::optional<IpAddress> gateway;  // none: the destination is on the link
    IfIndex ifindex = 0;
    std::uint16_t weight = 1;  // 1 to 256; 65536 is cut to 65535
    bool linkdown = false;     // what the kernel said then; KernelState clears it, LinkEvent is the truth
    bool dead = false;         // likewise
    friend bool operator==(const NextHop&, const NextHop&) = default;
    friend auto operator<=>(const NextHop&, const NextHop&) = default;
};

// How a RTM_NEWROUTE relates to routes of the same prefix, table and metric (nlmsg_flags).
enum class RoutePlacement : std::uint8_t { insert, append, replace };

struct RouteEvent {
    IpPrefix prefix;
    std::uint32_t table = kTableMain;
    std::uint32_t metric = 0;  // lower is better
    RouteType type = RouteType::unicast;
    std::uint8_t protocol = 0;        // RTPROT_*: who installed it
    std::uint8_t tos = 0;             // not 0: a policy route, for some packets only
    std::uint8_t source_length = 0;   // not 0: IPv6 source-specific
    bool cached = false;              // a clone made for one destination, not a route
    bool encapsulated = false;        // lightweight tunnel (MPLS, SRv6, ...): not ours to forward
    RoutePlacement placement = RoutePlacement::insert;
    std::uint32_t nexthop_id = 0;  // a nexthop object; then `nexthops` may be empty
    std::vector<NextHop> nexthops;  // empty for blackhole, unreachable, prohibit
    bool deleted = false;
    friend bool operator==(const RouteEvent&, const RouteEvent&) = default;
};

struct NexthopMember {
    std::uint32_t id = 0;
    std::uint16_t weight = 1;
    friend bool operator==(const NexthopMember&, const NexthopMember&) = default;
};

// A nexthop object (`ip nexthop`): one hop, a blackhole, or a group of other objects.
struct NexthopEvent {
    std::uint32_t id = 0;
    NextHop hop;
    bool blackhole = false;
    bool resilient = false;              // NEXTHOP_GRP_TYPE_RES
    std::vector<NexthopMember> members;  // not empty: a group, `hop` is unused
    bool deleted = false;
    friend bool operator==(const NexthopEvent&, const NexthopEvent&) = default;
};

using Event = std::variant<LinkEvent, AddressEvent, NeighbourEvent, RouteEvent, NexthopEvent>;

}  // namespace twinspan::netlink
