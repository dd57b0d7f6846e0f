// Ports, legs, tunnels, groups, routes and neighbours.
#include "control/rpc/status.hpp"
#include "crypto/sa.hpp"
#include "dataplane/packet/batch.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <tuple>

namespace twinspan {
namespace {

using nlohmann::json;

json or_null(std::string text) { return text.empty() ? json{} : json(std::move(text)); }

std::string mac_text(const MacAddress& mac) {
    std::array<char, 18> text{};
    std::snprintf(text.data(), text.size(), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
                  mac[5]);
    return text.data();
}

std::string link_text(Link link) { return link == Link::none ? std::string{} : to_string(link); }

std::string vlan_text(const Leg& leg) {
    std::string text;
    for (std::size_t i = 0; i < leg.tag_count; ++i) {
        text += (i == 0 ? "" : ".") + std::to_string(leg.tags[i].tci.host() & kVlanIdMask);
    }
    return text;
}

const char* state_text(bool up, bool drained) { return !up ? "down" : drained ? "drained" : "up"; }

template <class Of>
json traffic(const StatusSources& s, Of&& of) {
    std::uint64_t sums[4] = {};
    for (const WorkerCounters* worker : s.counters) {
        const auto& [rx, tx] = of(*worker);
        sums[0] += rx.packets.read();
        sums[1] += rx.bytes.read();
        sums[2] += tx.packets.read();
        sums[3] += tx.bytes.read();
    }
    return {{"rx_packets", sums[0]}, {"rx_bytes", sums[1]}, {"tx_packets", sums[2]}, {"tx_bytes", sums[3]}};
}

std::string hop_text(const World& world, const HopKey& hop) {
    const std::string fallback = hop.tier == 0 ? "" : " (fallback)";
    if (hop.is_tunnel()) {
        return "tunnel " + world.config.tunnels[hop.tunnel].name + fallback;
    }
    return (hop.tier == 0 ? hop.gateway.text() : "default") + " dev " + world.config.legs[hop.leg].netdev + fallback;
}

const char* hop_state(const StatusSources& s, const HopKey& hop) {
    const Snapshot& snapshot = s.failover->snapshot();
    const World& world = s.failover->world();
    const std::size_t leg = hop.is_tunnel() ? world.config.tunnels[hop.tunnel].leg : hop.leg;
    const bool up = snapshot.legs[leg].up;
    const bool drained = world.drained[link_index(snapshot.legs[leg].link)];
    if (hop.is_tunnel() && up && !drained && !snapshot.tunnels[hop.tunnel].up) {
        return "down";
    }
    return state_text(up, drained);
}

const char* neighbour_state(netlink::NeighbourState state) {
    static constexpr const char* kNames[] = {"none",  "incomplete", "reachable", "stale",    "delay",
                                             "probe", "failed",     "noarp",     "permanent"};
    return kNames[static_cast<std::size_t>(state)];
}

const char* kind_text(RouteKind kind) {
    switch (kind) {
        case RouteKind::forward:
            return "forward";
        case RouteKind::local:
            return "local";
        case RouteKind::pool:
            return "pool";
        case RouteKind::connected:
            return "connected";
        case RouteKind::drop:
            return "drop";
    }
    return "drop";
}

json route_via(const StatusSources& s, RouteResult result) {
    const World& world = s.failover->world();
    json via = json::array();
    if (result.kind() == RouteKind::forward) {
        if (const GroupKey* key = s.failover->current_plan().groups.key_of(result.index())) {
            for (const auto& [hop, weight] : *key) {
                via.push_back(hop_text(world, hop));
            }
        }
    } else if (result.kind() == RouteKind::connected) {
        via.push_back("dev " + world.config.legs[result.index()].netdev);
    } else if (result.kind() == RouteKind::pool) {
        via.push_back(to_string(world.config.pools[result.index()].zone) + " pool");
    } else if (result.kind() == RouteKind::drop) {
        via.push_back(std::string{name_of(result.reason())});
    }
    return via;
}

json or_null(const std::optional<std::uint64_t>& value) { return value ? json(*value) : json{}; }

json left_json(const LifetimeLeft& left) {
    return {{"bytes", or_null(left.bytes)}, {"packets", or_null(left.packets)}, {"seconds", or_null(left.seconds)}};
}

std::string encapsulation_text(Encapsulation e) {
    return e.udp() ? "udp " + std::to_string(e.local_port.host()) + "-" + std::to_string(e.remote_port.host()) : "none";
}

json sa_json(const SaRow& sa) {
    return {{"spi", sa.spi},
            {"direction", sa.outbound ? "out" : "in"},
            {"source", sa.from_kernel ? "kernel" : "static"},
            {"in_use", sa.in_use},
            {"suite", name(sa.suite)},
            {"icv", 8 * sa.icv_len},
            {"esn", sa.esn},
            {"encapsulation", encapsulation_text(sa.encapsulation)},
            {"peer", sa.peer.text()},
            {"sequence", sa.sequence},
            {"reserved_until", sa.outbound ? json(sa.reserved_until) : json{}},
            {"window", sa.outbound ? json{} : json(sa.window_bits)},
            {"packets", sa.usage.packets},
            {"bytes", sa.usage.bytes},
            {"left", left_json(sa.left)}};
}

// `rows` are sorted by tunnel.
json sas_json(const std::vector<SaRow>& rows, std::size_t tunnel) {
    json result = json::array();
    for (const SaRow& sa : std::ranges::equal_range(rows, tunnel, {}, &SaRow::tunnel)) {
        result.push_back(sa_json(sa));
    }
    return result;
}

json steered_json(const SteeringCounters& counters) {
    json result = json::object();
    for (std::size_t i = 0; i < kSteeredNames.size(); ++i) {
        result[std::string{kSteeredNames[i]}] = counters.frames[i];
    }
    return result;
}

}  // namespace

json show_ports(const StatusSources& s) {
    json result = json::array();
    const World& world = s.failover->world();
    for (std::size_t i = 0; i < world.config.ports.size(); ++i) {
        const PortConfig& port = world.config.ports[i];
        const PortStats stats = s.port_stats ? s.port_stats(static_cast<std::uint16_t>(i)) : PortStats{};
        const bool is_shared = !port.shared.empty() && s.steered;
        result.push_back({{"name", port.name},
                          {"device", port.shared.empty() ? json(port.device) : json(nullptr)},
                          {"shared", or_null(port.shared)},
                          {"steered", is_shared ? steered_json(s.steered(static_cast<std::uint16_t>(i))) : json{}},
                          {"netdev", or_null(i < s.ports.size() ? s.ports[i].kernel_netdev : "")},
                          {"link", world.ports[i].up ? "up" : "down"},
                          {"mac", mac_text(world.ports[i].mac)},
                          {"mtu", port.mtu},
                          {"rx_packets", stats.rx_packets},
                          {"rx_bytes", stats.rx_bytes},
                          {"tx_packets", stats.tx_packets},
                          {"tx_bytes", stats.tx_bytes},
                          {"rx_missed", stats.rx_missed},
                          {"rx_errors", stats.rx_errors},
                          {"tx_errors", stats.tx_errors}});
    }
    return result;
}

json show_legs(const StatusSources& s) {
    json result = json::array();
    const World& world = s.failover->world();
    for (std::size_t i = 0; i < world.config.legs.size(); ++i) {
        const LegConfig& config = world.config.legs[i];
        const Leg& leg = s.failover->snapshot().legs[i];
        json addresses = json::array();
        for (const IpPrefix& address : addresses_of(config)) {
            addresses.push_back(address.text());
        }
        json row{{"name", config.netdev},
                 {"peering", to_string(config.zone)},
                 {"link", or_null(link_text(config.link))},
                 {"port", config.port},
                 {"vlan", vlan_text(leg)},
                 {"addresses", std::move(addresses)},
                 {"state", state_text(leg.up, world.drained[link_index(leg.link)])}};
        row.update(traffic(s, [i](const WorkerCounters& w) { return std::tie(w.leg_rx[i], w.leg_tx[i]); }));
        result.push_back(std::move(row));
    }
    return result;
}

json show_tunnels(const StatusSources& s) {
    const std::vector<SaRow> sa_rows = s.sas != nullptr ? s.sas->rows() : std::vector<SaRow>{};
    json result = json::array();
    const World& world = s.failover->world();
    for (std::size_t i = 0; i < world.config.tunnels.size(); ++i) {
        const TunnelConfig& config = world.config.tunnels[i];
        const Tunnel& tunnel = s.failover->snapshot().tunnels[i];
        const TunnelState state = tunnel_state(s.failover->current_plan(), world, i);
        const TunnelSas& sas = world.sas[i];
        const OutboundSa* out = sas.out;
        json row{{"name", config.name},
                 {"if_id", config.if_id},
                 {"link", or_null(link_text(config.link))},
                 {"local", config.local.text()},
                 {"remote", tunnel.remote.text()},
                 {"moved", tunnel.remote != config.remote},
                 {"encapsulation", encapsulation_text(tunnel.encapsulation)},
                 {"state", state == TunnelState::drained ? "drained"
                           : tunnel.up                   ? "up"
                                                         : "down"},
                 {"reason", to_string(state)},
                 {"spi_out", out ? json(out->spi()) : json{}},
                 {"spi_in", !sas.in.empty() ? json(sas.in.back().spi) : json{}},
                 {"suite", out ? json(name(out->suite())) : json{}},
                 {"sequence", out ? json(out->next_seq() - 1) : json{}},
                 {"reserved_until", out ? json(out->limit()) : json{}},
                 {"outer_mtu", config.mtu},
                 {"inner_mtu", tunnel.inner_mtu},
                 {"mss4", tunnel.mss4},
                 {"mss6", tunnel.mss6},
                 {"worker", tunnel.owner == kNone ? json{} : json(tunnel.owner)},
                 {"sas", sas_json(sa_rows, i)}};
        row.update(traffic(s, [i](const WorkerCounters& w) { return std::tie((*w.tunnel_rx)[i], (*w.tunnel_tx)[i]); }));
        result.push_back(std::move(row));
    }
    return result;
}

json show_sas(const StatusSources& s) {
    json result = json::array();
    for (const SaRow& sa : s.sas != nullptr ? s.sas->rows() : std::vector<SaRow>{}) {
        result.push_back(sa_json(sa));
        result.back()["tunnel"] = s.failover->world().config.tunnels[sa.tunnel].name;
    }
    return result;
}

json show_groups(const StatusSources& s) {
    std::map<std::uint32_t, json> by_id;
    for (const auto& [key, group] : s.failover->current_plan().groups.groups()) {
        if (group.routes == 0) {
            continue;
        }
        json members = json::array();
        for (std::size_t i = 0; i < key.size(); ++i) {
            members.push_back({{"egress", hop_text(s.failover->world(), key[i].first)},
                               {"weight", key[i].second},
                               {"buckets", std::ranges::count(group.table.owners, group.hops[i])},
                               {"state", hop_state(s, key[i].first)}});
        }
        by_id[group.id] = {{"id", group.id}, {"buckets", group.table.owners.size()}, {"members", std::move(members)}};
    }
    json result = json::array();
    for (auto& [id, row] : by_id) {
        result.push_back(std::move(row));
    }
    return result;
}

json show_routes(const StatusSources& s) {
    json result = json::array();
    const Plan& plan = s.failover->current_plan();
    for (const auto& [prefix, route] : plan.fib.sorted()) {
        result.push_back({{"prefix", prefix.text()},
                          {"kind", kind_text(route.kind())},
                          {"via", route_via(s, route)},
                          {"encrypt", route.must_encrypt()},
                          {"note", ""}});
    }
    for (const RefusedRoute& refused : plan.refused) {
        result.push_back({{"prefix", refused.prefix.text()},
                          {"kind", "drop"},
                          {"via", json::array({"dev " + refused.netdev})},
                          {"encrypt", false},
                          {"note", "not used: " + refused.why}});
    }
    return result;
}

json show_neighbours(const StatusSources& s) {
    json result = json::array();
    const World& world = s.failover->world();
    for (const netlink::NeighbourEvent& n : world.kernel.neighbours) {
        const auto link = std::ranges::find(world.kernel.links, n.ifindex, &netlink::LinkEvent::ifindex);
        const auto is_leg = [&](const LegConfig& leg) {
            return link != world.kernel.links.end() && leg.netdev == link->name;
        };
        if (std::ranges::none_of(world.config.legs, is_leg)) {
            continue;  // that of a netdev behind a port, which Linux does not use
        }
        result.push_back({{"address", n.address.text()},
                          {"netdev", link->name},
                          {"mac", n.usable ? json(mac_text(n.mac)) : json{}},
                          {"state", n.usable ? neighbour_state(n.state) : "incomplete"}});
    }
    return result;
}

}  // namespace twinspan
