// The half of the planner that makes egresses: what a hop comes to in bytes, and the outer paths of tunnels.
#include "control/model/planner.hpp"
#include "control/model/policy.hpp"
#include "control/model/topology.hpp"

#include <algorithm>

namespace twinspan {
namespace {

constexpr std::size_t kDropEgresses = 64;  // more than there are pairs of reason and zone

}  // namespace

std::uint16_t Planner::add_egress(const Egress& egress) {
    plan_.base.egresses.push_back(egress);
    return static_cast<std::uint16_t>(plan_.base.egresses.size() - 1);
}

std::uint16_t Planner::drop_egress(Drop reason, Zone zone) {
    const auto [it, added] = drops_.try_emplace({reason, zone});
    if (added) {
        Egress egress;
        egress.kind = EgressKind::drop;
        egress.reason = reason;
        egress.zone = zone;
        it->second = add_egress(egress);
    }
    return it->second;
}

std::uint16_t Planner::egress_for(const HopKey& hop) {
    const auto [it, added] = plan_.egress_of.try_emplace(hop);
    if (added) {
        // Without room: egress 0, which drops. A wrapped number would be somebody else's next hop.
        it->second = plan_.base.egresses.size() < kMaxEgresses - kDropEgresses ? add_egress(hop_egress(hop)) : 0;
    } else if (plan_.base.egresses[it->second].kind == EgressKind::glean) {
        plan_.wanted.push_back(
            {hop.leg, *gateway_of(plan_, hop)});  // again: its last group may have been on its way out
    }
    return it->second;
}

Egress Planner::hop_egress(const HopKey& hop) {
    if (hop.is_tunnel()) {
        Egress egress;
        egress.kind = EgressKind::tunnel;
        egress.zone = Zone::tunnel;
        egress.tunnel = hop.tunnel;
        return egress;
    }
    const Leg& leg = plan_.base.legs[hop.leg];
    const std::optional<IpAddress> gateway = gateway_of(plan_, hop);
    if (!gateway) {
        Egress egress;
        egress.reason = Drop::link_down;
        egress.zone = leg.zone;
        return egress;
    }
    const auto mac = neighbour(hop.leg, *gateway);
    Egress egress = leg_egress(leg, hop.leg, mac.value_or(MacAddress{}));
    egress.pool = pool_of(world_.config, leg.zone, leg.link);
    if (egress.pool == kNone && carries_public_addresses_only(leg.zone)) {
        // Nothing may leave there untranslated, and there is nothing to translate to.
        egress.kind = EgressKind::drop;
        egress.reason = Drop::policy_denied;
    } else if (!mac) {
        egress.kind = EgressKind::glean;
    } else if (egress.pool != kNone) {
        egress.kind = EgressKind::nat;
    }
    return egress;
}

std::optional<MacAddress> Planner::neighbour(std::uint16_t leg, const IpAddress& address) {
    const auto it = neighbours_.find({leg, address});
    if (it != neighbours_.end()) {
        return it->second;
    }
    plan_.wanted.push_back({leg, address});
    return std::nullopt;
}

// Where the longest route to it over this leg leads; without a gateway, the destination is on the link.
std::optional<IpAddress> Planner::gateway_to(std::uint16_t leg, const IpAddress& remote) const {
    for (int length = static_cast<int>(address_bits(remote.family)); length >= 0; --length) {
        const IpPrefix around = IpPrefix{remote, static_cast<std::uint8_t>(length)}.network();
        const auto found = route(around);
        if (found && found->type == netlink::RouteType::unicast) {
            const auto hop = std::ranges::find_if(found->nexthops, [&](const netlink::NextHop& h) {
                const auto it = netdevs_.find(h.ifindex);
                return it != netdevs_.end() && !it->second.is_tunnel && it->second.index == leg;
            });
            if (hop != found->nexthops.end()) {
                return hop->gateway.value_or(remote);
            }
        }
        const std::vector<IpPrefix> own = addresses_of(world_.config.legs[leg]);
        if (std::ranges::any_of(own, [&](const IpPrefix& a) { return a.network() == around; })) {
            return remote;
        }
    }
    return std::nullopt;
}

void Planner::find_default_gateways() {
    plan_.default_gateways.assign(world_.config.legs.size(), std::nullopt);
    const auto found = route({{IpFamily::v4, {}}, 0});
    if (!found || found->type != netlink::RouteType::unicast) {
        return;
    }
    for (const netlink::NextHop& hop : found->nexthops) {
        const auto it = netdevs_.find(hop.ifindex);
        if (it != netdevs_.end() && !it->second.is_tunnel &&
            world_.config.legs[it->second.index].zone == Zone::internet) {
            plan_.default_gateways[it->second.index] = hop.gateway;
        }
    }
}

// A tunnel's packets have our own public address: they leave as they are, also where a pool translates the rest.
void Planner::add_tunnel_paths() {
    for (std::size_t i = 0; i < world_.config.tunnels.size(); ++i) {
        const TunnelConfig& tunnel = world_.config.tunnels[i];
        const auto leg = static_cast<std::uint16_t>(tunnel.leg);
        TunnelPath path;
        path.leg = leg;
        path.outer_limit = std::min(tunnel.mtu, plan_.base.legs[leg].mtu);
        path.remote = remote_of(tunnel, world_.sas[i]);
        path.gateway = gateway_to(leg, path.remote);
        if (path.gateway) {
            const auto [it, added] = outer_egresses_.try_emplace({leg, *path.gateway});
            if (added) {
                const auto mac = neighbour(leg, *path.gateway);
                Egress egress = leg_egress(plan_.base.legs[leg], leg, mac.value_or(MacAddress{}));
                egress.kind = mac ? EgressKind::leg : EgressKind::glean;
                it->second = add_egress(egress);
            }
            path.egress = it->second;
        }
        plan_.paths.push_back(path);
    }
}

}  // namespace twinspan
