// A world to compile: the lab's on-premises side with two links, and verbs to change what Linux says.
#pragma once

#include "control/model/planner.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace twinspan::test {

inline IpAddress ip(std::string_view text) { return IpAddress::parse(text).value(); }
inline IpPrefix pfx(std::string_view text) { return IpPrefix::parse(text).value(); }
inline MacAddress mac(std::uint8_t last) { return {0x02, 0, 0, 0, 0, last}; }

// Never looked into: the compiler only asks whether they are there, and which they are.
template <class Sa>
Sa* some_sa(std::size_t which = 0) {
    alignas(64) static std::array<std::array<std::byte, 64>, 8> storage{};
    return reinterpret_cast<Sa*>(storage[which].data());
}

// What Linux would say about routes.
class RouteList : public RouteSource {
public:
    std::optional<netlink::RouteEvent> route(const IpPrefix& prefix) const override {
        const auto it = std::ranges::find(list, prefix, &netlink::RouteEvent::prefix);
        return it == list.end() ? std::nullopt : std::optional(*it);
    }
    void for_each_prefix(const std::function<void(const IpPrefix&)>& f) const override {
        for (const netlink::RouteEvent& route : list) {
            f(route.prefix);
        }
    }
    std::vector<netlink::RouteEvent> list;
};

class TestWorld {
public:
    enum Legs : std::uint16_t { lan, prv_pri, prv_sec, msft_pri, msft_sec };
    enum Tunnels : std::uint16_t { azure_0, azure_1 };

    TestWorld() {
        world.routes = &routes;
        Config& c = world.config;
        c.ports = {{"lan", "net_null0", ""}, {"primary", "net_null1", ""}, {"secondary", "net_null2", ""}};
        add_leg("lan", "lan", Zone::lan, Link::none, 0, "10.10.0.1/24");
        add_leg("prv-pri", "primary", Zone::private_peering, Link::primary, 100, "172.16.0.1/30");
        add_leg("prv-sec", "secondary", Zone::private_peering, Link::secondary, 100, "172.16.0.5/30");
        add_leg("msft-pri", "primary", Zone::microsoft_peering, Link::primary, 300, "203.0.113.1/30");
        add_leg("msft-sec", "secondary", Zone::microsoft_peering, Link::secondary, 300, "203.0.113.5/30");
        PoolConfig pool;
        pool.ranges = {{ip("198.51.100.0").v4(), ip("198.51.100.15").v4()}};
        c.pools = {pool};
        add_tunnel("azure-0", Link::primary, msft_pri, "203.0.113.1", "20.51.0.4");
        add_tunnel("azure-1", Link::secondary, msft_sec, "203.0.113.5", "20.51.0.5");
        c.encrypt4 = {{ip("10.20.0.0").v4(), 16}};
        world.ports = {{mac(0x10), true}, {mac(0x11), true}, {mac(0x12), true}};
        number_links();
    }

    // A third uplink with a pool, a tunnel over it, and the peerings' fallbacks to them.
    void with_internet() {
        Config& c = world.config;
        c.ports.push_back({"inet", "net_null3", ""});
        world.ports.push_back({mac(0x13), true});
        add_leg("inet", "inet", Zone::internet, Link::none, 0, "192.0.2.2/24");
        PoolConfig pool;
        pool.zone = Zone::internet;
        pool.ranges = {{ip("192.0.2.64").v4(), ip("192.0.2.67").v4()}};
        c.pools.push_back(pool);
        add_tunnel("inet-0", Link::none, static_cast<Legs>(5), "192.0.2.2", "20.51.9.4");
        c.fallback = {{Zone::private_peering, {2}, false}, {Zone::microsoft_peering, {}, true}};
        number_links();
    }

    std::uint32_t ifindex(std::string_view netdev) const {
        for (const netlink::LinkEvent& link : world.kernel.links) {
            if (link.name == netdev) {
                return link.ifindex;
            }
        }
        return 999;  // a netdev that is not ours
    }

    void neighbour(std::string_view netdev, std::string_view address, MacAddress m) {
        netlink::NeighbourEvent n;
        n.ifindex = ifindex(netdev);
        n.address = ip(address);
        n.mac = m;
        n.usable = true;
        world.kernel.neighbours.push_back(n);
    }
    void forget_neighbours(std::string_view netdev) {
        std::erase_if(world.kernel.neighbours, [&](const auto& n) { return n.ifindex == ifindex(netdev); });
    }
    void both_msees() {
        neighbour("msft-pri", "203.0.113.2", mac(0xa1));
        neighbour("msft-sec", "203.0.113.6", mac(0xa2));
    }

    void both_private() {
        neighbour("prv-pri", "172.16.0.2", mac(0xb1));
        neighbour("prv-sec", "172.16.0.6", mac(0xb2));
    }

    struct Hop {
        std::string_view netdev;
        std::string_view gateway = "";
        std::uint16_t weight = 1;
    };
    void route(std::string_view prefix, std::vector<Hop> hops, netlink::RouteType type = netlink::RouteType::unicast) {
        netlink::RouteEvent r;
        r.prefix = pfx(prefix);
        r.type = type;
        for (const Hop& hop : hops) {
            netlink::NextHop h;
            h.ifindex = ifindex(hop.netdev);
            h.weight = hop.weight;
            if (!hop.gateway.empty()) {
                h.gateway = ip(hop.gateway);
            }
            r.nexthops.push_back(h);
        }
        routes.list.push_back(r);
    }
    void withdraw(std::string_view prefix) {
        std::erase_if(routes.list, [&](const auto& r) { return r.prefix == pfx(prefix); });
    }
    void split_over_microsoft(std::string_view prefix) {
        route(prefix, {{"msft-pri", "203.0.113.2"}, {"msft-sec", "203.0.113.6"}});
    }
    void through_tunnels(std::string_view prefix) { route(prefix, {{"azure-0"}, {"azure-1"}}); }

    // As the daemon does it: a compile, and a repair when only links changed.
    void compile() {
        if (!planner) {
            planner.emplace(world);
            planned = &planner->plan();
        }
        changes = planner->compile();
        repair();
    }
    void repair() { snapshot = assemble(*planned, world, ++generation); }

    RouteResult lookup(std::string_view address) const {
        const auto match = longest_match(planned->fib, IpPrefix::host(ip(address)));
        return match ? match->second : RouteResult::dropped(Drop::no_route);
    }
    std::vector<std::uint16_t> buckets(std::string_view address) const {
        const Group group = snapshot->groups[lookup(address).index()];
        const auto first = snapshot->buckets.begin() + group.first_bucket;
        return {first, first + group.bucket_mask + 1};
    }
    // The only egress of a destination whose buckets all agree.
    const Egress& egress(std::string_view address) const {
        const auto all = buckets(address);
        return snapshot->egresses[std::ranges::count(all, all[0]) == std::ssize(all) ? all[0] : std::size_t{0}];
    }
    std::size_t buckets_on(std::string_view address, Legs leg) const { return count(address, &Egress::leg, leg); }
    std::size_t buckets_in(std::string_view address, Tunnels tunnel) const {
        return count(address, &Egress::tunnel, tunnel);
    }

    World world;
    RouteList routes;
    std::optional<Planner> planner;
    Plan* planned = nullptr;
    PlanChanges changes;
    std::unique_ptr<Snapshot> snapshot;

private:
    void number_links() {
        world.kernel.links.clear();
        std::uint32_t ifindex = 10;
        for (const NetdevPlan& netdev : netdev_plan(world.config)) {
            netlink::LinkEvent link;
            link.ifindex = ifindex++;
            link.name = netdev.name;
            world.kernel.links.push_back(link);
        }
    }
    void add_leg(std::string netdev, std::string port, Zone zone, Link link, std::uint16_t vlan,
                 std::string_view address) {
        LegConfig leg;
        leg.netdev = std::move(netdev);
        leg.port = std::move(port);
        leg.zone = zone;
        leg.link = link;
        leg.tag_count = vlan == 0 ? 0 : 1;
        leg.tags[0] = {kEtherTypeVlan, to_be16(vlan)};
        const IpPrefix p = pfx(address);
        leg.addresses4 = {{p.address.v4(), p.length}};
        world.config.legs.push_back(leg);
    }
    void add_tunnel(std::string name, Link link, Legs leg, std::string_view local, std::string_view remote) {
        TunnelConfig tunnel;
        tunnel.name = std::move(name);
        tunnel.link = link;
        tunnel.leg = leg;
        tunnel.local = ip(local);
        tunnel.remote = ip(remote);
        world.config.tunnels.push_back(tunnel);
        world.sas.push_back({some_sa<OutboundSa>(), {{0x2000u + leg, some_sa<InboundSa>()}}, {}});
    }
    std::size_t count(std::string_view address, std::uint16_t Egress::* field, std::uint16_t value) const {
        return static_cast<std::size_t>(std::ranges::count_if(
            buckets(address), [&](std::uint16_t e) { return snapshot->egresses[e].*field == value; }));
    }
    std::uint64_t generation = 0;
};

}  // namespace twinspan::test
