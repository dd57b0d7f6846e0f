// Keeps a Plan in step with the world. What a route means is looked up per prefix, so a route that changes costs what
// it costs alone; links, addresses and neighbours are read whole, without a look at the routes that do not depend on
// them.
#pragma once

#include "control/model/compile.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace twinspan {

// What follows from a change of the world: assemble and publish first when `hops` says so, then change the FIB.
struct PlanChanges {
    FibChanges fib;
    bool hops = false;  // groups, egresses, tunnels' paths: all that assemble() reads
    std::vector<RefusedRoute> refused;  // newly
};

class Planner {
public:
    static constexpr std::size_t kMaxEgresses = kNone;

    explicit Planner(const World& world);  // which outlives this

    PlanChanges compile();  // everything, every route
    // After a change of World::config: compile() or refresh() makes the rest follow.
    void read_configuration();
    PlanChanges refresh();  // everything but routes; these too when netdevs have come or gone
    PlanChanges update(std::span<const IpPrefix> changed);  // what the routes of these prefixes mean now

    Plan& plan() noexcept { return plan_; }
    const Plan& plan() const noexcept { return plan_; }

private:
    // What a route asks for, before it has a group.
    struct Way {
        enum class Kind : std::uint8_t { none, drop, on_link, hops } kind = Kind::none;
        std::uint16_t leg = kNone;
        GroupKey key;
    };

    void begin();
    PlanChanges finish();
    bool read_world();
    bool index_kernel();
    void find_own();
    void find_hosts();
    void make_egresses();
    void add_group_egresses(const GroupKey& key);

    std::uint16_t add_egress(const Egress& egress);
    std::uint16_t drop_egress(Drop reason, Zone zone);
    std::uint16_t egress_for(const HopKey& hop);
    Egress hop_egress(const HopKey& hop);
    std::optional<MacAddress> neighbour(std::uint16_t leg, const IpAddress& address);

    // The FIB in layers, from below: subnets of legs, routes, neighbours, what is ours, guards of encrypted prefixes.
    void settle(const IpPrefix& prefix);
    void settle_all();
    std::optional<RouteResult> result(const IpPrefix& prefix, const Way& way);
    std::optional<RouteResult> below_guard(const IpPrefix& prefix, const Way& way);
    std::optional<RouteResult> of_route(const IpPrefix& prefix, const Way& way);
    std::optional<RouteResult> guard(const IpPrefix& prefix, const Way& way);
    Way way_of(const IpPrefix& prefix, std::vector<RefusedRoute>* refused = nullptr) const;
    // The hops of a route that may be used; what may not is noted. `on_link` becomes the leg of a hop without gateway.
    GroupKey usable_hops(const netlink::RouteEvent& route, const IpPrefix& prefix, std::uint16_t& on_link,
                         std::vector<RefusedRoute>* refused) const;
    // What the configuration adds to the hops of a route, for when they are all gone.
    void add_fallback(GroupKey& hops, const IpPrefix& prefix) const;
    RouteResult forward(const IpPrefix& prefix, const GroupKey& key);
    void note_refused(const IpPrefix& prefix, std::vector<RefusedRoute> refused);
    bool must_encrypt(const IpPrefix& prefix) const noexcept;
    bool is_own_network(const IpPrefix& prefix) const noexcept;
    bool others_depend_on(const IpPrefix& prefix) const;

    void find_default_gateways();
    void add_tunnel_paths();
    std::optional<IpAddress> gateway_to(std::uint16_t leg, const IpAddress& remote) const;
    std::optional<netlink::RouteEvent> route(const IpPrefix& prefix) const {
        return world_.routes == nullptr ? std::nullopt : world_.routes->route(prefix);
    }

    const World& world_;
    Plan plan_;
    PlanChanges changes_;  // without its FIB half, which finish() makes of this:
    std::vector<std::pair<IpPrefix, std::optional<RouteResult>>> touched_;  // and what was there before
    std::vector<IpPrefix> encrypt_;
    std::map<IpPrefix, std::uint16_t> connected_;  // the legs' subnets
    std::unordered_map<netlink::IfIndex, Netdev> netdevs_;
    std::map<LegAddress, MacAddress> neighbours_;
    std::map<IpPrefix, RouteResult> own_;  // addresses, broadcasts, pools, multicast
    std::map<IpPrefix, std::uint16_t> hosts_;  // neighbours with a FIB entry, and their legs
    std::set<IpAddress> points_;  // what hangs on the routes that cover these: neighbours, guards, tunnels
    bool all_egresses_due_ = false;
    std::map<std::pair<Drop, Zone>, std::uint16_t> drops_;
    std::map<LegAddress, std::uint16_t> outer_egresses_;
};

}  // namespace twinspan
