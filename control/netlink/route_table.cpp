#include "control/netlink/route_table.hpp"

#include <algorithm>
#include <optional>
#include <utility>

namespace twinspan::netlink {

namespace {

// The order in which Linux looks: rule 0 reads the table local, a later rule the table main; then by metric.
constexpr std::pair<bool, std::uint32_t> rank(std::uint32_t table, std::uint32_t metric) noexcept {
    return {table != kTableLocal, metric};
}

std::ranges::subrange<std::vector<Route>::iterator> same_key(std::vector<Route>& routes, std::uint32_t table,
                                                             std::uint32_t metric) {
    return std::ranges::equal_range(routes, rank(table, metric), {},
                                    [](const Route& r) { return rank(r.table, r.metric); });
}

Route stored(const RouteEvent& event) {
    Route route{event.table, event.metric, event.nexthop_id, event.type, event.protocol, true, event.nexthops};
    for (NextHop& hop : route.nexthops) {
        hop.linkdown = false;
        hop.dead = false;
    }
    std::ranges::sort(route.nexthops);
    return route;
}

// IPv6 routes of one key with a gateway each are one multipath route (the kernel calls them siblings).
bool is_sibling(const IpPrefix& prefix, const Route& route) noexcept {
    return prefix.family() == IpFamily::v6 && route.type == RouteType::unicast && route.nexthop_id == 0 &&
           !route.nexthops.empty() &&
           std::ranges::all_of(route.nexthops, [](const NextHop& hop) { return hop.gateway.has_value(); });
}

// The two are one route to the kernel: it would refuse to hold both.
bool same_entry(const Route& a, const Route& b) noexcept {
    if (a.type != b.type || a.nexthop_id != b.nexthop_id) {
        return false;
    }
    return a.nexthop_id != 0 || a.nexthops == b.nexthops;
}

bool same_way(const NextHop& a, const NextHop& b) noexcept { return a.ifindex == b.ifindex && a.gateway == b.gateway; }

// Adds or updates hops; true when that changed anything.
bool unite(std::vector<NextHop>& into, const std::vector<NextHop>& from) {
    bool changed = false;
    for (const NextHop& hop : from) {
        const auto known = std::ranges::find_if(into, [&](const NextHop& h) { return same_way(h, hop); });
        if (known == into.end()) {
            into.push_back(hop);
            changed = true;
        } else if (*known != hop) {
            *known = hop;
            changed = true;
        }
    }
    std::ranges::sort(into);
    return changed;
}

}  // namespace

void RouteTable::apply(const RouteEvent& event, Changed& changed) {
    if (sweeps(event.prefix.family())) {
        events_[Key{event.prefix, event.table, event.metric}].push_back(event);
    }
    event.deleted ? remove(event, changed) : add(event, changed);
}

void RouteTable::apply_dumped(const RouteEvent& event, Changed& changed) {
    add_dumped(event, changed);
    if (const auto meanwhile = events_.find(Key{event.prefix, event.table, event.metric}); meanwhile != events_.end()) {
        replay(meanwhile->second, changed);
    }
}

void RouteTable::replay(const std::vector<RouteEvent>& events, Changed& changed) {
    for (const RouteEvent& event : events) {
        event.deleted ? remove(event, changed) : add(event, changed);
    }
}

// Which of the routes of its key, one at least, `route` takes the place of; the end of the key's range when of none.
RouteTable::Routes::iterator RouteTable::replaced_by(Routes& all, const IpPrefix& prefix, const Route& route,
                                                     bool may_be_old) {
    auto range = same_key(all, route.table, route.metric);
    uncertain_ |= may_be_old && std::next(range.begin()) != range.end();
    if (prefix.family() == IpFamily::v4) {
        // The first. A dump may have shown the new one already, behind what an older event brought back.
        const auto again =
            std::find_if(std::next(range.begin()), range.end(), [&](const Route& r) { return same_entry(r, route); });
        if (again != range.end()) {
            const auto place = range.begin() - all.begin();
            all.erase(again);
            --count_;
            return all.begin() + place;
        }
        return range.begin();
    }
    // One of its own kind (siblings or not) if there is one, else the first: unless the event may be older than what
    // the dump has shown, for then the one it replaced may be gone.
    const bool sibling = is_sibling(prefix, route);
    const auto own_kind = std::ranges::find_if(range, [&](const Route& r) { return is_sibling(prefix, r) == sibling; });
    return own_kind == range.end() && !may_be_old ? range.begin() : own_kind;
}

void RouteTable::add(const RouteEvent& event, Changed& changed) {
    Routes& all = routes_[event.prefix];
    Route route = stored(event);
    route.confirmed = !sweeps(event.prefix.family());  // only a dump confirms
    auto range = same_key(all, event.table, event.metric);
    const bool sibling = is_sibling(event.prefix, route);

    auto target = std::ranges::find_if(range, [&](const Route& r) { return same_entry(r, route); });
    if (event.placement == RoutePlacement::replace && route.nexthop_id == 0 && !range.empty()) {
        target = replaced_by(all, event.prefix, route, sweeps(event.prefix.family()));
    } else if (target == range.end() && sibling) {
        // The kernel says all siblings at once; old kernels said each on its own. The union is right for both.
        target = std::ranges::find_if(range, [&](const Route& r) { return is_sibling(event.prefix, r); });
        if (target != range.end()) {
            if (unite(target->nexthops, route.nexthops)) {
                changed.push_back(event.prefix);
            }
            return;
        }
    }
    range = same_key(all, event.table, event.metric);
    if (target != range.end()) {
        if (!target->same_as(route)) {
            changed.push_back(event.prefix);
        }
        route.confirmed = target->confirmed;
        *target = std::move(route);
        return;
    }
    // IPv4 puts a route in front of its equals unless told to append; IPv6 always appends.
    const bool front = event.prefix.family() == IpFamily::v4 && event.placement != RoutePlacement::append;
    all.insert(front ? range.begin() : range.end(), std::move(route));
    ++count_;
    changed.push_back(event.prefix);
}

void RouteTable::add_dumped(const RouteEvent& event, Changed& changed) {
    Routes& all = routes_[event.prefix];
    Route route = stored(event);
    const auto range = same_key(all, event.table, event.metric);
    const bool sibling = is_sibling(event.prefix, route);
    const auto known = std::ranges::find_if(
        range, [&](const Route& r) { return same_entry(r, route) || (sibling && is_sibling(event.prefix, r)); });
    if (known == range.end()) {
        // A dump comes in the kernel's order: after what it has shown, before what it has not (yet).
        all.insert(std::ranges::find_if_not(range, &Route::confirmed), std::move(route));
        ++count_;
        changed.push_back(event.prefix);
        return;
    }
    if (sibling && known->confirmed) {
        if (unite(known->nexthops, route.nexthops)) {
            changed.push_back(event.prefix);
        }
        return;
    }
    const bool same = known->same_as(route);
    const bool was_confirmed = known->confirmed;
    *known = std::move(route);
    bool moved = false;
    if (!was_confirmed) {
        const auto place = std::find_if(range.begin(), known, [](const Route& r) { return !r.confirmed; });
        moved = place != known;
        std::rotate(place, known, std::next(known));
    }
    if (!same || moved) {
        changed.push_back(event.prefix);
    }
}

void RouteTable::remove(const RouteEvent& event, Changed& changed) {
    const auto found = routes_.find(event.prefix);
    if (found == routes_.end()) {
        return;
    }
    const Route route = stored(event);
    const auto range = same_key(found->second, event.table, event.metric);
    auto target = std::ranges::find_if(range, [&](const Route& r) { return same_entry(r, route); });
    if (target == range.end() && is_sibling(event.prefix, route)) {
        // One sibling of several, or all of them in one message.
        target = std::ranges::find_if(range, [&](const Route& r) { return is_sibling(event.prefix, r); });
        if (target != range.end()) {
            const std::size_t removed = std::erase_if(target->nexthops, [&](const NextHop& hop) {
                return std::ranges::any_of(route.nexthops, [&](const NextHop& gone) { return same_way(hop, gone); });
            });
            if (removed != 0) {
                changed.push_back(event.prefix);
            }
            if (!target->nexthops.empty()) {
                return;
            }
        }
    } else if (target != range.end()) {
        changed.push_back(event.prefix);
    }
    if (target != range.end()) {
        found->second.erase(target);
        --count_;
    }
    if (found->second.empty()) {
        routes_.erase(found);
    }
}

void RouteTable::begin_resync(Families families) {
    // What was logged in a resync that never ended holds no longer: its dump starts anew, after those events.
    events_.clear();
    uncertain_ = false;
    resync_families_ = families;
    resyncing_ = true;
    for (auto& [prefix, routes] : routes_) {
        const bool swept = has(families, prefix.family());
        for (Route& route : routes) {
            route.confirmed = !swept;
        }
    }
}

bool RouteTable::end_resync(Changed& changed) {
    remove_if(Families::both, [](const Route& route) { return !route.confirmed; }, changed);
    for (const auto& [key, events] : events_) {
        replay(events, changed);
    }
    events_.clear();
    resyncing_ = false;
    return std::exchange(uncertain_, false);
}

void RouteTable::remove_if(Families families, const std::function<bool(const Route&)>& gone, Changed& changed) {
    for (auto it = routes_.begin(); it != routes_.end();) {
        auto& [prefix, routes] = *it;
        if (!has(families, prefix.family())) {
            ++it;
            continue;
        }
        if (const std::size_t removed = std::erase_if(routes, gone); removed != 0) {
            count_ -= removed;
            changed.push_back(prefix);
        }
        it = routes.empty() ? routes_.erase(it) : std::next(it);
    }
}

std::span<const Route> RouteTable::routes(const IpPrefix& prefix) const {
    const auto found = routes_.find(prefix);
    return found == routes_.end() ? std::span<const Route>{} : std::span<const Route>(found->second);
}

}  // namespace twinspan::netlink
