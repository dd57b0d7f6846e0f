// What the route to one prefix means, and which layer of the FIB has the word on it.
#include "control/model/planner.hpp"
#include "control/model/policy.hpp"
#include "control/model/route_layers.hpp"
#include "control/model/topology.hpp"

#include <algorithm>

namespace twinspan {
namespace {

using netlink::RouteType;

// Enough to see what is wrong; a peer may announce a million of them.
constexpr std::size_t kMostRefused = 4096;

bool is_discard(RouteType type) noexcept {
    return type == RouteType::blackhole || type == RouteType::unreachable || type == RouteType::prohibit;
}

// A route for every packet to its prefix, which is all that a FIB of destinations can hold.
bool is_plain(const netlink::RouteEvent& route) noexcept {
    return route.table == netlink::kTableMain && route.tos == 0 && route.source_length == 0 && !route.cached &&
           !route.encapsulated && !route.deleted;
}

}  // namespace

// Brings the FIB's entry of a prefix up to date.
void Planner::settle(const IpPrefix& prefix) {
    std::vector<RefusedRoute> refused;
    const Way way = way_of(prefix, &refused);
    note_refused(prefix, std::move(refused));
    const std::optional<RouteResult> before = plan_.fib.find(prefix);
    const std::optional<RouteResult> now = result(prefix, way);
    if (now == before) {
        return;
    }
    touched_.emplace_back(prefix, before);
    if (now) {
        if (now->kind() == RouteKind::forward) {
            plan_.groups.hold(now->index());
        }
        plan_.fib.insert_or_assign(prefix, *now);
    } else {
        plan_.fib.erase(prefix);
    }
    if (before && before->kind() == RouteKind::forward) {
        plan_.groups.let_go(before->index());
    }
}

void Planner::settle_all() {
    std::vector<IpPrefix> gone;
    const auto note = [&](const IpPrefix& prefix) {
        if (!route(prefix)) {
            gone.push_back(prefix);
        }
    };
    plan_.fib.for_each([&](const IpPrefix& prefix, RouteResult) { note(prefix); });
    std::ranges::for_each(plan_.refused, note, &RefusedRoute::prefix);
    std::ranges::for_each(gone, [&](const IpPrefix& prefix) { settle(prefix); });
    if (world_.routes != nullptr) {
        world_.routes->for_each_prefix([&](const IpPrefix& prefix) { settle(prefix.network()); });
    }
}

std::optional<RouteResult> Planner::result(const IpPrefix& prefix, const Way& way) {
    return std::ranges::find(encrypt_, prefix) == encrypt_.end() ? below_guard(prefix, way) : guard(prefix, way);
}

std::optional<RouteResult> Planner::below_guard(const IpPrefix& prefix, const Way& way) {
    if (const auto own = own_.find(prefix); own != own_.end()) {
        return own->second;
    }
    if (const auto host = hosts_.find(prefix); host != hosts_.end()) {
        return forward(prefix, {{HopKey{host->second, kNone, prefix.address}, 1}});
    }
    if (auto route = of_route(prefix, way)) {
        return route;
    }
    const auto subnet = connected_.find(prefix);
    return subnet == connected_.end()
               ? std::nullopt
               : std::optional(RouteResult{RouteKind::connected, subnet->second, must_encrypt(prefix)});
}

std::optional<RouteResult> Planner::of_route(const IpPrefix& prefix, const Way& way) {
    switch (way.kind) {
        case Way::Kind::none:
            return std::nullopt;
        case Way::Kind::drop:
            return RouteResult::dropped(Drop::route_blackhole, must_encrypt(prefix));
        case Way::Kind::on_link:
            return RouteResult{RouteKind::connected, way.leg, must_encrypt(prefix)};
        case Way::Kind::hops:
            return forward(prefix, way.key);
    }
    return std::nullopt;
}

// Every encrypted prefix has an entry of its own that leads into tunnels or nowhere, so that no shorter route,
// present or future, carries it in clear.
std::optional<RouteResult> Planner::guard(const IpPrefix& prefix, const Way& way) {
    const RouteResult closed = RouteResult::dropped(Drop::tunnel_down, true);
    for (int length = prefix.length; length >= 0; --length) {
        const IpPrefix around = IpPrefix{prefix.address, static_cast<std::uint8_t>(length)}.network();
        const bool itself = length == prefix.length;
        const auto match = below_guard(around, itself ? way : way_of(around));
        if (!match) {
            continue;
        }
        if (match->kind() == RouteKind::local || match->kind() == RouteKind::pool) {
            return itself ? match : std::nullopt;
        }
        if (itself && match->kind() == RouteKind::drop) {
            return match;
        }
        const GroupKey* key = match->kind() == RouteKind::forward ? plan_.groups.key_of(match->index()) : nullptr;
        return key != nullptr && !tunnels_only(*key).empty() ? forward(prefix, GroupKey{*key}) : closed;
    }
    return closed;
}

Planner::Way Planner::way_of(const IpPrefix& prefix, std::vector<RefusedRoute>* refused) const {
    const std::optional<netlink::RouteEvent> found = route(prefix);
    if (!found || !is_plain(*found) || is_for_us_by_nature(prefix)) {
        return {};
    }
    if (is_discard(found->type)) {
        return {Way::Kind::drop, kNone, {}};
    }
    if (found->type != RouteType::unicast) {
        return {};
    }
    Way way;
    way.key = usable_hops(*found, prefix, way.leg, refused);
    way.kind = !way.key.empty() ? Way::Kind::hops : way.leg != kNone ? Way::Kind::on_link : Way::Kind::none;
    return way;
}

GroupKey Planner::usable_hops(const netlink::RouteEvent& route, const IpPrefix& prefix, std::uint16_t& on_link,
                              std::vector<RefusedRoute>* refused) const {
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
            if (refused != nullptr) {
                refused->push_back({prefix, leg.netdev, std::move(why)});
            }
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
// so that a clear route to it, refused as before, does not draw it into a tunnel on the internet. What public and
// Microsoft peering carry in clear is for hosts that no tunnel leads to.
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
        if (over(true) || (!encrypt && over(false) && !carries_public_addresses_only(fallback.zone))) {
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

// A new group starts from the buckets of the one that the prefix had.
RouteResult Planner::forward(const IpPrefix& prefix, const GroupKey& key) {
    const bool encrypt = must_encrypt(prefix);
    const GroupKey tunnels = encrypt ? tunnels_only(key) : GroupKey{};
    const GroupKey& used = tunnels.empty() ? key : tunnels;
    const std::optional<RouteResult> before = plan_.fib.find(prefix);
    const std::size_t groups = plan_.groups.groups().size();
    const std::uint32_t group = plan_.groups.use(
        used, before && before->kind() == RouteKind::forward ? std::optional(before->index()) : std::nullopt);
    if (plan_.groups.groups().size() != groups) {
        changes_.hops = true;
        if (!all_egresses_due_) {
            add_group_egresses(used);
        }
    }
    return {RouteKind::forward, group, encrypt};
}

void Planner::note_refused(const IpPrefix& prefix, std::vector<RefusedRoute> refused) {
    if (refused.empty() && plan_.refused.empty()) {
        return;
    }
    const auto known = std::ranges::equal_range(plan_.refused, prefix, {}, &RefusedRoute::prefix);
    std::ranges::sort(refused);
    if (std::ranges::equal(known, refused)) {
        return;
    }
    const auto place = plan_.refused.erase(known.begin(), known.end());
    if (plan_.refused.size() < kMostRefused) {
        plan_.refused.insert(place, refused.begin(), refused.end());
    }
    std::ranges::move(refused, std::back_inserter(changes_.refused));
}

bool Planner::must_encrypt(const IpPrefix& prefix) const noexcept {
    return std::ranges::any_of(encrypt_, [&](const IpPrefix& e) { return e.contains(prefix); });
}

bool Planner::is_own_network(const IpPrefix& prefix) const noexcept { return connected_.contains(prefix); }

}  // namespace twinspan
