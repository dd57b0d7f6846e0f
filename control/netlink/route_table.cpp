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

// Who installed it is looked at too: a list says it.
bool same_list(std::span<const Route> a, std::span<const Route> b) noexcept {
    return std::ranges::equal(a, b,
                              [](const Route& x, const Route& y) { return x.same_as(y) && x.protocol == y.protocol; });
}

std::size_t hash_of(std::span<const Route> routes) noexcept {
    std::uint64_t h = routes.size();
    const auto mix = [&](std::uint64_t value) {
        h = (h ^ value) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    };
    for (const Route& route : routes) {
        mix(std::uint64_t{route.table} << 32 | route.metric);
        mix(std::uint64_t{route.nexthop_id} << 16 | static_cast<std::uint64_t>(route.type) << 8 | route.protocol);
        for (const NextHop& hop : route.nexthops) {
            mix(std::uint64_t{hop.ifindex} << 16 | hop.weight);
            if (hop.gateway) {
                mix(std::hash<IpAddress>{}(*hop.gateway));
            }
        }
    }
    return static_cast<std::size_t>(h);
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

RouteTable::Work RouteTable::load(const IpPrefix& prefix) const {
    Work work{prefix, {}, std::nullopt};
    if (const std::uint32_t* value = prefixes_.find(prefix)) {
        work.value = *value;
        work.routes = lists_[*value & kList].routes;
        const bool seen = (*value & kMark) == mark(prefix.family());
        for (Route& route : work.routes) {
            route.confirmed = seen;
        }
        if (seen && (*value & kPartial) != 0) {
            const std::vector<bool>& confirmed = partial_.at(prefix);
            for (std::size_t i = 0; i < confirmed.size(); ++i) {
                work.routes[i].confirmed = confirmed[i];
            }
        }
    }
    return work;
}

void RouteTable::store(Work&& work) {
    const std::uint32_t confirmed = mark(work.prefix.family());
    const auto known = std::ranges::count_if(work.routes, &Route::confirmed);
    if (work.value && (*work.value & kPartial) != 0) {
        partial_.erase(work.prefix);
    }
    std::uint32_t value = known != 0 ? confirmed : before(confirmed);
    if (known != 0 && known != std::ssize(work.routes)) {
        value |= kPartial;
        std::vector<bool>& each = partial_[work.prefix];
        for (const Route& route : work.routes) {
            each.push_back(route.confirmed);
        }
    }
    count_ += work.routes.size() - (work.value ? lists_[*work.value & kList].routes.size() : 0);
    if (work.routes.empty()) {
        prefixes_.erase(work.prefix);
    } else {
        prefixes_.insert_or_assign(work.prefix, value | list_of(std::move(work.routes)));
    }
    if (work.value) {
        leave_list(*work.value & kList);
    }
}

std::optional<std::uint32_t> RouteTable::find_list(std::span<const Route> routes, std::size_t hash) const {
    const auto [first, last] = by_hash_.equal_range(hash);
    const auto known =
        std::find_if(first, last, [&](const auto& item) { return same_list(lists_[item.second].routes, routes); });
    return known == last ? std::nullopt : std::optional(known->second);
}

std::uint32_t RouteTable::list_of(Routes&& routes) {
    const std::size_t hash = hash_of(routes);
    if (const auto known = find_list(routes, hash)) {
        ++lists_[*known].users;
        return *known;
    }
    if (free_lists_.empty()) {
        free_lists_.push_back(static_cast<std::uint32_t>(lists_.size()));
        lists_.emplace_back();
    }
    const std::uint32_t list = free_lists_.back();
    free_lists_.pop_back();
    lists_[list] = {std::move(routes), 1};
    by_hash_.emplace(hash, list);
    return list;
}

void RouteTable::leave_list(std::uint32_t list) {
    if (--lists_[list].users != 0) {
        return;
    }
    const auto [first, last] = by_hash_.equal_range(hash_of(lists_[list].routes));
    by_hash_.erase(std::find_if(first, last, [&](const auto& item) { return item.second == list; }));
    lists_[list].routes = {};
    free_lists_.push_back(list);
}

void RouteTable::apply(const RouteEvent& event, Changed& changed) {
    for (Job& job : jobs_) {
        if (job.gone && job.done.insert(event.prefix).second) {
            remove(job, event.prefix, changed);
        }
    }
    const bool sweeps_it = sweeps(event.prefix.family());
    const bool was_settled = sweeping_ && sweeps_it && settled(event.prefix);
    if (sweeps_it && !was_settled) {
        events_[Key{event.prefix, event.table, event.metric}].push_back(event);
    }
    event.deleted ? remove(event, changed) : add(event, changed);
    if (was_settled) {
        settle(event.prefix);
    }
}

void RouteTable::apply_dumped(const RouteEvent& event, Changed& changed) {
    const std::size_t before = changed.size();
    add_dumped(event, changed);
    if (audit_ && changed.size() != before) {
        repaired_.push_back(event.prefix);
    }
    if (events_.empty()) {
        return;
    }
    if (const auto meanwhile = events_.find(Key{event.prefix, event.table, event.metric}); meanwhile != events_.end()) {
        replay(meanwhile->second, changed);
    }
}

// A dump comes here for every route that it shows; nearly all are as they were, or new and alone.
bool RouteTable::confirm_as_it_is(const RouteEvent& event, const Route& route) {
    const std::span<const Route> alone(&route, 1);
    const std::uint32_t confirmed = mark(event.prefix.family());
    std::uint32_t* value = prefixes_.find(event.prefix);
    if (value == nullptr || (*value & kPartial) != 0) {
        return false;
    }
    const Routes& known = lists_[*value & kList].routes;
    if (known.size() != 1 || !same_list(known, alone)) {
        return false;
    }
    *value = (*value & kList) | confirmed;
    return true;
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
    Work work = load(event.prefix);
    Routes& all = work.routes;
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
                store(std::move(work));
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
        store(std::move(work));
        return;
    }
    // IPv4 puts a route in front of its equals unless told to append; IPv6 always appends.
    const bool front = event.prefix.family() == IpFamily::v4 && event.placement != RoutePlacement::append;
    all.insert(front ? range.begin() : range.end(), std::move(route));
    store(std::move(work));
    changed.push_back(event.prefix);
}

void RouteTable::add_dumped(const RouteEvent& event, Changed& changed) {
    Route route = stored(event);
    if (confirm_as_it_is(event, route)) {
        return;
    }
    Work work = load(event.prefix);
    Routes& all = work.routes;
    const auto range = same_key(all, event.table, event.metric);
    const bool sibling = is_sibling(event.prefix, route);
    const auto known = std::ranges::find_if(
        range, [&](const Route& r) { return same_entry(r, route) || (sibling && is_sibling(event.prefix, r)); });
    if (known == range.end()) {
        // A dump comes in the kernel's order: after what it has shown, before what it has not (yet).
        all.insert(std::ranges::find_if_not(range, &Route::confirmed), std::move(route));
        store(std::move(work));
        changed.push_back(event.prefix);
        return;
    }
    if (sibling && known->confirmed) {
        if (unite(known->nexthops, route.nexthops)) {
            changed.push_back(event.prefix);
            store(std::move(work));
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
    store(std::move(work));
    if (!same || moved) {
        changed.push_back(event.prefix);
    }
}

void RouteTable::remove(const RouteEvent& event, Changed& changed) {
    Work work = load(event.prefix);
    if (work.routes.empty()) {
        return;
    }
    const Route route = stored(event);
    const auto range = same_key(work.routes, event.table, event.metric);
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
                store(std::move(work));
                return;
            }
        }
    } else if (target != range.end()) {
        changed.push_back(event.prefix);
    }
    if (target != range.end()) {
        work.routes.erase(target);
        store(std::move(work));
    }
}

std::span<const Route> RouteTable::routes(const IpPrefix& prefix) const {
    const std::uint32_t* value = prefixes_.find(prefix);
    return value == nullptr ? std::span<const Route>{} : std::span<const Route>(lists_[*value & kList].routes);
}

}  // namespace twinspan::netlink
