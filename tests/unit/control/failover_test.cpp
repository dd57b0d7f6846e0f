#include "control/failover.hpp"

#include "tests/unit/control/model/test_world.hpp"

#include <gtest/gtest.h>

#include <map>
#include <numeric>
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
        if (full || (!fib.contains(prefix) && room == 0)) {
            return std::unexpected(Error{"no room"});
        }
        room -= fib.contains(prefix) ? 0 : 1;
        inserted.push_back(result);
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
    std::vector<RouteResult> inserted;
    bool full = false;
    std::size_t room = 1000;  // for so many more prefixes
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
    std::vector<std::uint16_t> published(std::string_view destination) const {
        const auto match = longest_match(tables.fib, IpPrefix::host(ip(destination)));
        const Group group = tables.current->groups[match->second.index()];
        const auto first = tables.current->buckets.begin() + group.first_bucket;
        return {first, first + group.bucket_mask + 1};
    }
    // As the SA store says it, of all tunnels.
    bool sas_changed() {
        std::vector<std::size_t> all(world.sas.size());
        std::iota(all.begin(), all.end(), 0);
        return failover.sas_changed(all);
    }
    std::uint16_t leg_of(std::uint16_t egress) const { return tables.current->egresses[egress].leg; }
    // That exactly the buckets on `gone` went to another hop.
    void expect_moved_only_from(std::uint16_t gone, const std::vector<std::uint16_t>& before,
                                const std::vector<std::uint16_t>& now) {
        ASSERT_EQ(before.size(), now.size());
        for (std::size_t b = 0; b < before.size(); ++b) {
            EXPECT_EQ(before[b] == now[b], leg_of(before[b]) != gone) << b;
            EXPECT_NE(leg_of(now[b]), gone) << b;
        }
    }

    Metrics metrics;
    Recorder tables;
    Failover failover{world, tables, metrics};
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

// As at a start: the pool has sessions of an earlier run.
TEST_F(FailoverTest, a_links_own_pool_waits_for_the_link_after_a_start) {
    world.config.pools[0].link = Link::secondary;
    for (const bool comes : {true, false}) {
        world.ports[2] = {.mac = world.ports[2].mac, .up = false, .awaited = true};
        ASSERT_TRUE(failover.follow_configuration(true));
        EXPECT_FALSE(tables.current->legs[msft_sec].up);
        EXPECT_FALSE(tables.current->pools[0].down);
        if (comes) {
            EXPECT_TRUE(failover.port_changed(2, true));
            EXPECT_FALSE(tables.current->pools[0].down);
        }
        tables.calls.clear();
        failover.await_ports_no_longer();
        EXPECT_EQ(tables.current->pools[0].down, !comes);
        EXPECT_EQ(tables.calls.size(), comes ? 0u : 1u);
    }
}

TEST_F(FailoverTest, a_link_that_was_seen_up_is_not_waited_for) {
    world.config.pools[0].link = Link::secondary;
    world.ports[2].awaited = true;
    ASSERT_TRUE(failover.follow_configuration(true));
    EXPECT_FALSE(failover.port_changed(2, true)) << "as was thought";
    EXPECT_TRUE(failover.port_changed(2, false));
    EXPECT_TRUE(tables.current->pools[0].down);
    EXPECT_TRUE(failover.port_changed(2, true));
    EXPECT_FALSE(tables.current->pools[0].down);
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
    EXPECT_TRUE(sas_changed());
    ASSERT_NE(tables.current->inbound_sas.find(0x3001), nullptr);
    EXPECT_EQ(tables.current->inbound_sas.find(0x3001)->sa, some_sa<InboundSa>(1));
    EXPECT_NE(tables.current->inbound_sas.find(0x2003), nullptr) << "the old one lives on beside it";
    world.sas[azure_0].out = some_sa<OutboundSa>(1);
    EXPECT_TRUE(sas_changed());
    EXPECT_EQ(tables.current->tunnels[azure_0].out, some_sa<OutboundSa>(1));
    world.sas[azure_0].in.erase(world.sas[azure_0].in.begin());
    EXPECT_TRUE(sas_changed());
    EXPECT_EQ(tables.current->inbound_sas.find(0x2003), nullptr);
    EXPECT_EQ(tables.current->inbound_sas.find(0x3001)->tunnel, azure_0);
    EXPECT_EQ(tables.calls, (std::vector<std::string>{"publish", "publish", "publish"}));
    EXPECT_EQ(tables.current->buckets, before);
    EXPECT_TRUE(tables.carrier[5]);
    EXPECT_FALSE(sas_changed());
    EXPECT_EQ(tables.calls.size(), 3u);
}

// The first way to its new place leads over the same neighbour, the second is not known.
TEST_F(FailoverTest, a_peer_that_moved_is_reached_where_it_is) {
    world.sas[azure_0].encapsulation = {kNatTraversalPort, to_be16(61234)};
    world.sas[azure_0].moved_to = ip("20.51.0.6");
    EXPECT_TRUE(sas_changed());
    const Tunnel& tunnel = tables.current->tunnels[azure_0];
    EXPECT_EQ(tunnel.remote, ip("20.51.0.6"));
    EXPECT_EQ(tunnel.encapsulation.remote_port.host(), 61234);
    EXPECT_EQ(tunnel.outer[19], 6) << "the last byte of the destination";
    EXPECT_TRUE(tunnel.up);
    world.sas[azure_0].moved_to = ip("198.18.0.1");
    EXPECT_TRUE(sas_changed());
    EXPECT_FALSE(tables.current->tunnels[azure_0].up);
    EXPECT_TRUE(tables.current->tunnels[azure_1].up);
    world.sas[azure_0].moved_to.reset();
    EXPECT_TRUE(sas_changed());
    EXPECT_TRUE(tables.current->tunnels[azure_0].up);
    EXPECT_EQ(tables.current->tunnels[azure_0].remote, ip("20.51.0.4"));
}

TEST_F(FailoverTest, a_rekey_to_a_suite_of_another_size_changes_what_fits) {
    world.sas[azure_0].layout = layout_of(Suite::aes_256_cbc_hmac_sha256);
    EXPECT_TRUE(sas_changed());
    EXPECT_EQ(tables.current->tunnels[azure_0].inner_mtu, 1438);
    const auto egress = std::ranges::find(tables.current->egresses, azure_0, &Egress::tunnel);
    ASSERT_NE(egress, tables.current->egresses.end());
    EXPECT_EQ(egress->mtu, 1438);
}

TEST_F(FailoverTest, inbound_sas_are_told_with_their_own_encapsulation) {
    world.sas[azure_0].in.push_back({0x3001, some_sa<InboundSa>(1), {kNatTraversalPort, kNatTraversalPort}});
    EXPECT_TRUE(sas_changed());
    EXPECT_FALSE(tables.current->inbound_sas.find(0x2003)->encapsulation.udp());
    EXPECT_TRUE(tables.current->inbound_sas.find(0x3001)->encapsulation.udp());
}

TEST_F(FailoverTest, static_keys_that_are_worn_out_take_the_tunnel_down_by_that_name) {
    world.sas[azure_0].out = nullptr;
    world.sas[azure_0].worn_out = true;
    EXPECT_TRUE(sas_changed());
    EXPECT_FALSE(tables.current->tunnels[azure_0].up);
    EXPECT_EQ(to_string(tunnel_state(failover.current_plan(), world, azure_0)),
              "the lifetime of its static keys is used up");
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
        EXPECT_TRUE(sas_changed());
        EXPECT_EQ(tables.calls, std::vector<std::string>{"publish"});
        EXPECT_FALSE(tables.current->tunnels[azure_0].up);
        EXPECT_FALSE(tables.carrier[5]);
        EXPECT_TRUE(tables.carrier[6]);
        world.sas[azure_0] = had;
        EXPECT_TRUE(sas_changed());
        EXPECT_TRUE(tables.current->tunnels[azure_0].up);
    }
}

TEST_F(FailoverTest, a_gateway_that_fails_is_repaired_around_in_one_publication_before_routes_are_looked_at) {
    const auto before = published("13.107.6.1");
    world.kernel.neighbours.clear();  // what Linux will say when the world is read again
    neighbour("msft-sec", "203.0.113.6", mac(0xa2));
    EXPECT_TRUE(failover.neighbours_changed({{{msft_pri, ip("203.0.113.2")}, true}}));
    EXPECT_EQ(tables.calls, std::vector<std::string>{"publish"});
    expect_moved_only_from(msft_pri, before, published("13.107.6.1"));
    EXPECT_FALSE(tables.current->tunnels[azure_0].up) << "its packets went to that neighbour";
    EXPECT_TRUE(tables.current->tunnels[azure_1].up);
    EXPECT_EQ(metrics[Metric::failover_neighbour], 1u);
    EXPECT_EQ(metrics[Metric::failover_groups], 2u) << "the tunnels' too";
    const auto repaired = published("13.107.6.1");

    failover.recompile();
    EXPECT_EQ(std::ranges::count(tables.calls, "publish"), 1) << "the compile finds the repair done";
    EXPECT_EQ(published("13.107.6.1"), repaired);
    EXPECT_FALSE(failover.neighbours_changed({{{msft_pri, ip("203.0.113.2")}, true}})) << "asked for in vain again";

    neighbour("msft-pri", "203.0.113.2", mac(0xa9));
    failover.neighbours_changed({{{msft_pri, ip("203.0.113.2")}, false}});
    failover.recompile();
    EXPECT_EQ(std::ranges::count(published("13.107.6.1"), repaired[0]), 128);
    EXPECT_TRUE(tables.current->tunnels[azure_0].up);
}

TEST_F(FailoverTest, neighbours_that_no_group_can_do_without_or_nobody_uses_cost_nothing) {
    neighbour("lan", "10.10.0.7", mac(7));
    failover.recompile();
    tables.calls.clear();
    EXPECT_FALSE(failover.neighbours_changed({{{lan, ip("10.10.0.7")}, true}, {{lan, ip("10.10.0.8")}, true}}));
    EXPECT_TRUE(tables.calls.empty());
    EXPECT_TRUE(world.failed.empty());
}

TEST_F(FailoverTest, when_all_gateways_fail_linux_gets_the_packets_and_nobody_an_old_address) {
    failover.neighbours_changed({{{msft_pri, ip("203.0.113.2")}, true}, {{msft_sec, ip("203.0.113.6")}, true}});
    EXPECT_EQ(tables.calls, std::vector<std::string>{"publish"});
    for (const std::uint16_t e : published("13.107.6.1")) {
        EXPECT_EQ(tables.current->egresses[e].kind, EgressKind::glean);
    }
}

TEST_F(FailoverTest, a_drained_tunnel_gives_its_flows_to_the_other_and_its_leg_keeps_its_own) {
    const auto before = published("10.20.0.1"), clear = published("13.107.6.1");
    EXPECT_TRUE(failover.drain_tunnel(azure_0, true));
    EXPECT_EQ(tables.calls, std::vector<std::string>{"publish"});
    EXPECT_EQ(published("13.107.6.1"), clear);
    for (const std::uint16_t e : published("10.20.0.1")) {
        EXPECT_EQ(tables.current->egresses[e].tunnel, azure_1);
    }
    EXPECT_NE(tables.current->inbound_sas.find(0x2003), nullptr) << "what is under way is still taken";
    EXPECT_EQ(tunnel_state(failover.current_plan(), world, azure_0), TunnelState::drained);
    EXPECT_FALSE(failover.drain_tunnel(azure_0, true));
    EXPECT_TRUE(failover.drain_tunnel(azure_0, false));
    EXPECT_EQ(published("10.20.0.1").size(), before.size());
    EXPECT_EQ(std::ranges::count(published("10.20.0.1"), published("10.20.0.1")[0]), 128);
    EXPECT_EQ(metrics[Metric::failover_drain], 2u);
}

TEST_F(FailoverTest, both_links_cut_is_one_publication_to_the_fallback_and_one_back) {
    with_internet();
    both_private();
    neighbour("inet", "192.0.2.1", mac(0xc1));
    route("0.0.0.0/0", {{"inet", "192.0.2.1"}});
    route("10.30.0.0/16", {{"prv-pri", "172.16.0.2"}, {"prv-sec", "172.16.0.6"}});
    Recorder own;
    Failover second{world, own, metrics};
    own.current = second.first().value();
    const auto destination = [&](std::string_view address) {
        const auto match = longest_match(own.fib, IpPrefix::host(ip(address)));
        const Group group = own.current->groups[match->second.index()];
        return own.current->egresses[own.current->buckets[group.first_bucket]];
    };
    second.port_changed(1, false);
    own.calls.clear();
    second.port_changed(2, false);
    EXPECT_EQ(own.calls, std::vector<std::string>{"publish"});
    EXPECT_EQ(destination("10.30.0.1").tunnel, 2);
    EXPECT_EQ(destination("13.107.6.1").leg, 5);
    EXPECT_EQ(destination("10.20.0.1").reason, Drop::tunnel_down);
    own.calls.clear();
    second.port_changed(2, true);
    EXPECT_EQ(own.calls, std::vector<std::string>{"publish"});
    EXPECT_EQ(destination("10.30.0.1").leg, prv_sec);
}

// FRR on a longer AS path over one link: a next hop goes, the route stays.
TEST_F(FailoverTest, a_route_that_loses_one_next_hop_moves_its_flows_alone_and_takes_what_still_comes) {
    const auto before = published("13.107.6.1"), other = published("20.51.0.1");
    ASSERT_EQ(other, before) << "one group";
    withdraw("13.107.6.0/24");
    route("13.107.6.0/24", {{"msft-sec", "203.0.113.6"}});
    failover.recompile();
    EXPECT_LE(std::ranges::count(tables.calls, "publish"), 1) << "none where the neighbour's own group serves";
    EXPECT_EQ(std::ranges::count(tables.calls, "insert 13.107.6.0/24"), 1);
    EXPECT_EQ(std::ranges::count(tables.calls, "erase 13.107.6.0/24"), 0) << "never without a route in between";
    for (const std::uint16_t e : published("13.107.6.1")) {
        EXPECT_EQ(leg_of(e), msft_sec);
    }
    EXPECT_EQ(published("20.51.0.1"), other);
    EXPECT_TRUE(tables.current->legs[msft_pri].up) << "replies over the drained link are taken";
    EXPECT_TRUE(tables.current->tunnels[azure_0].up);
    EXPECT_TRUE(tables.carrier[msft_pri]);
}

TEST_F(FailoverTest, udp_encapsulation_makes_a_tunnel_smaller) {
    world.sas[azure_1].encapsulation = {to_be16(4500), to_be16(4500)};
    EXPECT_TRUE(sas_changed());
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
    EXPECT_TRUE(sas_changed());
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
    Failover another{world, small, metrics};
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

// A session may begin on an address as soon as workers have it: the way back is there first.
TEST_F(FailoverTest, a_reload_is_one_publication_behind_the_addresses_of_pools) {
    PoolConfig& pool = world.config.pools[0];
    pool.ranges.push_back({ip("198.51.100.32").v4(), ip("198.51.100.33").v4()});
    pool.timeouts.udp = 17;
    EXPECT_TRUE(failover.follow_configuration(false));
    EXPECT_EQ(tables.calls, (std::vector<std::string>{"insert 198.51.100.32/31", "publish"}));
    EXPECT_EQ(tables.current->pools[0].timeouts.udp, 17u);
    EXPECT_TRUE(tables.current->pools[0].holds(ip("198.51.100.33").v4()));
    EXPECT_EQ(tables.fib, failover.current_plan().fib);
    tables.calls.clear();
    pool.timeouts.udp = 18;  // nothing else
    EXPECT_TRUE(failover.follow_configuration(false));
    EXPECT_EQ(tables.calls, std::vector<std::string>{"publish"});
    EXPECT_EQ(tables.current->pools[0].timeouts.udp, 18u);
}

TEST_F(FailoverTest, addresses_leave_the_table_behind_the_publication) {
    world.config.pools[0].ranges = {{ip("198.51.100.0").v4(), ip("198.51.100.7").v4()}};
    EXPECT_TRUE(failover.follow_configuration(false));
    EXPECT_EQ(tables.calls,
              (std::vector<std::string>{"insert 198.51.100.0/29", "publish", "synchronize", "erase 198.51.100.0/28"}));
}

TEST_F(FailoverTest, a_reload_changes_what_is_encrypted_and_accepted) {
    split_over_microsoft("13.107.7.0/24");
    world.config.encrypt4 = {{ip("10.30.0.0").v4(), 16}};
    world.config.accept = {{Zone::microsoft_peering, {{ip("13.107.7.0").v4(), 24}}, {}}};
    EXPECT_TRUE(failover.follow_configuration(true));
    EXPECT_EQ(std::ranges::count(tables.calls, "publish"), 1);
    EXPECT_EQ(tables.fib.find(pfx("13.107.6.0/24")), std::nullopt);
    EXPECT_TRUE(tables.fib.find(pfx("13.107.7.0/24")).has_value());
    ASSERT_TRUE(tables.fib.find(pfx("10.30.0.0/16")).has_value());
    EXPECT_TRUE(tables.fib.find(pfx("10.30.0.0/16"))->must_encrypt());
    EXPECT_FALSE(tables.fib.find(pfx("10.20.0.0/16"))->must_encrypt()) << "a route through the tunnels, no more";
    EXPECT_EQ(tables.fib, failover.current_plan().fib);
}

// The daemon puts the old configuration back then.
TEST_F(FailoverTest, a_reload_says_that_a_pool_finds_no_room_and_can_be_taken_back) {
    const Config before = world.config;
    tables.full = true;
    world.config.pools[0].ranges.push_back({ip("198.51.100.32").v4(), ip("198.51.100.33").v4()});
    const auto done = failover.follow_configuration(false);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().what, "pool 198.51.100.32/31: no room in the routing table, raise 'limits'");
    tables.full = false;
    world.config = before;
    EXPECT_TRUE(failover.take_back());
    EXPECT_EQ(std::ranges::count(tables.calls, "publish"), 0);
    EXPECT_TRUE(tables.fib == failover.current_plan().fib);
    EXPECT_FALSE(tables.fib.contains(pfx("198.51.100.32/31")));
    EXPECT_FALSE(tables.current->pools[0].holds(ip("198.51.100.32").v4()));
}

TEST_F(FailoverTest, a_reload_whose_guard_finds_no_room_changes_nothing) {
    const Config before = world.config;
    const FibPlan fib = tables.fib;
    world.config.encrypt4 = {{ip("10.40.0.0").v4(), 16}, {ip("10.30.0.0").v4(), 16}};
    tables.room = 1;
    const auto done = failover.follow_configuration(true);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().what, "encrypt 10.30.0.0/16: no room in the routing table, raise 'limits'");
    world.config = before;
    EXPECT_TRUE(failover.take_back());
    EXPECT_EQ(tables.calls,
              (std::vector<std::string>{"insert 10.40.0.0/16", "insert 10.30.0.0/16", "erase 10.40.0.0/16"}));
    EXPECT_TRUE(tables.fib == fib);
}

// Until it has its own, it is treated as what it lies in, but for the clear.
TEST_F(FailoverTest, a_guard_has_its_room_before_the_publication) {
    split_over_microsoft("13.107.7.0/24");
    failover.recompile();
    tables.calls.clear();
    tables.inserted.clear();
    world.config.encrypt4.push_back({ip("13.107.7.64").v4(), 26});
    const RouteResult around = tables.fib.find(pfx("13.107.7.0/24")).value();
    EXPECT_TRUE(failover.follow_configuration(true));
    ASSERT_GE(tables.inserted.size(), 2u);
    EXPECT_EQ(tables.calls[0], "insert 13.107.7.64/26");
    EXPECT_EQ(tables.inserted[0].raw(), RouteResult(around.kind(), around.index(), true).raw());
    EXPECT_EQ(tables.calls[1], "publish");
    EXPECT_EQ(tables.fib, failover.current_plan().fib);
}

TEST_F(FailoverTest, what_is_ours_needs_no_guard) {
    world.config.encrypt4.push_back({ip("198.51.100.8").v4(), 30});  // of the pool
    EXPECT_TRUE(failover.follow_configuration(true));
    EXPECT_EQ(tables.fib, failover.current_plan().fib);
    EXPECT_FALSE(tables.fib.contains(pfx("198.51.100.8/30")));
}

}  // namespace
}  // namespace twinspan::test
