// What Linux holds, as far as the data plane cares: links, addresses, neighbours, routes, nexthop objects. Pure: fed
// with decoded events and dumps, it says what changed. One thread.
#pragma once

#include "control/netlink/route_table.hpp"
#include "control/netlink/types.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

namespace twinspan::netlink {

using AddressKey = std::pair<IfIndex, IpPrefix>;
using NeighbourKey = std::pair<IfIndex, IpAddress>;

// What is no longer as it was: look it up in the state; what is not found there is gone.
struct Changes {
    std::vector<IfIndex> links;
    std::vector<AddressKey> addresses;
    std::vector<NeighbourKey> neighbours;
    std::vector<IpPrefix> prefixes;  // routes of the prefix, their best or their order
    bool all_prefixes = false;       // the first dump: any prefix, and they are not listed

    bool empty() const noexcept {
        return links.empty() && addresses.empty() && neighbours.empty() && prefixes.empty() && !all_prefixes;
    }
    void sort_unique();
};

// Which parts a resync reads again.
enum class Part : std::uint8_t { links = 1, addresses = 2, neighbours = 4, nexthops = 8, routes4 = 16, routes6 = 32 };

class Parts {
public:
    constexpr Parts() noexcept = default;
    constexpr Parts(Part part) noexcept
        : bits_(static_cast<std::uint8_t>(part)) {}  // NOLINT(google-explicit-constructor)
    static constexpr Parts all() noexcept { return from_bits(63); }

    constexpr bool has(Part part) const noexcept { return (bits_ & static_cast<std::uint8_t>(part)) != 0; }
    constexpr bool empty() const noexcept { return bits_ == 0; }
    constexpr Parts& operator|=(Parts other) noexcept { return *this = *this | other; }
    friend constexpr Parts operator|(Parts a, Parts b) noexcept {
        return from_bits(static_cast<std::uint8_t>(a.bits_ | b.bits_));
    }
    friend constexpr bool operator==(Parts, Parts) noexcept = default;

private:
    static constexpr Parts from_bits(std::uint8_t bits) noexcept {
        Parts parts;
        parts.bits_ = bits;
        return parts;
    }
    std::uint8_t bits_ = 0;
};

// The route that Linux uses for a prefix, nexthop objects resolved.
struct BestRoute {
    RouteType type = RouteType::unicast;
    std::uint32_t table = kTableMain;
    std::uint32_t metric = 0;
    std::uint8_t protocol = 0;
    bool resilient = false;  // through a resilient nexthop group
    std::vector<NextHop> nexthops;
    friend bool operator==(const BestRoute&, const BestRoute&) = default;
};

class KernelState {
public:
    // What concerns more prefixes than `step` is done in steps.
    explicit KernelState(std::size_t step = RouteTable::kStep) noexcept : routes_(step) {}

    // Returns what has to be read again, because Linux removes it without a message.
    Parts apply(const Event& event, Changes& changes);
    void apply_dumped(const Event& event, Changes& changes);

    // Mark and sweep: what a dump of the parts has not shown when it ends is gone. A begin before the end starts anew.
    // `audit`: see RouteTable::repaired().
    void begin_resync(Parts parts, bool audit = false);
    // When the events that came before the dump's end are all applied. Returns what has to be read once more. Routes
    // follow while work() is called, with events in between.
    [[nodiscard]] Parts end_resync(Changes& changes);
    // One step of what has been begun, some milliseconds. Returns what has to be read once more.
    [[nodiscard]] Parts work(Changes& changes);
    bool busy() const noexcept { return routes_.busy(); }
    bool resyncing() const noexcept { return !resync_.empty(); }

    // Forgets an interface's addresses, neighbours and routes; the link itself stays.
    void forget(IfIndex ifindex, Changes& changes);

    const LinkEvent* link(IfIndex ifindex) const;
    const LinkEvent* link(std::string_view name) const;
    const AddressEvent* address(const AddressKey& key) const;
    const NeighbourEvent* neighbour(const NeighbourKey& key) const;
    const NexthopEvent* nexthop(std::uint32_t id) const;
    const RouteTable& routes() const noexcept { return routes_; }

    // The first by table (local before main) and metric that has a next hop `usable` agrees to, or that needs none;
    // when there is none such, the first of all. With no `usable`, every next hop is.
    using Usable = std::function<bool(const NextHop&)>;
    std::optional<BestRoute> best_route(const IpPrefix& prefix, const Usable& usable = {}) const;
    // The link is up, with carrier: what Linux asks with ignore_routes_with_linkdown. Unknown links are not.
    bool link_usable(IfIndex ifindex) const;

    template <class F>
    void for_each_link(F&& f) const {
        each(links_, f);
    }
    template <class F>
    void for_each_address(F&& f) const {
        each(addresses_, f);
    }
    template <class F>
    void for_each_neighbour(F&& f) const {
        each(neighbours_, f);
    }
    template <class F>  // f(const IpPrefix&)
    void for_each_prefix(F&& f) const {
        routes_.for_each([&](const IpPrefix& prefix, std::span<const Route>) { f(prefix); });
    }
    // Every next hop a route leads to, nexthop objects resolved.
    std::vector<NextHop> nexthops_of(const Route& route) const;

private:
    template <class Value>
    struct Entry {
        Value value;
        bool confirmed = true;  // seen by the running resync
    };
    template <class Key, class Value>
    struct Entries {
        std::map<Key, Entry<Value>> map;
        std::set<Key> touched;  // by events during a resync: the dump has nothing to say about these
    };

    template <class E, class F>
    static void each(const E& entries, F&& f) {
        for (const auto& [key, entry] : entries.map) {
            f(entry.value);
        }
    }
    template <class Key, class Value>
    bool put(Entries<Key, Value>& entries, const Key& key, const Value& value, bool dumped);
    template <class Key, class Value, class F>
    static void sweep(Entries<Key, Value>& entries, F&& removed);

    bool put(const Event& event, bool dumped, Changes& changes);
    Parts after_link(const LinkEvent& link, bool was_up, Changes& changes);
    void after_nexthop(const NexthopEvent& nexthop, Changes& changes);
    bool leads_over(const Route& route, IfIndex ifindex) const;
    bool routes_through(IfIndex ifindex) const;
    void find_choices(IfIndex ifindex, Changes& changes);
    Parts uncertain_routes();
    bool reaches(std::uint32_t nexthop_id, std::uint32_t wanted) const;

    Entries<IfIndex, LinkEvent> links_;
    Entries<AddressKey, AddressEvent> addresses_;
    Entries<NeighbourKey, NeighbourEvent> neighbours_;
    Entries<std::uint32_t, NexthopEvent> nexthops_;
    RouteTable routes_;
    Parts resync_;
};

}  // namespace twinspan::netlink
