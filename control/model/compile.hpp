// World model to snapshot, as a pure function, in two halves: the Planner reads everything but what is live, assemble()
// what is live: links, drained links, SAs. Their changes need the second half alone, which does not look at routes.
#pragma once

#include "control/model/fib.hpp"
#include "control/model/groups.hpp"
#include "control/model/world.hpp"
#include "dataplane/config/snapshot.hpp"

#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace twinspan {

struct RefusedRoute {
    IpPrefix prefix;
    std::string netdev;
    std::string why;
    friend auto operator<=>(const RefusedRoute&, const RefusedRoute&) = default;
};

// A neighbour that a route or tunnel needs and whose MAC address Linux does not know: to be asked for with NTF_USE.
struct WantedNeighbour {
    std::uint16_t leg = kNone;
    IpAddress address;
    friend auto operator<=>(const WantedNeighbour&, const WantedNeighbour&) = default;
};

struct TunnelPath {
    std::uint16_t leg = kNone;
    std::uint16_t egress = kNone;  // outer egress when the leg is up; kNone: no path. Glean: no neighbour yet
    std::optional<IpAddress> gateway;  // the neighbour that the outer packets go to
    std::uint16_t outer_limit = 0;  // largest outer packet
    IpAddress remote;
};

enum class TunnelState : std::uint8_t { up, no_sa, worn_out, leg_down, drained, no_path };
std::string_view to_string(TunnelState state) noexcept;

// Everything but what is live. Kept between compiles; its groups remember their buckets.
struct Plan {
    Snapshot base;  // legs up, tunnels down, no SAs, no buckets
    std::map<HopKey, std::uint16_t> egress_of;
    std::vector<TunnelPath> paths;  // by tunnel
    std::vector<std::optional<IpAddress>> default_gateways;  // by leg, IPv4, for legs on the internet
    std::map<GroupKey, std::uint16_t> fallback;  // the egress for buckets without an owner
    GroupSet groups;
    FibPlan fib;
    std::vector<RefusedRoute> refused;  // sorted
    std::vector<WantedNeighbour> wanted;  // sorted
};

// Repairs the bucket tables of the plan's groups for what is live and builds the snapshot. Of the world it looks at
// links, drains, SAs, and neighbours that have failed.
std::unique_ptr<Snapshot> assemble(Plan& plan, const World& world, std::uint64_t generation);
// `current` with these tunnels' SAs as they are in the world, in a fraction of the time. Nothing: more than SAs follows
// from them (a tunnel goes up or down, or its path or sizes change), and it takes a plan or assemble().
std::unique_ptr<Snapshot> with_sas(const Snapshot& current, const Plan& plan, const World& world,
                                   std::span<const std::size_t> tunnels, std::uint64_t generation);

// The neighbour that a leg's hop sends to; none: no default route, or a tunnel.
std::optional<IpAddress> gateway_of(const Plan& plan, const HopKey& hop);
// Whether a group of several hops or a tunnel sends to this neighbour: its failure can be repaired.
bool is_gateway(const Plan& plan, const LegAddress& neighbour);
TunnelState tunnel_state(const Plan& plan, const World& world, std::size_t tunnel);
bool leg_up(const Plan& plan, const World& world, std::size_t leg) noexcept;

}  // namespace twinspan
