// The part of a snapshot that follows from the configuration: ports, legs, pools, tunnels and finished L2 rewrites.
// Pure.
#pragma once

#include "control/model/world.hpp"
#include "dataplane/config/snapshot.hpp"

namespace twinspan {

std::vector<Leg> make_legs(const World& world);
std::vector<PortLegs> make_ports(const World& world, const std::vector<Leg>& legs);
std::vector<NatPool> make_pools(const Config& config);
// Without SAs and a path: up is false, outer_egress kNone, sizes those with UDP where IKE may find a NAT.
std::vector<Tunnel> make_tunnels(const World& world, const std::vector<Leg>& legs);

// How the tunnel's ESP travels, and what fits into it when its outer packets are at most `limit` bytes.
void set_encapsulation(Tunnel& tunnel, Encapsulation encapsulation, EspLayout layout, std::size_t limit) noexcept;

// By DscpRule, which a tunnel's map index follows; a fixed class has a table of its own after these.
std::vector<DscpMap> make_dscp_maps(const Config& config);
// What Microsoft peering lets through: EF, AF41, AF21, AF11, CS3 and CS0. Others become the nearest of these.
DscpMap microsoft_dscp_map() noexcept;

// The pool that translates what leaves to this zone over this link, or did so and still has sessions; kNone: none.
std::uint16_t pool_of(const Config& config, Zone zone, Link link = Link::none) noexcept;

// Towards `neighbour` on a leg: destination, source and VLAN tags, all but the last ethertype.
Egress leg_egress(const Leg& leg, std::uint16_t leg_index, const MacAddress& neighbour);

}  // namespace twinspan
