// The kernel's routes of the tables main and local, by prefix. Follows what Linux does on add, append, replace and
// delete, which differs between IPv4 and IPv6, and repairs itself from a dump (mark and sweep).
#pragma once

#include "control/netlink/types.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <tuple>
#include <unordered_map>
#include <vector>

namespace twinspan::netlink {

// One route as kept. Next hops are sorted, without the kernel's linkdown and dead marks.
struct Route {
    std::uint32_t table = kTableMain;
    std::uint32_t metric = 0;
    std::uint32_t nexthop_id = 0;
    RouteType type = RouteType::unicast;
    std::uint8_t protocol = 0;
    bool confirmed = true;  // the running resync has seen it, or there is none
    std::vector<NextHop> nexthops;

    // What forwarding sees; who installed it and when it was seen do not count.
    bool same_as(const Route& other) const noexcept {
        return table == other.table && metric == other.metric && nexthop_id == other.nexthop_id && type == other.type &&
               nexthops == other.nexthops;
    }
};

enum class Families : std::uint8_t { v4 = 1, v6 = 2, both = 3 };

constexpr bool has(Families set, IpFamily family) noexcept {
    return (static_cast<unsigned>(set) & (family == IpFamily::v4 ? 1u : 2u)) != 0;
}

class RouteTable {
public:
    using Changed = std::vector<IpPrefix>;  // prefixes are appended, perhaps more than once

    // An event. Routes of other tables than main and local must not come here.
    void apply(const RouteEvent& event, Changed& changed);
    // A message of a dump, between begin_resync and end_resync. Events that arrive meanwhile win over it: the dump may
    // have read the route before or after they happened.
    void apply_dumped(const RouteEvent& event, Changed& changed);

    void begin_resync(Families families);
    // Removes what the dump has not shown. To be called when the events that came before the dump's end are all
    // applied. True: an event said "replace" of a prefix with several routes of one metric while the dump ran, and
    // which one went cannot be known. The state may be wrong in that prefix; another resync puts it right.
    [[nodiscard]] bool end_resync(Changed& changed);
    bool resyncing() const noexcept { return resyncing_; }

    // Removes routes of the families that `gone` names. For what Linux removes without saying so.
    void remove_if(Families families, const std::function<bool(const Route&)>& gone, Changed& changed);

    // Local table first, then main by metric; empty when there is none.
    std::span<const Route> routes(const IpPrefix& prefix) const;
    std::size_t prefixes() const noexcept { return routes_.size(); }
    std::size_t size() const noexcept { return count_; }

    template <class F>  // f(const IpPrefix&, std::span<const Route>)
    void for_each(F&& f) const {
        for (const auto& [prefix, routes] : routes_) {
            f(prefix, std::span<const Route>(routes));
        }
    }

private:
    using Key = std::tuple<IpPrefix, std::uint32_t, std::uint32_t>;  // prefix, table, metric
    using Routes = std::vector<Route>;

    void add(const RouteEvent& event, Changed& changed);
    void add_dumped(const RouteEvent& event, Changed& changed);
    void remove(const RouteEvent& event, Changed& changed);
    Routes::iterator replaced_by(Routes& all, const IpPrefix& prefix, const Route& route, bool may_be_old);
    void replay(const std::vector<RouteEvent>& events, Changed& changed);
    bool sweeps(IpFamily family) const noexcept { return resyncing_ && has(resync_families_, family); }

    std::unordered_map<IpPrefix, Routes> routes_;
    std::map<Key, std::vector<RouteEvent>> events_;  // during a resync: what happened meanwhile, in order
    std::size_t count_ = 0;
    bool uncertain_ = false;
    Families resync_families_ = Families::both;
    bool resyncing_ = false;
};

}  // namespace twinspan::netlink
