// Planning by changes: the same table as planning anew, whatever came in whatever order, and no more work than that.
#include "control/model/planner.hpp"

#include "tests/unit/control/model/test_world.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>

namespace twinspan::test {
namespace {

// A FIB by what it says: groups by their hops, for their numbers depend on the order of things.
std::map<std::string, std::string> by_meaning(const Plan& plan) {
    std::map<std::string, std::string> meaning;
    plan.fib.for_each([&](const IpPrefix& prefix, RouteResult result) {
        std::string text = std::to_string(static_cast<int>(result.kind())) + (result.must_encrypt() ? " encrypt" : "");
        if (result.kind() != RouteKind::forward) {
            text += " " + std::to_string(result.index());
        } else if (const GroupKey* key = plan.groups.key_of(result.index())) {
            for (const auto& [hop, weight] : *key) {
                text += " [" + std::to_string(hop.leg) + " " + std::to_string(hop.tunnel) + " " + hop.gateway.text() +
                        " x" + std::to_string(weight) + "]";
            }
        } else {
            text += " no such group";
        }
        meaning.emplace(prefix.text(), text);
    });
    return meaning;
}

// Applies changes as Failover does to its table; what is in there must be what the plan says.
void apply(FibPlan& table, const PlanChanges& changes) {
    for (const auto& [prefix, result] : changes.fib.insert) {
        table.insert_or_assign(prefix, result);
    }
    for (const IpPrefix& prefix : changes.fib.erase) {
        EXPECT_TRUE(table.erase(prefix)) << prefix.text();
    }
}

class Changing : public testing::Test, public TestWorld {
protected:
    static constexpr std::string_view kPrefixes[] = {
        "0.0.0.0/0",    "10.0.0.0/8",   "10.20.0.0/16",  "10.20.7.0/24",   "10.20.0.0/15", "10.10.0.0/24",
        "10.10.0.0/25", "10.10.0.9/32", "13.107.6.0/24", "20.51.0.0/29",   "20.0.0.0/8",   "172.16.0.0/30",
        "192.0.2.0/24", "40.0.0.0/10",  "10.10.0.1/32",  "198.51.100.0/24"};

    Changing() {
        both_msees();
        planner_.compile();
    }
    unsigned below(std::size_t n) { return static_cast<unsigned>(random_() % n); }
    std::vector<Hop> any_hops() {
        static const std::vector<std::vector<Hop>> kHops{{{"prv-pri", "172.16.0.2"}},
                                                         {{"prv-sec", "172.16.0.6", 3}, {"prv-pri", "172.16.0.2"}},
                                                         {{"msft-pri", "203.0.113.2"}, {"msft-sec", "203.0.113.6"}},
                                                         {{"azure-0"}, {"azure-1"}},
                                                         {{"azure-1"}, {"prv-pri", "172.16.0.2"}},
                                                         {{"lan"}},
                                                         {{"lan", "10.10.0.9"}},
                                                         {{"eth0", "192.168.0.1"}}};
        return kHops[below(kHops.size())];
    }
    // Routes that change are told by prefix; the rest of the world asks for a refresh.
    PlanChanges any_change() {
        const std::string_view to = kPrefixes[below(std::size(kPrefixes))];
        switch (below(10)) {
            case 0: {
                const unsigned last = 2 + below(12);
                neighbour("lan", "10.10.0." + std::to_string(last), mac(static_cast<std::uint8_t>(below(4))));
                return planner_.refresh();
            }
            case 1:
                forget_neighbours(below(2) == 0 ? "lan" : "msft-pri");
                return planner_.refresh();
            case 2: {
                world.kernel.addresses.clear();
                netlink::AddressEvent address;
                address.ifindex = ifindex("lan");
                address.prefix = pfx(below(2) == 0 ? "10.10.0.3/24" : "10.20.255.1/30");
                world.kernel.addresses.push_back(address);
                return planner_.refresh();
            }
            case 3: {  // a netdev goes or comes back
                std::swap(links_, world.kernel.links);
                return planner_.refresh();
            }
            default:
                break;
        }
        std::vector<IpPrefix> changed;
        for (unsigned i = 0; i <= below(3); ++i) {
            const std::string_view prefix = i == 0 ? to : kPrefixes[below(std::size(kPrefixes))];
            withdraw(prefix);
            if (below(4) == 0) {
                route(prefix, {}, netlink::RouteType::blackhole);
            } else if (below(4) != 0) {
                route(prefix, any_hops());
            }
            changed.push_back(pfx(prefix));
        }
        return planner_.update(changed);
    }

    std::mt19937 random_{20261120};
    Planner planner_{world};
    std::vector<netlink::LinkEvent> links_{world.kernel.links.begin(), world.kernel.links.end() - 2};
};

TEST_F(Changing, ends_where_planning_anew_ends_through_random_changes) {
    FibPlan table = planner_.plan().fib;
    for (unsigned step = 0; step < 3000; ++step) {
        apply(table, any_change());
        ASSERT_EQ(table, planner_.plan().fib) << step;
        Planner anew{world};
        anew.compile();
        ASSERT_EQ(by_meaning(planner_.plan()), by_meaning(anew.plan())) << step;
        ASSERT_EQ(planner_.plan().refused, anew.plan().refused) << step;
        // Every hop that a worker may meet has an egress, and groups are counted right.
        const auto assembled = assemble(planner_.plan(), world, step);
        ASSERT_EQ(assembled->egresses.size(), planner_.plan().base.egresses.size());
        std::map<std::uint32_t, std::size_t> named;
        table.for_each([&](const IpPrefix&, RouteResult r) { named[r.index()] += r.kind() == RouteKind::forward; });
        for (const auto& [key, group] : planner_.plan().groups.groups()) {
            ASSERT_EQ(group.routes, named[group.id]) << step;
        }
        // A gateway that lost its last route may be asked for until all egresses are made again.
        ASSERT_TRUE(std::ranges::includes(planner_.plan().wanted, anew.plan().wanted)) << step;
    }
}

TEST_F(Changing, a_route_that_changes_names_itself_alone) {
    for (unsigned i = 0; i < 1000; ++i) {
        routes.list.push_back({.prefix = pfx("50." + std::to_string(i / 250) + "." + std::to_string(i % 250) + ".0/24"),
                               .nexthops = {{.gateway = ip("172.16.0.2"), .ifindex = ifindex("prv-pri")}}});
    }
    planner_.compile();
    withdraw("50.1.7.0/24");
    route("50.1.7.0/24", {{"prv-sec", "172.16.0.6"}});
    const PlanChanges first = planner_.update(std::vector{pfx("50.1.7.0/24")});
    ASSERT_EQ(first.fib.insert.size(), 1u);
    EXPECT_EQ(first.fib.insert[0].first, pfx("50.1.7.0/24"));
    EXPECT_TRUE(first.hops) << "its group is new";
    withdraw("50.1.8.0/24");
    route("50.1.8.0/24", {{"prv-sec", "172.16.0.6"}});
    const PlanChanges second = planner_.update(std::vector{pfx("50.1.8.0/24")});
    EXPECT_EQ(second.fib.insert.size(), 1u);
    EXPECT_FALSE(second.hops) << "its group is there, and nothing is published";
    const PlanChanges nothing = planner_.update(std::vector{pfx("50.1.8.0/24"), pfx("50.1.9.0/24")});
    EXPECT_TRUE(nothing.fib.empty());
    EXPECT_FALSE(nothing.hops);
}

TEST_F(Changing, a_tunnel_follows_the_route_to_its_gateway) {
    route("20.51.0.0/29", {{"msft-pri", "203.0.113.2"}, {"msft-sec", "203.0.113.6"}});
    EXPECT_TRUE(planner_.update(std::vector{pfx("20.51.0.0/29")}).hops);
    EXPECT_EQ(planner_.plan().paths[azure_0].gateway, ip("203.0.113.2"));
    withdraw("20.51.0.0/29");
    EXPECT_TRUE(planner_.update(std::vector{pfx("20.51.0.0/29")}).hops);
    EXPECT_EQ(planner_.plan().paths[azure_0].egress, kNone);
}

TEST_F(Changing, refusals_are_told_once_and_bounded) {
    std::vector<IpPrefix> all;
    for (unsigned i = 0; i < 5000; ++i) {
        const std::string to = "10." + std::to_string(100 + i / 250) + "." + std::to_string(i % 250) + ".0/24";
        route(to, {{"msft-pri", "203.0.113.2"}});
        all.push_back(pfx(to));
    }
    const PlanChanges told = planner_.update(all);
    EXPECT_EQ(told.refused.size(), 5000u);
    EXPECT_EQ(planner_.plan().refused.size(), 4096u);
    EXPECT_TRUE(told.fib.empty());
    EXPECT_TRUE(planner_.update(std::vector{all.front()}).refused.empty());
    routes.list.clear();
    planner_.update(all);
    EXPECT_TRUE(planner_.plan().refused.empty());
}

}  // namespace
}  // namespace twinspan::test
