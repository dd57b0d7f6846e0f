// The half of the compiler that a failing link or a new SA needs: what is live in, buckets and a snapshot out. Routes
// are not looked at.
#include "control/model/compile.hpp"
#include "control/model/topology.hpp"

#include <algorithm>

namespace twinspan {
namespace {

// How good a hop is now. A group uses its good hops of the lowest tier that has one. A hop whose neighbour is still to
// be resolved, or has failed, gets packets only when no hop of any tier is good, so a link that returns takes its flows
// back once it can carry them.
enum class Quality : std::uint8_t { unusable, unresolved, good };

bool has_failed(const LiveState& live, std::uint16_t leg, const std::optional<IpAddress>& gateway) {
    return gateway && live.failed.contains({leg, *gateway});
}

Quality quality(const Plan& plan, const LiveState& live, const HopKey& hop) {
    if (hop.is_tunnel()) {
        return tunnel_state(plan, live, hop.tunnel) == TunnelState::up ? Quality::good : Quality::unusable;
    }
    const Leg& leg = plan.base.legs[hop.leg];
    if (!leg_up(plan, live, hop.leg) || live.drained[link_index(leg.link)]) {
        return Quality::unusable;
    }
    const EgressKind kind = plan.base.egresses[plan.egress_of.at(hop)].kind;
    if (kind == EgressKind::drop && hop.tier != 0) {
        return Quality::unusable;  // no default gateway
    }
    return kind == EgressKind::glean || has_failed(live, hop.leg, gateway_of(plan, hop)) ? Quality::unresolved
                                                                                         : Quality::good;
}

std::vector<GroupMember> members_now(const Plan& plan, const LiveState& live, const GroupKey& key,
                                     const GroupState& group) {
    std::vector<Quality> qualities;
    for (const auto& [hop, weight] : key) {
        qualities.push_back(quality(plan, live, hop));
    }
    const Quality best = std::ranges::max(qualities);
    std::uint8_t tier = 0xff;
    for (std::size_t i = 0; i < key.size(); ++i) {
        tier = qualities[i] == best ? std::min(tier, key[i].first.tier) : tier;
    }
    std::vector<GroupMember> members;
    for (std::size_t i = 0; i < key.size(); ++i) {
        const bool usable = best != Quality::unusable && qualities[i] == best && key[i].first.tier == tier;
        members.push_back({group.hops[i], key[i].second, usable});
    }
    return members;
}

void add_group(Snapshot& snapshot, const Plan& plan, const GroupKey& key, const GroupState& group) {
    const auto first = static_cast<std::uint32_t>(snapshot.buckets.size());
    snapshot.groups[group.id] = {first, static_cast<std::uint32_t>(group.table.owners.size() - 1)};
    for (const std::uint32_t owner : group.table.owners) {
        const auto hop = std::ranges::find(group.hops, owner);
        snapshot.buckets.push_back(
            hop == group.hops.end() ? plan.fallback.at(key)
                                    : plan.egress_of.at(key[static_cast<std::size_t>(hop - group.hops.begin())].first));
    }
}

void set_tunnels(Snapshot& snapshot, const Plan& plan, const LiveState& live) {
    std::vector<InboundSaEntry> inbound;
    for (std::uint16_t i = 0; i < snapshot.tunnels.size(); ++i) {
        const TunnelSas& sas = live.sas[i];
        Tunnel& tunnel = snapshot.tunnels[i];
        tunnel.up = tunnel_state(plan, live, i) == TunnelState::up;
        tunnel.outer_egress = tunnel.up ? plan.paths[i].egress : kNone;
        tunnel.out = sas.out;
        set_encapsulation(tunnel, sas.encapsulation, plan.paths[i].outer_limit);
        snapshot.listen_for_esp(sas.encapsulation.local_port);
        for (const InboundRef& in : sas.in) {
            inbound.push_back({in.spi, i, in.sa, sas.encapsulation});
        }
    }
    snapshot.inbound_sas = InboundSaTable(inbound);
    for (Egress& egress : snapshot.egresses) {
        if (egress.kind == EgressKind::tunnel) {
            egress.mtu = snapshot.tunnels[egress.tunnel].inner_mtu;
        }
    }
}

// As the next plan will have them, so that it changes nothing: Linux gets what would go to a neighbour that has failed.
void set_failed(Snapshot& snapshot, const Plan& plan, const LiveState& live) {
    if (live.failed.empty()) {
        return;
    }
    const auto glean = [&](std::uint16_t index, std::uint16_t leg, const std::optional<IpAddress>& gateway) {
        Egress& egress = snapshot.egresses[index];
        if ((egress.kind == EgressKind::leg || egress.kind == EgressKind::nat) && has_failed(live, leg, gateway)) {
            egress.kind = EgressKind::glean;
            std::fill_n(egress.rewrite.begin(), sizeof(MacAddress), std::uint8_t{0});
        }
    };
    for (const auto& [hop, egress] : plan.egress_of) {
        if (!hop.is_tunnel()) {
            glean(egress, hop.leg, gateway_of(plan, hop));
        }
    }
    for (const TunnelPath& path : plan.paths) {
        if (path.egress != kNone) {
            glean(path.egress, path.leg, path.gateway);
        }
    }
}

}  // namespace

LiveState live_state(const World& world) {
    LiveState live;
    for (const PortState& port : world.ports) {
        live.port_up.push_back(port.up);
    }
    live.drained = world.drained;
    live.sas = world.sas;
    live.drained_tunnels = world.drained_tunnels;
    live.failed = world.failed;
    return live;
}

std::optional<IpAddress> gateway_of(const Plan& plan, const HopKey& hop) {
    if (hop.is_tunnel()) {
        return std::nullopt;
    }
    return hop.tier == 0 ? hop.gateway : plan.default_gateways[hop.leg];
}

bool is_gateway(const Plan& plan, const LegAddress& neighbour) {
    const auto sends = [&](const auto& hop) {
        return hop.first.leg == neighbour.first && gateway_of(plan, hop.first) == neighbour.second;
    };
    const auto of_group = [&](const auto& group) {
        return group.first.size() > 1 && std::ranges::any_of(group.first, sends);
    };
    const auto of_tunnel = [&](const TunnelPath& path) {
        return path.leg == neighbour.first && path.gateway == neighbour.second;
    };
    return std::ranges::any_of(plan.groups.groups(), of_group) || std::ranges::any_of(plan.paths, of_tunnel);
}

bool leg_up(const Plan& plan, const LiveState& live, std::size_t leg) noexcept {
    const std::size_t port = plan.base.legs[leg].port;
    return port >= live.port_up.size() || live.port_up[port];
}

TunnelState tunnel_state(const Plan& plan, const LiveState& live, std::size_t tunnel) {
    const TunnelPath& path = plan.paths[tunnel];
    if (!live.sas[tunnel].complete()) {
        return TunnelState::no_sa;
    }
    if (!leg_up(plan, live, path.leg)) {
        return TunnelState::leg_down;
    }
    if (live.drained_tunnels.contains(tunnel) || live.drained[link_index(plan.base.legs[path.leg].link)]) {
        return TunnelState::drained;
    }
    if (path.egress == kNone || plan.base.egresses[path.egress].kind != EgressKind::leg ||
        has_failed(live, path.leg, path.gateway)) {
        return TunnelState::no_path;
    }
    return TunnelState::up;
}

std::string_view to_string(TunnelState state) noexcept {
    switch (state) {
        case TunnelState::up:
            return "";
        case TunnelState::no_sa:
            return "no security associations";
        case TunnelState::leg_down:
            return "the leg's port is down";
        case TunnelState::drained:
            return "drained";
        case TunnelState::no_path:
            return "no route to the remote gateway over the leg, or its neighbour is not resolved";
    }
    return "";
}

std::unique_ptr<Snapshot> assemble(Plan& plan, const LiveState& live, std::uint64_t generation) {
    auto snapshot = std::make_unique<Snapshot>(plan.base);
    snapshot->generation = generation;
    for (std::size_t i = 0; i < snapshot->legs.size(); ++i) {
        snapshot->legs[i].up = leg_up(plan, live, i);
    }
    set_tunnels(*snapshot, plan, live);
    snapshot->has_owners = std::ranges::any_of(snapshot->tunnels, [](const Tunnel& t) { return t.owner != kNone; });
    snapshot->has_spread = std::ranges::any_of(snapshot->tunnels, &Tunnel::spread);
    set_failed(*snapshot, plan, live);
    snapshot->buckets.push_back(0);  // egress 0 drops: for group numbers that no group has
    snapshot->groups.resize(plan.groups.id_end());
    for (auto& [key, group] : plan.groups.groups()) {
        group.table = rebalance(group.table, members_now(plan, live, key, group), bucket_count(key.size()));
        add_group(*snapshot, plan, key, group);
    }
    return snapshot;
}

}  // namespace twinspan
