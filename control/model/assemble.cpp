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

bool has_failed(const World& world, std::uint16_t leg, const std::optional<IpAddress>& gateway) {
    return gateway && world.failed.contains({leg, *gateway});
}

// A link takes its time after a start. Sessions of an earlier run on a pool of its own wait for it.
bool is_awaited(const World& world, const Leg& leg) noexcept {
    return leg.port < world.ports.size() && world.ports[leg.port].awaited;
}

Quality quality(const Plan& plan, const World& world, const HopKey& hop) {
    if (hop.is_tunnel()) {
        return tunnel_state(plan, world, hop.tunnel) == TunnelState::up ? Quality::good : Quality::unusable;
    }
    const Leg& leg = plan.base.legs[hop.leg];
    if (!leg_up(plan, world, hop.leg) || world.drained[link_index(leg.link)]) {
        return Quality::unusable;
    }
    const EgressKind kind = plan.base.egresses[plan.egress_of.at(hop)].kind;
    if (kind == EgressKind::drop && hop.tier != 0) {
        return Quality::unusable;  // no default gateway
    }
    return kind == EgressKind::glean || has_failed(world, hop.leg, gateway_of(plan, hop)) ? Quality::unresolved
                                                                                          : Quality::good;
}

std::vector<GroupMember> members_now(const Plan& plan, const World& world, const GroupKey& key,
                                     const GroupState& group) {
    std::vector<Quality> qualities;
    for (const auto& [hop, weight] : key) {
        qualities.push_back(quality(plan, world, hop));
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

void set_tunnel(Tunnel& tunnel, const Plan& plan, const World& world, std::size_t index) {
    const TunnelSas& sas = world.sas[index];
    const TunnelPath& path = plan.paths[index];
    tunnel.up = tunnel_state(plan, world, index) == TunnelState::up;
    tunnel.outer_egress = tunnel.up ? path.egress : kNone;
    tunnel.out = sas.out;
    tunnel.remote = path.remote;
    set_encapsulation(tunnel, sas.encapsulation, sas.layout, path.outer_limit);
}

InboundSaTable inbound_sas(const World& world) {
    std::vector<InboundSaEntry> entries;
    entries.reserve(2 * world.sas.size());
    for (std::uint16_t i = 0; i < world.sas.size(); ++i) {
        for (const InboundRef& in : world.sas[i].in) {
            entries.push_back({in.spi, i, in.sa, in.encapsulation});
        }
    }
    return InboundSaTable(entries);
}

void listen_for(Snapshot& snapshot, const TunnelSas& sas) {
    snapshot.listen_for_esp(sas.encapsulation.local_port);
    for (const InboundRef& in : sas.in) {
        snapshot.listen_for_esp(in.encapsulation.local_port);
    }
}

void set_tunnels(Snapshot& snapshot, const Plan& plan, const World& world) {
    for (std::size_t i = 0; i < snapshot.tunnels.size(); ++i) {
        set_tunnel(snapshot.tunnels[i], plan, world, i);
        listen_for(snapshot, world.sas[i]);
    }
    snapshot.inbound_sas = inbound_sas(world);
    for (Egress& egress : snapshot.egresses) {
        if (egress.kind == EgressKind::tunnel) {
            egress.mtu = snapshot.tunnels[egress.tunnel].inner_mtu;
        }
    }
}

// As the next plan will have them, so that it changes nothing: Linux gets what would go to a neighbour that has failed.
void set_failed(Snapshot& snapshot, const Plan& plan, const World& world) {
    if (world.failed.empty()) {
        return;
    }
    const auto glean = [&](std::uint16_t index, std::uint16_t leg, const std::optional<IpAddress>& gateway) {
        Egress& egress = snapshot.egresses[index];
        if ((egress.kind == EgressKind::leg || egress.kind == EgressKind::nat) && has_failed(world, leg, gateway)) {
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

bool leg_up(const Plan& plan, const World& world, std::size_t leg) noexcept {
    const std::size_t port = plan.base.legs[leg].port;
    return port >= world.ports.size() || world.ports[port].up;
}

TunnelState tunnel_state(const Plan& plan, const World& world, std::size_t tunnel) {
    const TunnelPath& path = plan.paths[tunnel];
    if (world.sas[tunnel].worn_out) {
        return TunnelState::worn_out;
    }
    if (!world.sas[tunnel].complete()) {
        return TunnelState::no_sa;
    }
    if (!leg_up(plan, world, path.leg)) {
        return TunnelState::leg_down;
    }
    if (world.drained_tunnels.contains(tunnel) || world.drained[link_index(plan.base.legs[path.leg].link)]) {
        return TunnelState::drained;
    }
    if (path.egress == kNone || plan.base.egresses[path.egress].kind != EgressKind::leg ||
        has_failed(world, path.leg, path.gateway)) {
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
        case TunnelState::worn_out:
            return "the lifetime of its static keys is used up";
        case TunnelState::leg_down:
            return "the leg's port is down";
        case TunnelState::drained:
            return "drained";
        case TunnelState::no_path:
            return "no route to the remote gateway over the leg, or its neighbour is not resolved";
    }
    return "";
}

std::unique_ptr<Snapshot> assemble(Plan& plan, const World& world, std::uint64_t generation) {
    auto snapshot = std::make_unique<Snapshot>(plan.base);
    snapshot->generation = generation;
    for (std::size_t i = 0; i < snapshot->legs.size(); ++i) {
        snapshot->legs[i].up = leg_up(plan, world, i);
    }
    for (NatPool& pool : snapshot->pools) {
        pool.down = pool.link != Link::none && std::ranges::none_of(snapshot->legs, [&](const Leg& leg) {
            return leg.zone == pool.zone && leg.link == pool.link && (leg.up || is_awaited(world, leg));
        });
    }
    set_tunnels(*snapshot, plan, world);
    snapshot->has_owners = std::ranges::any_of(snapshot->tunnels, [](const Tunnel& t) { return t.owner != kNone; });
    snapshot->has_spread = std::ranges::any_of(snapshot->tunnels, &Tunnel::spread);
    set_failed(*snapshot, plan, world);
    snapshot->buckets.push_back(0);  // egress 0 drops: for group numbers that no group has
    snapshot->groups.resize(plan.groups.id_end());
    for (auto& [key, group] : plan.groups.groups()) {
        group.table = rebalance(group.table, members_now(plan, world, key, group), bucket_count(key.size()));
        add_group(*snapshot, plan, key, group);
    }
    return snapshot;
}

std::unique_ptr<Snapshot> with_sas(const Snapshot& current, const Plan& plan, const World& world,
                                   std::span<const std::size_t> tunnels, std::uint64_t generation) {
    auto next = std::make_unique<Snapshot>(current);
    next->generation = generation;
    for (const std::size_t i : tunnels) {
        const Tunnel& before = current.tunnels[i];
        Tunnel& tunnel = next->tunnels[i];
        set_tunnel(tunnel, plan, world, i);
        if (tunnel.up != before.up || tunnel.inner_mtu != before.inner_mtu ||
            plan.paths[i].remote != remote_of(world.config.tunnels[i], world.sas[i])) {
            return nullptr;
        }
        listen_for(*next, world.sas[i]);
    }
    next->inbound_sas = inbound_sas(world);
    return next;
}

}  // namespace twinspan
