#include "control/failover.hpp"

#include "tests/unit/control/model/test_world.hpp"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace twinspan::test {
namespace {

// Writes down what is asked of the data plane. The newest snapshot lives on, as it does there.
class Recorder : public Tables {
public:
    void publish(std::unique_ptr<const Snapshot> next) override {
        calls.push_back("publish");
        current = std::move(next);
    }
    void synchronize() override { calls.push_back("synchronize"); }
    Result<void> insert(const IpPrefix& prefix, RouteResult result) override {
        calls.push_back("insert " + prefix.text());
        if (full) {
            return std::unexpected(Error{"no room"});
        }
        fib.insert_or_assign(prefix, result);
        return {};
    }
    void erase(const IpPrefix& prefix) override {
        calls.push_back("erase " + prefix.text());
        fib.erase(prefix);
    }
    void set_carrier(std::uint16_t netdev, bool up) override { carrier[netdev] = up; }

    std::vector<std::string> calls;
    FibPlan fib;
    std::map<std::uint16_t, bool> carrier;
    std::unique_ptr<const Snapshot> current;
    bool full = false;
};

class FailoverTest : public testing::Test, public TestWorld {
protected:
    FailoverTest() {
        both_msees();
        split_over_microsoft("13.107.6.0/24");
        route("20.51.0.0/29", {{"msft-pri", "203.0.113.2"}, {"msft-sec", "203.0.113.6"}});
        through_tunnels("10.20.0.0/16");
        tables.current = failover.first().value();
        failover.announce();
        tables.calls.clear();
    }
    Recorder tables;
    Failover failover{world, tables};
};

TEST_F(FailoverTest, starts_with_routes_in_the_table_and_carriers_as_the_links_are) {
    EXPECT_EQ(tables.fib, failover.current_plan().fib);
    EXPECT_EQ(tables.carrier, (std::map<std::uint16_t, bool>{
                                  {0, true}, {1, true}, {2, true}, {3, true}, {4, true}, {5, true}, {6, true}}));
}

TEST_F(FailoverTest, a_port_that_fails_costs_one_publication_and_no_route) {
    EXPECT_TRUE(failover.port_changed(1, false));
    EXPECT_EQ(tables.calls, std::vector<std::string>{"publish"});
    EXPECT_FALSE(tables.carrier[prv_pri]);
    EXPECT_FALSE(tables.carrier[msft_pri]);
    EXPECT_FALSE(tables.carrier[5]) << "the tunnel over it";
    EXPECT_TRUE(tables.carrier[6]);
    EXPECT_FALSE(failover.port_changed(1, false));
    EXPECT_EQ(tables.calls.size(), 1u);
}

TEST_F(FailoverTest, a_drained_link_keeps_its_legs_up) {
    EXPECT_TRUE(failover.drain(Link::primary, true));
    EXPECT_EQ(tables.calls, std::vector<std::string>{"publish"});
    EXPECT_TRUE(tables.carrier[msft_pri]);
    EXPECT_FALSE(tables.carrier[5]);
    EXPECT_TRUE(failover.drain(Link::primary, false));
    EXPECT_TRUE(tables.carrier[5]);
}

TEST_F(FailoverTest, a_rekey_is_one_publication_each_way_and_moves_no_flow) {
    const std::vector<std::uint16_t> before = tables.current->buckets;
    world.sas[azure_0].in.push_back({0x3001, some_sa<InboundSa>(1)});
    EXPECT_TRUE(failover.sas_changed());
    ASSERT_NE(tables.current->inbound_sas.find(0x3001), nullptr);
    EXPECT_EQ(tables.current->inbound_sas.find(0x3001)->sa, some_sa<InboundSa>(1));
    EXPECT_NE(tables.current->inbound_sas.find(0x2003), nullptr) << "the old one lives on beside it";
    world.sas[azure_0].out = some_sa<OutboundSa>(1);
    EXPECT_TRUE(failover.sas_changed());
    EXPECT_EQ(tables.current->tunnels[azure_0].out, some_sa<OutboundSa>(1));
    world.sas[azure_0].in.erase(world.sas[azure_0].in.begin());
    EXPECT_TRUE(failover.sas_changed());
    EXPECT_EQ(tables.current->inbound_sas.find(0x2003), nullptr);
    EXPECT_EQ(tables.current->inbound_sas.find(0x3001)->tunnel, azure_0);
    EXPECT_EQ(tables.calls, (std::vector<std::string>{"publish", "publish", "publish"}));
    EXPECT_EQ(tables.current->buckets, before);
    EXPECT_TRUE(tables.carrier[5]);
    EXPECT_FALSE(failover.sas_changed());
    EXPECT_EQ(tables.calls.size(), 3u);
}

TEST_F(FailoverTest, a_tunnel_whose_sas_go_gives_its_flows_to_the_other_in_one_publication) {
    for (const bool inbound : {true, false}) {
        const TunnelSas had = world.sas[azure_0];
        tables.calls.clear();
        if (inbound) {
            world.sas[azure_0].in.clear();
        } else {
            world.sas[azure_0].out = nullptr;
        }
        EXPECT_TRUE(failover.sas_changed());
        EXPECT_EQ(tables.calls, std::vector<std::string>{"publish"});
        EXPECT_FALSE(tables.current->tunnels[azure_0].up);
        EXPECT_FALSE(tables.carrier[5]);
        EXPECT_TRUE(tables.carrier[6]);
        world.sas[azure_0] = had;
        EXPECT_TRUE(failover.sas_changed());
        EXPECT_TRUE(tables.current->tunnels[azure_0].up);
    }
}

TEST_F(FailoverTest, udp_encapsulation_makes_a_tunnel_smaller) {
    world.sas[azure_1].encapsulation = {to_be16(4500), to_be16(4500)};
    EXPECT_TRUE(failover.sas_changed());
    EXPECT_EQ(tables.calls, std::vector<std::string>{"publish"});
    EXPECT_EQ(tables.current->tunnels[azure_0].inner_mtu, 1446);
    const Tunnel& tunnel = tables.current->tunnels[azure_1];
    EXPECT_EQ(tunnel.encapsulation.remote_port, to_be16(4500));
    EXPECT_EQ(tunnel.inner_mtu, 1438);
    EXPECT_EQ(tunnel.mss4, 1398);
    EXPECT_EQ(tunnel.mss6, 1378);
    for (const Egress& egress : tables.current->egresses) {
        if (egress.kind == EgressKind::tunnel) {
            EXPECT_EQ(egress.mtu, egress.tunnel == azure_1 ? 1438 : 1446);
        }
    }
    world.sas[azure_1].encapsulation.remote_port = to_be16(30000);  // a NAT on the way chose another
    EXPECT_TRUE(failover.sas_changed());
}

TEST_F(FailoverTest, publishes_new_groups_before_their_routes_and_guards_before_the_rest) {
    withdraw("13.107.6.0/24");
    withdraw("10.20.0.0/16");
    route("10.19.0.0/16", {{"prv-pri", "172.16.0.2"}});
    route("10.20.5.0/24", {{"prv-pri", "172.16.0.2"}});
    failover.recompile();
    EXPECT_EQ(tables.calls,
              (std::vector<std::string>{"publish", "synchronize", "insert 10.20.0.0/16", "insert 10.20.5.0/24",
                                        "insert 10.19.0.0/16", "erase 13.107.6.0/24"}));
    EXPECT_EQ(tables.fib, failover.current_plan().fib);
}

TEST_F(FailoverTest, is_silent_when_nothing_changed_for_workers) {
    failover.recompile();
    EXPECT_TRUE(tables.calls.empty());
}

TEST_F(FailoverTest, does_not_start_without_room_for_the_guard_of_an_encrypted_prefix) {
    Recorder small;
    small.full = true;
    Failover another{world, small};
    const auto first = another.first();
    ASSERT_FALSE(first);
    EXPECT_TRUE(first.error().what.starts_with("encrypt 10.20.0.0/16: no room")) << first.error().what;
}

TEST_F(FailoverTest, tries_a_route_again_that_found_no_room) {
    route("40.0.0.0/16", {{"msft-pri", "203.0.113.2"}});
    tables.full = true;
    failover.recompile();
    EXPECT_FALSE(tables.fib.contains(pfx("40.0.0.0/16")));
    tables.full = false;
    failover.recompile();
    EXPECT_TRUE(tables.fib.contains(pfx("40.0.0.0/16")));
}

}  // namespace
}  // namespace twinspan::test
