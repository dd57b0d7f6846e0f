// The working state of plan(): what is looked up while a plan grows. Internal to control/model.
#pragma once

#include "control/model/compile.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace twinspan {

class Planner {
public:
    static constexpr std::size_t kMaxEgresses = kNone;

    Planner(const World& world, const Plan* previous);
    Plan run() &&;

private:
    void index_kernel();
    std::uint16_t add_egress(const Egress& egress);
    std::uint16_t drop_egress(Drop reason, Zone zone);
    std::uint16_t egress_for(const HopKey& hop);
    Egress hop_egress(const HopKey& hop);
    std::optional<MacAddress> neighbour(std::uint16_t leg, const IpAddress& address);

    void add_connected();
    void add_route(const netlink::RouteEvent& route);
    // The hops of a route that may be used; what may not is noted. `on_link` becomes the leg of a hop without gateway.
    GroupKey usable_hops(const netlink::RouteEvent& route, const IpPrefix& prefix, std::uint16_t& on_link);
    // What the configuration adds to the hops of a route, for when they are all gone.
    void add_fallback(GroupKey& hops, const IpPrefix& prefix) const;
    void add_neighbours();
    void add_own();
    void add_encrypt();
    void forward(const IpPrefix& prefix, const GroupKey& key);
    void drop_route(const IpPrefix& prefix, Drop reason);
    bool must_encrypt(const IpPrefix& prefix) const noexcept;
    bool is_own_network(const IpPrefix& prefix) const noexcept;

    void index_leg_routes();
    void add_tunnel_paths();
    std::optional<IpAddress> gateway_to(std::uint16_t leg, const IpAddress& remote) const;

    const World& world_;
    const Plan* previous_;
    Plan plan_;
    std::vector<IpPrefix> encrypt_;
    std::unordered_map<netlink::IfIndex, Netdev> netdevs_;
    std::map<LegAddress, MacAddress> neighbours_;
    std::map<std::pair<Drop, Zone>, std::uint16_t> drops_;
    std::map<LegAddress, std::uint16_t> outer_egresses_;
    // By leg: where a route to the prefix leads over that leg; no gateway: the destination is on the link.
    std::vector<std::map<IpPrefix, std::optional<IpAddress>>> leg_routes_;
};

}  // namespace twinspan
