#include "control/model/compile.hpp"
#include "control/model/planner.hpp"
#include "control/model/policy.hpp"
#include "control/model/topology.hpp"

#include <algorithm>
#include <bit>

namespace twinspan {
namespace {

using netlink::RouteType;

// Each neighbour has a group, and each group at least one egress; the rest is for gateways, tunnels and drops.
constexpr std::size_t kMaxGroupsWithNeighbours = Planner::kMaxEgresses - 1024;

bool is_for_us_by_nature(const IpPrefix& prefix) noexcept {
    static constexpr IpPrefix kMulticast4{{IpFamily::v4, {224}}, 4};
    static constexpr IpPrefix kMulticast6{{IpFamily::v6, {0xff}}, 8};
    static constexpr IpPrefix kLinkLocal6{{IpFamily::v6, {0xfe, 0x80}}, 10};
    return kMulticast4.contains(prefix) || kMulticast6.contains(prefix) || kLinkLocal6.contains(prefix);
}

bool is_discard(RouteType type) noexcept {
    return type == RouteType::blackhole || type == RouteType::unreachable || type == RouteType::prohibit;
}

// A route for every packet to its prefix, which is all that a FIB of destinations can hold.
bool is_plain(const netlink::RouteEvent& route) noexcept {
    return route.table == netlink::kTableMain && route.tos == 0 && route.source_length == 0 && !route.cached &&
           !route.encapsulated && !route.deleted;
}

// The fewest prefixes that make up a range.
std::vector<IpPrefix> pool_prefixes(Ipv4Range range) {
    std::vector<IpPrefix> result;
    std::uint64_t first = range.first.host();
    const std::uint64_t end = std::uint64_t{range.last.host()} + 1;
    while (first < end) {
        unsigned bits = first == 0 ? 32 : static_cast<unsigned>(std::countr_zero(first));
        while ((std::uint64_t{1} << bits) > end - first) {
            --bits;
        }
        result.push_back(
            {IpAddress::from(to_be32(static_cast<std::uint32_t>(first))), static_cast<std::uint8_t>(32 - bits)});
        first += std::uint64_t{1} << bits;
    }
    return result;
}

}  // namespace

Planner::Planner(const World& world, const Plan* previous)
    : world_(world),
      previous_(previous),
      encrypt_(encrypt_prefixes(world.config)),
      leg_routes_(world.config.legs.size()) {
    Snapshot& base = plan_.base;
    base.fib4 = world.fib4;
    base.fib6 = world.fib6;
    base.legs = make_legs(world);
    base.ports = make_ports(world, base.legs);
    base.pools = make_pools(world.config);
    base.tunnels = make_tunnels(world, base.legs);
    base.may_send = may_send_matrix();
    for (const NetdevPlan& netdev : netdev_plan(world.config)) {
        base.netdevs.push_back(netdev.target);
    }
    if (previous != nullptr) {
        plan_.groups = GroupSet::after(previous->groups);
    }
}

Plan Planner::run() && {
    drop_egress(Drop::no_route, Zone::self);  // egress 0, for group numbers that no group has
    index_kernel();
    index_leg_routes();
    add_connected();
    for (const netlink::RouteEvent& route : world_.kernel.routes) {
        add_route(route);
    }
    add_neighbours();
    add_own();
    add_encrypt();
    add_tunnel_paths();
    for (auto& [key, group] : plan_.groups.groups()) {
        for (const auto& [hop, weight] : key) {
            egress_for(hop);  // also those of groups on their way out, which packets may still name
        }
        const auto leg_hop = std::ranges::find_if(key, [](const auto& hop) { return !hop.first.is_tunnel(); });
        plan_.fallback[key] = leg_hop == key.end()
                                  ? drop_egress(Drop::tunnel_down, Zone::tunnel)
                                  : drop_egress(Drop::link_down, plan_.base.legs[leg_hop->first.leg].zone);
    }
    std::ranges::sort(plan_.refused);
    std::ranges::sort(plan_.wanted);
    const auto twice = std::ranges::unique(plan_.wanted);
    plan_.wanted.erase(twice.begin(), twice.end());
    return std::move(plan_);
}

void Planner::index_kernel() {
    std::unordered_map<std::string, Netdev> by_name;
    for (const NetdevPlan& netdev : all_netdevs(world_.config)) {
        by_name.emplace(netdev.name, netdev.target);
    }
    for (const netlink::LinkEvent& link : world_.kernel.links) {
        if (const auto it = by_name.find(link.name); it != by_name.end()) {
            netdevs_.emplace(link.ifindex, it->second);
        }
    }
    for (const netlink::NeighbourEvent& n : world_.kernel.neighbours) {
        const auto it = netdevs_.find(n.ifindex);
        if (it != netdevs_.end() && !it->second.is_tunnel && n.usable) {
            neighbours_[{it->second.index, n.address}] = n.mac;
        }
    }
}

void Planner::add_connected() {
    for (std::uint16_t leg = 0; leg < world_.config.legs.size(); ++leg) {
        for (const IpPrefix& address : addresses_of(world_.config.legs[leg])) {
            const IpPrefix network = address.network();
            plan_.fib.insert_or_assign(network, RouteResult{RouteKind::connected, leg, must_encrypt(network)});
        }
    }
}

void Planner::add_route(const netlink::RouteEvent& route) {
    const IpPrefix prefix = route.prefix.network();
    if (!is_plain(route) || is_for_us_by_nature(prefix)) {
        return;
    }
    if (is_discard(route.type)) {
        drop_route(prefix, Drop::route_blackhole);
        return;
    }
    if (route.type != RouteType::unicast) {
        return;
    }
    std::uint16_t on_link = kNone;
    const GroupKey key = usable_hops(route, prefix, on_link);
    if (!key.empty()) {
        forward(prefix, key);
    } else if (on_link != kNone) {
        plan_.fib.insert_or_assign(prefix, RouteResult{RouteKind::connected, on_link, must_encrypt(prefix)});
    }
}

GroupKey Planner::usable_hops(const netlink::RouteEvent& route, const IpPrefix& prefix, std::uint16_t& on_link) {
    GroupKey hops;
    for (const netlink::NextHop& hop : route.nexthops) {
        const auto it = netdevs_.find(hop.ifindex);
        if (it == netdevs_.end()) {
            continue;
        }
        const Netdev& target = it->second;
        if (target.is_tunnel) {
            hops.emplace_back(HopKey{kNone, target.index, {}}, hop.weight);
            continue;
        }
        const LegConfig& leg = world_.config.legs[target.index];
        if (std::string why = refusal(world_.config, leg.zone, prefix); !why.empty() && !is_own_network(prefix)) {
            plan_.refused.push_back({prefix, leg.netdev, std::move(why)});
        } else if (hop.gateway) {
            hops.emplace_back(HopKey{target.index, kNone, *hop.gateway}, hop.weight);
        } else {
            on_link = target.index;
        }
    }
    add_fallback(hops, prefix);
    return make_group_key(std::move(hops));
}

// A tunnel counts as being on the peering of its leg. What must be encrypted takes the fallback of its tunnels alone,
// so that a clear route to it, refused as before, does not draw it into a tunnel on the internet.
void Planner::add_fallback(GroupKey& hops, const IpPrefix& prefix) const {
    const bool encrypt = must_encrypt(prefix);
    GroupKey more;
    for (const FallbackConfig& fallback : world_.config.fallback) {
        const auto over = [&](bool tunnels) {
            return std::ranges::any_of(hops, [&](const auto& hop) {
                const std::size_t leg =
                    hop.first.is_tunnel() ? world_.config.tunnels[hop.first.tunnel].leg : hop.first.leg;
                return hop.first.is_tunnel() == tunnels && world_.config.legs[leg].zone == fallback.zone;
            });
        };
        if (over(true) || (!encrypt && over(false))) {
            for (const std::size_t tunnel : fallback.tunnels) {
                const HopKey hop{kNone, static_cast<std::uint16_t>(tunnel), {}};
                if (std::ranges::none_of(hops, [&](const auto& own) { return own.first == hop; })) {
                    more.emplace_back(HopKey{hop.leg, hop.tunnel, hop.gateway, 1}, 1);
                }
            }
        }
        // Translation is of IPv4 alone.
        if (fallback.internet && !encrypt && prefix.family() == IpFamily::v4 && over(false) &&
            pool_of(world_.config, Zone::internet) != kNone && refusal(world_.config, Zone::internet, prefix).empty()) {
            for (std::uint16_t leg = 0; leg < world_.config.legs.size(); ++leg) {
                if (world_.config.legs[leg].zone == Zone::internet) {
                    more.emplace_back(HopKey{leg, kNone, {}, 1}, 1);
                }
            }
        }
    }
    hops.insert(hops.end(), more.begin(), more.end());
}

void Planner::add_neighbours() {
    for (const auto& [where, mac] : neighbours_) {
        const IpPrefix host = IpPrefix::host(where.second);
        const auto match = longest_match(plan_.fib, host);
        if (is_for_us_by_nature(host) || !match || plan_.groups.groups().size() >= kMaxGroupsWithNeighbours) {
            continue;  // Linux forwards to those that find no room
        }
        if (match->second.kind() == RouteKind::connected && match->second.index() == where.first) {
            forward(host, {{HopKey{where.first, kNone, where.second}, 1}});
        }
    }
}

void Planner::add_own() {
    const RouteResult local{RouteKind::local, 0};
    const auto add = [&](const IpPrefix& address) {
        plan_.fib.insert_or_assign(IpPrefix::host(address.address), local);
        if (address.family() == IpFamily::v4 && address.length < 31) {  // the subnet's broadcast address
            const std::uint32_t broadcast = address.address.v4().host() | ~mask4(address.length);
            plan_.fib.insert_or_assign(IpPrefix::host(IpAddress::from(to_be32(broadcast))), local);
        }
    };
    for (const LegConfig& leg : world_.config.legs) {
        std::ranges::for_each(addresses_of(leg), add);
    }
    for (const netlink::AddressEvent& address : world_.kernel.addresses) {
        if (netdevs_.contains(address.ifindex)) {
            add(address.prefix);
        }
    }
    for (std::uint16_t pool = 0; pool < plan_.base.pools.size(); ++pool) {
        for (const Ipv4Range range : plan_.base.pools[pool].addresses) {
            for (const IpPrefix& prefix : pool_prefixes(range)) {
                plan_.fib.insert_or_assign(prefix, RouteResult{RouteKind::pool, pool});
            }
        }
    }
    for (const IpPrefix& prefix :
         {IpPrefix{{IpFamily::v4, {224}}, 4}, IpPrefix{{IpFamily::v4, {255, 255, 255, 255}}, 32},
          IpPrefix{{IpFamily::v6, {0xff}}, 8}, IpPrefix{{IpFamily::v6, {0xfe, 0x80}}, 10}}) {
        plan_.fib.insert_or_assign(prefix, local);
    }
}

// Every encrypted prefix has an entry of its own that leads into tunnels or nowhere, so that no shorter route,
// present or future, carries it in clear.
void Planner::add_encrypt() {
    for (const IpPrefix& prefix : encrypt_) {
        const auto match = longest_match(plan_.fib, prefix);
        if (match && (match->second.kind() == RouteKind::local || match->second.kind() == RouteKind::pool)) {
            continue;
        }
        const bool own_discard = match && match->first == prefix && match->second.kind() == RouteKind::drop;
        const GroupKey* key =
            match && match->second.kind() == RouteKind::forward ? plan_.groups.key_of(match->second.index()) : nullptr;
        if (key != nullptr && !tunnels_only(*key).empty()) {
            forward(prefix, GroupKey{*key});
        } else if (!own_discard) {
            drop_route(prefix, Drop::tunnel_down);
        }
    }
}

void Planner::forward(const IpPrefix& prefix, const GroupKey& key) {
    const bool encrypt = must_encrypt(prefix);
    const GroupKey tunnels = encrypt ? tunnels_only(key) : GroupKey{};
    std::optional<std::uint32_t> before;
    if (previous_ != nullptr) {
        const auto it = previous_->fib.find(prefix);
        if (it != previous_->fib.end() && it->second.kind() == RouteKind::forward) {
            before = it->second.index();
        }
    }
    const std::uint32_t group = plan_.groups.use(tunnels.empty() ? key : tunnels, before);
    plan_.fib.insert_or_assign(prefix, RouteResult{RouteKind::forward, group, encrypt});
}

void Planner::drop_route(const IpPrefix& prefix, Drop reason) {
    plan_.fib.insert_or_assign(prefix, RouteResult::dropped(reason, must_encrypt(prefix)));
}

bool Planner::must_encrypt(const IpPrefix& prefix) const noexcept {
    return std::ranges::any_of(encrypt_, [&](const IpPrefix& e) { return e.contains(prefix); });
}

bool Planner::is_own_network(const IpPrefix& prefix) const noexcept {
    return std::ranges::any_of(world_.config.legs, [&](const LegConfig& leg) {
        return std::ranges::any_of(addresses_of(leg), [&](const IpPrefix& a) { return a.network() == prefix; });
    });
}

Plan plan(const World& world, const Plan* previous) { return Planner(world, previous).run(); }

}  // namespace twinspan
