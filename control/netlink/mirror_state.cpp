#include "control/netlink/mirror_state.hpp"

#include <algorithm>
#include <span>
#include <type_traits>

namespace twinspan::netlink {

namespace {

template <class T>
void sort_unique_in(std::vector<T>& items) {
    std::ranges::sort(items);
    const auto rest = std::ranges::unique(items);
    items.erase(rest.begin(), rest.end());
}

bool leads_to_nowhere(RouteType type) noexcept {
    return type == RouteType::blackhole || type == RouteType::unreachable || type == RouteType::prohibit;
}

}  // namespace

void Changes::sort_unique() {
    sort_unique_in(links);
    sort_unique_in(addresses);
    sort_unique_in(neighbours);
    sort_unique_in(prefixes);
}

template <class Key, class Value>
bool KernelState::put(Entries<Key, Value>& entries, const Key& key, const Value& value, bool dumped) {
    if (dumped && entries.touched.contains(key)) {
        return false;
    }
    if (!dumped && resyncing()) {
        entries.touched.insert(key);
    }
    const auto found = entries.map.find(key);
    if (value.deleted) {
        if (found == entries.map.end()) {
            return false;
        }
        entries.map.erase(found);
        return true;
    }
    if (found == entries.map.end()) {
        entries.map.emplace(key, Entry<Value>{value, true});
        return true;
    }
    found->second.confirmed = true;
    if (found->second.value == value) {
        return false;
    }
    found->second.value = value;
    return true;
}

template <class Key, class Value, class F>
void KernelState::sweep(Entries<Key, Value>& entries, F&& removed) {
    for (auto it = entries.map.begin(); it != entries.map.end();) {
        if (it->second.confirmed) {
            ++it;
            continue;
        }
        Value gone = std::move(it->second.value);
        const Key key = it->first;
        it = entries.map.erase(it);
        gone.deleted = true;
        removed(key, gone);
    }
    entries.touched.clear();
}

Parts KernelState::apply(const Event& event, Changes& changes) {
    if (const auto* route = std::get_if<RouteEvent>(&event)) {
        routes_.apply(*route, changes.prefixes);
        return {};
    }
    if (const auto* link = std::get_if<LinkEvent>(&event)) {
        const LinkEvent* before = this->link(link->ifindex);
        const bool was_up = before != nullptr && before->up;
        const bool had_carrier = before != nullptr && before->carrier;
        const bool was_usable = link_usable(link->ifindex);
        put(event, false, changes);
        Parts again = after_link(*link, was_up, changes);
        if (link_usable(link->ifindex) != was_usable) {
            find_choices(link->ifindex, changes);
        }
        if (!nexthops_.map.empty() && had_carrier && (link->deleted || !link->carrier)) {
            // Objects of a link without carrier go, and IPv4 routes with them, in silence.
            again |= Parts(Part::nexthops) | Part::routes4 | Part::routes6;
        }
        return again;
    }
    put(event, false, changes);
    if (const auto* nexthop = std::get_if<NexthopEvent>(&event)) {
        after_nexthop(*nexthop, changes);
    }
    const auto* address = std::get_if<AddressEvent>(&event);
    if (address != nullptr && address->deleted && address->prefix.family() == IpFamily::v4) {
        return Part::routes4;  // those that prefer it as source go in silence
    }
    return {};
}

void KernelState::apply_dumped(const Event& event, Changes& changes) {
    if (const auto* route = std::get_if<RouteEvent>(&event)) {
        routes_.apply_dumped(*route, changes.prefixes);
        return;
    }
    const auto* link = std::get_if<LinkEvent>(&event);
    const bool was_usable = link != nullptr && link_usable(link->ifindex);
    const bool changed = put(event, true, changes);
    if (link != nullptr && link->deleted) {
        forget(link->ifindex, changes);
    } else if (link != nullptr && link_usable(link->ifindex) != was_usable) {
        find_choices(link->ifindex, changes);
    }
    if (const auto* nexthop = std::get_if<NexthopEvent>(&event); changed && nexthop != nullptr) {
        after_nexthop(*nexthop, changes);
    }
}

bool KernelState::put(const Event& event, bool dumped, Changes& changes) {
    return std::visit([&](const auto& value) {
        using T = std::remove_cvref_t<decltype(value)>;
        bool changed = false;
        if constexpr (std::is_same_v<T, LinkEvent>) {
            changed = put(links_, value.ifindex, value, dumped);
            if (changed) {
                changes.links.push_back(value.ifindex);
            }
        } else if constexpr (std::is_same_v<T, AddressEvent>) {
            const AddressKey key{value.ifindex, value.prefix};
            changed = put(addresses_, key, value, dumped);
            if (changed) {
                changes.addresses.push_back(key);
            }
        } else if constexpr (std::is_same_v<T, NeighbourEvent>) {
            const NeighbourKey key{value.ifindex, value.address};
            changed = put(neighbours_, key, value, dumped);
            if (changed) {
                changes.neighbours.push_back(key);
            }
        } else if constexpr (std::is_same_v<T, NexthopEvent>) {
            NexthopEvent kept = value;
            kept.hop.linkdown = kept.hop.dead = false;
            changed = put(nexthops_, kept.id, kept, dumped);
        }
        return changed;
    }, event);
}

Parts KernelState::after_link(const LinkEvent& link, bool was_up, Changes& changes) {
    if (link.deleted) {
        forget(link.ifindex, changes);
        return Parts(Part::routes4) | Part::routes6;
    }
    if (link.up || !was_up || !routes_through(link.ifindex)) {
        return {};
    }
    // Linux removes IPv4 routes whose last way was over this link without a message; those to our own addresses stay.
    std::set<IfIndex> down;
    for_each_link([&](const LinkEvent& other) {
        if (!other.up) {
            down.insert(other.ifindex);
        }
    });
    routes_.remove_if(Families::v4, [this, down = std::move(down)](const Route& route) {
        const std::vector<NextHop> hops = nexthops_of(route);
        return route.type != RouteType::local && !hops.empty() &&
               std::ranges::all_of(hops, [&](const NextHop& hop) { return down.contains(hop.ifindex); });
    }, changes.prefixes);
    return Part::routes4;
}

void KernelState::forget(IfIndex ifindex, Changes& changes) {
    std::erase_if(addresses_.map, [&](const auto& item) {
        const bool gone = item.first.first == ifindex;
        if (gone) {
            changes.addresses.push_back(item.first);
        }
        return gone;
    });
    std::erase_if(neighbours_.map, [&](const auto& item) {
        const bool gone = item.first.first == ifindex;
        if (gone) {
            changes.neighbours.push_back(item.first);
        }
        return gone;
    });
    routes_.remove_if(Families::v4, [this, ifindex](const Route& route) { return leads_over(route, ifindex); },
                      changes.prefixes);
    routes_.remove_if(Families::v6, [this, ifindex](const Route& route) {
        const std::vector<NextHop> hops = nexthops_of(route);
        return !hops.empty() &&
               std::ranges::all_of(hops, [ifindex](const NextHop& hop) { return hop.ifindex == ifindex; });
    }, changes.prefixes);
}

bool KernelState::reaches(std::uint32_t nexthop_id, std::uint32_t wanted) const {
    if (nexthop_id == wanted) {
        return true;
    }
    const NexthopEvent* object = nexthop(nexthop_id);
    return object != nullptr &&
           std::ranges::any_of(object->members, [&](const NexthopMember& m) { return m.id == wanted; });
}

void KernelState::after_nexthop(const NexthopEvent& nexthop, Changes& changes) {
    if (nexthop.deleted) {
        routes_.remove_if(Families::both, [id = nexthop.id](const Route& route) { return route.nexthop_id == id; },
                          changes.prefixes);
    }
    routes_.report_if([this, id = nexthop.id](std::span<const Route> routes) {
        return std::ranges::any_of(routes,
                                   [&](const Route& r) { return r.nexthop_id != 0 && reaches(r.nexthop_id, id); });
    }, changes.prefixes);
}

bool KernelState::leads_over(const Route& route, IfIndex ifindex) const {
    const auto here = [&](const NextHop& hop) { return hop.ifindex == ifindex; };
    return route.nexthop_id == 0 ? std::ranges::any_of(route.nexthops, here)
                                 : std::ranges::any_of(nexthops_of(route), here);
}

bool KernelState::routes_through(IfIndex ifindex) const {
    bool any = false;
    routes_.for_each_list([&](std::span<const Route> routes) {
        any = any || std::ranges::any_of(routes, [&](const Route& route) { return leads_over(route, ifindex); });
    });
    return any;
}

// Prefixes whose best route depends on the link: those with several.
void KernelState::find_choices(IfIndex ifindex, Changes& changes) {
    routes_.report_if([this, ifindex](std::span<const Route> routes) {
        return routes.size() > 1 &&
               std::ranges::any_of(routes, [&](const Route& route) { return leads_over(route, ifindex); });
    }, changes.prefixes);
}

void KernelState::begin_resync(Parts parts, bool audit) {
    resync_ = parts;
    const auto unconfirm = [&](auto& entries, Part part) {
        entries.touched.clear();
        for (auto& [key, entry] : entries.map) {
            entry.confirmed = !parts.has(part);
        }
    };
    unconfirm(links_, Part::links);
    unconfirm(addresses_, Part::addresses);
    unconfirm(neighbours_, Part::neighbours);
    unconfirm(nexthops_, Part::nexthops);
    const unsigned families = (parts.has(Part::routes4) ? 1u : 0u) | (parts.has(Part::routes6) ? 2u : 0u);
    routes_.begin_resync(static_cast<Families>(families), audit);
}

Parts KernelState::end_resync(Changes& changes) {
    sweep(links_, [&](IfIndex ifindex, const LinkEvent& gone) {
        changes.links.push_back(ifindex);
        after_link(gone, true, changes);
    });
    sweep(addresses_, [&](const AddressKey& key, const AddressEvent&) { changes.addresses.push_back(key); });
    sweep(neighbours_, [&](const NeighbourKey& key, const NeighbourEvent&) { changes.neighbours.push_back(key); });
    sweep(nexthops_, [&](std::uint32_t, const NexthopEvent& gone) { after_nexthop(gone, changes); });
    routes_.end_resync(changes.prefixes);
    resync_ = {};
    return uncertain_routes();
}

Parts KernelState::work(Changes& changes) {
    routes_.work(changes.prefixes);
    return uncertain_routes();
}

Parts KernelState::uncertain_routes() { return routes_.uncertain() ? Parts(Part::routes4) | Part::routes6 : Parts{}; }

const LinkEvent* KernelState::link(IfIndex ifindex) const {
    const auto found = links_.map.find(ifindex);
    return found == links_.map.end() ? nullptr : &found->second.value;
}

const LinkEvent* KernelState::link(std::string_view name) const {
    const auto found =
        std::ranges::find_if(links_.map, [&](const auto& item) { return item.second.value.name == name; });
    return found == links_.map.end() ? nullptr : &found->second.value;
}

const AddressEvent* KernelState::address(const AddressKey& key) const {
    const auto found = addresses_.map.find(key);
    return found == addresses_.map.end() ? nullptr : &found->second.value;
}

const NeighbourEvent* KernelState::neighbour(const NeighbourKey& key) const {
    const auto found = neighbours_.map.find(key);
    return found == neighbours_.map.end() ? nullptr : &found->second.value;
}

const NexthopEvent* KernelState::nexthop(std::uint32_t id) const {
    const auto found = nexthops_.map.find(id);
    return found == nexthops_.map.end() ? nullptr : &found->second.value;
}

bool KernelState::link_usable(IfIndex ifindex) const {
    const LinkEvent* found = link(ifindex);
    return found != nullptr && found->up && found->carrier;
}

std::vector<NextHop> KernelState::nexthops_of(const Route& route) const {
    const NexthopEvent* object = route.nexthop_id == 0 ? nullptr : nexthop(route.nexthop_id);
    if (object == nullptr) {
        return route.nexthops;
    }
    std::vector<NextHop> hops;
    if (object->members.empty() && !object->blackhole) {
        hops.push_back(object->hop);
    }
    for (const NexthopMember& member : object->members) {
        const NexthopEvent* hop = nexthop(member.id);
        if (hop != nullptr && hop->members.empty() && !hop->blackhole) {
            hops.push_back(hop->hop);
            hops.back().weight = member.weight;
        }
    }
    std::ranges::sort(hops);
    return hops;
}

std::optional<BestRoute> KernelState::best_route(const IpPrefix& prefix, const Usable& usable) const {
    const auto resolved = [&](const Route& route) {
        BestRoute best{route.type, route.table, route.metric, route.protocol, false, nexthops_of(route)};
        if (const NexthopEvent* object = route.nexthop_id == 0 ? nullptr : nexthop(route.nexthop_id)) {
            best.resilient = object->resilient;
            best.type = best.nexthops.empty() ? RouteType::blackhole : route.type;
        }
        return best;
    };
    const std::span<const Route> candidates = routes_.routes(prefix);
    for (const Route& route : candidates) {
        BestRoute best = resolved(route);
        if (!usable || leads_to_nowhere(best.type) || std::ranges::any_of(best.nexthops, usable)) {
            return best;
        }
    }
    return candidates.empty() ? std::nullopt : std::optional(resolved(candidates.front()));
}

}  // namespace twinspan::netlink
