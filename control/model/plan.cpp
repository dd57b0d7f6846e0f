// What a plan reads of the world beside routes, and how its layers come to one table. See route_plan.cpp for the
// routes.
#include "control/model/planner.hpp"
#include "control/model/policy.hpp"
#include "control/model/route_layers.hpp"
#include "control/model/topology.hpp"

#include <algorithm>
#include <bit>

namespace twinspan {
namespace {

// Each neighbour has a group, and each group at least one egress; the rest is for gateways, tunnels and drops.
constexpr std::size_t kMaxGroupsWithNeighbours = Planner::kMaxEgresses - 1024;

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

Planner::Planner(const World& world) : world_(world) { read_configuration(); }

void Planner::read_configuration() {
    encrypt_ = encrypt_prefixes(world_.config);
    connected_.clear();
    for (std::uint16_t leg = 0; leg < world_.config.legs.size(); ++leg) {
        for (const IpPrefix& address : addresses_of(world_.config.legs[leg])) {
            connected_.insert_or_assign(address.network(), leg);
        }
    }
}

PlanChanges Planner::compile() {
    begin();
    all_egresses_due_ = true;
    read_world();
    settle_all();
    find_hosts();
    make_egresses();
    return finish();
}

PlanChanges Planner::refresh() {
    begin();
    all_egresses_due_ = true;
    if (read_world()) {
        settle_all();
    }
    find_hosts();
    make_egresses();
    return finish();
}

PlanChanges Planner::update(std::span<const IpPrefix> changed) {
    begin();
    bool depends = false;
    for (const IpPrefix& prefix : changed) {
        settle(prefix);
        depends = depends || others_depend_on(prefix);
    }
    // Egresses of groups that have gone stay until the next time that all are made.
    if (depends || plan_.base.egresses.size() > kMaxEgresses / 2) {
        find_hosts();
        make_egresses();
    }
    return finish();
}

void Planner::begin() {
    for (const GroupKey& key : plan_.groups.retire()) {
        plan_.fallback.erase(key);
    }
}

// A prefix that was settled twice is told once; in order, for neighbours in the table are neighbours in memory.
PlanChanges Planner::finish() {
    std::ranges::stable_sort(touched_, {}, [](const auto& touched) -> const IpPrefix& { return touched.first; });
    const auto [end, rest] =
        std::ranges::unique(touched_, {}, [](const auto& touched) -> const IpPrefix& { return touched.first; });
    touched_.erase(end, rest);
    for (const auto& [prefix, before] : touched_) {
        const std::optional<RouteResult> now = plan_.fib.find(prefix);
        if (now && now != before) {
            changes_.fib.insert.emplace_back(prefix, *now);
        } else if (!now && before) {
            changes_.fib.erase.push_back(prefix);
        }
    }
    touched_ = {};
    if (changes_.hops) {
        std::ranges::sort(plan_.wanted);
        const auto twice = std::ranges::unique(plan_.wanted);
        plan_.wanted.erase(twice.begin(), twice.end());
    }
    return std::exchange(changes_, {});
}

// True: netdevs have come or gone.
bool Planner::read_world() {
    Snapshot base;
    base.fib4 = world_.fib4;
    base.fib6 = world_.fib6;
    base.legs = make_legs(world_);
    base.ports = make_ports(world_, base.legs);
    base.pools = make_pools(world_.config);
    base.has_nat_options = std::ranges::any_of(base.pools, &NatPool::has_options);
    base.tunnels = make_tunnels(world_, base.legs);
    base.dscp_maps = make_dscp_maps(world_.config);
    base.may_send = may_send_matrix();
    for (const NetdevPlan& netdev : netdev_plan(world_.config)) {
        base.netdevs.push_back(netdev.target);
    }
    plan_.base = std::move(base);
    const bool other_netdevs = index_kernel();
    find_own();
    return other_netdevs;
}

bool Planner::index_kernel() {
    std::unordered_map<std::string, Netdev> by_name;
    for (const NetdevPlan& netdev : all_netdevs(world_.config)) {
        by_name.emplace(netdev.name, netdev.target);
    }
    const auto before = std::exchange(netdevs_, {});
    for (const netlink::LinkEvent& link : world_.kernel.links) {
        if (const auto it = by_name.find(link.name); it != by_name.end()) {
            netdevs_.emplace(link.ifindex, it->second);
        }
    }
    neighbours_.clear();
    points_.clear();
    for (const netlink::NeighbourEvent& n : world_.kernel.neighbours) {
        const auto it = netdevs_.find(n.ifindex);
        if (it != netdevs_.end() && !it->second.is_tunnel && n.usable) {
            neighbours_[{it->second.index, n.address}] = n.mac;
            points_.insert(n.address);
        }
    }
    for (const IpPrefix& prefix : encrypt_) {
        points_.insert(prefix.address);
    }
    for (std::size_t i = 0; i < world_.config.tunnels.size(); ++i) {
        points_.insert(remote_of(world_.config.tunnels[i], world_.sas[i]));
    }
    return !std::ranges::is_permutation(netdevs_, before, [](const auto& a, const auto& b) {
        return a.first == b.first && a.second.is_tunnel == b.second.is_tunnel && a.second.index == b.second.index;
    });
}

void Planner::find_own() {
    const RouteResult local{RouteKind::local, 0};
    const auto before = std::exchange(own_, {});
    const auto add = [&](const IpPrefix& address) {
        own_.insert_or_assign(IpPrefix::host(address.address), local);
        if (address.family() == IpFamily::v4 && address.length < 31) {  // the subnet's broadcast address
            const std::uint32_t broadcast = address.address.v4().host() | ~mask4(address.length);
            own_.insert_or_assign(IpPrefix::host(IpAddress::from(to_be32(broadcast))), local);
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
    for (std::uint16_t number = 0; number < world_.config.pools.size(); ++number) {
        const PoolConfig& pool = world_.config.pools[number];
        for (const auto* ranges : {&pool.ranges, &pool.draining, &pool.from_microsoft}) {
            for (const Ipv4Range range : *ranges) {
                for (const IpPrefix& prefix : pool_prefixes(range)) {
                    own_.insert_or_assign(prefix, RouteResult{RouteKind::pool, number});
                }
            }
        }
    }
    for (const IpPrefix& prefix :
         {IpPrefix{{IpFamily::v4, {224}}, 4}, IpPrefix{{IpFamily::v4, {255, 255, 255, 255}}, 32},
          IpPrefix{{IpFamily::v6, {0xff}}, 8}, IpPrefix{{IpFamily::v6, {0xfe, 0x80}}, 10}}) {
        own_.insert_or_assign(prefix, local);
    }
    for (const auto& [prefix, result] : before) {
        if (!own_.contains(prefix)) {
            settle(prefix);
        }
    }
    for (const auto& [prefix, result] : own_) {
        settle(prefix);
    }
}

// A neighbour gets an entry where Linux would send to it directly. Then all that hangs on routes, hosts and our own is
// settled again: subnets and guards.
void Planner::find_hosts() {
    const auto before = std::exchange(hosts_, {});
    const std::size_t other_groups =
        plan_.groups.groups().size() - std::min(plan_.groups.groups().size(), before.size());
    for (const auto& [where, mac] : neighbours_) {
        const auto& [leg, address] = where;
        const IpPrefix host = IpPrefix::host(address);
        if (is_for_us_by_nature(host) || hosts_.contains(host)) {
            continue;
        }
        if (other_groups + hosts_.size() >= kMaxGroupsWithNeighbours) {
            break;  // Linux forwards to those that find no room
        }
        for (int length = host.length; length >= 0; --length) {
            const IpPrefix around = IpPrefix{address, static_cast<std::uint8_t>(length)}.network();
            const Way way = way_of(around);
            const auto subnet = way.kind == Way::Kind::none ? connected_.find(around) : connected_.end();
            if (subnet == connected_.end() && way.kind == Way::Kind::none) {
                continue;
            }
            const std::uint16_t on_link = subnet != connected_.end()       ? subnet->second
                                          : way.kind == Way::Kind::on_link ? way.leg
                                                                           : kNone;
            if (on_link == leg) {
                hosts_.emplace(host, leg);
            }
            break;
        }
    }
    for (const auto& [host, leg] : before) {
        const auto now = hosts_.find(host);
        if (now == hosts_.end() || now->second != leg) {
            settle(host);
        }
    }
    for (const auto& [host, leg] : hosts_) {
        const auto then = before.find(host);
        if (then == before.end() || then->second != leg) {
            settle(host);
        }
    }
    for (const auto& [subnet, leg] : connected_) {
        settle(subnet);
    }
    for (const IpPrefix& prefix : encrypt_) {
        settle(prefix);
    }
}

// All of them anew, numbered from zero: an egress means something within one snapshot only.
void Planner::make_egresses() {
    plan_.base.egresses.clear();
    plan_.egress_of.clear();
    plan_.fallback.clear();
    plan_.paths.clear();
    plan_.wanted.clear();
    drops_.clear();
    outer_egresses_.clear();
    drop_egress(Drop::no_route, Zone::self);  // egress 0, for group numbers that no group has
    find_default_gateways();
    add_tunnel_paths();
    for (const auto& [key, group] : plan_.groups.groups()) {
        const std::size_t wanted = plan_.wanted.size();
        add_group_egresses(key);
        if (group.routes == 0) {  // packets may still name it, but its neighbours need not be asked for
            plan_.wanted.erase(plan_.wanted.begin() + static_cast<std::ptrdiff_t>(wanted), plan_.wanted.end());
        }
    }
    all_egresses_due_ = false;
    changes_.hops = true;
}

void Planner::add_group_egresses(const GroupKey& key) {
    for (const auto& [hop, weight] : key) {
        egress_for(hop);
    }
    const auto leg_hop = std::ranges::find_if(key, [](const auto& hop) { return !hop.first.is_tunnel(); });
    plan_.fallback[key] = leg_hop == key.end() ? drop_egress(Drop::tunnel_down, Zone::tunnel)
                                               : drop_egress(Drop::link_down, plan_.base.legs[leg_hop->first.leg].zone);
}

// Whether more than the prefix itself hangs on its routes.
bool Planner::others_depend_on(const IpPrefix& prefix) const {
    const auto point = points_.lower_bound(prefix.address);
    if (prefix.length == 0) {  // fallbacks follow the default gateways
        return true;
    }
    if (point != points_.end() && prefix.contains(*point)) {
        return true;
    }
    return connected_.contains(prefix);
}

}  // namespace twinspan
