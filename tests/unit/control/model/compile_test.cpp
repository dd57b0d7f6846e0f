#include "control/model/compile.hpp"

#include "tests/support/checksum.hpp"
#include "tests/unit/control/model/test_world.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>

namespace twinspan::test {
namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes rewrite(const Egress& e) { return {e.rewrite.begin(), e.rewrite.begin() + e.rewrite_length}; }

class Compile : public testing::Test, public TestWorld {};

TEST_F(Compile, classifies_addresses_pools_subnets_and_multicast) {
    compile();
    const struct {
        std::string_view destination;
        RouteKind kind;
        std::uint32_t index;
    } rows[] = {
        {"10.10.0.1", RouteKind::local, 0},
        {"203.0.113.5", RouteKind::local, 0},
        {"10.10.0.255", RouteKind::local, 0},
        {"255.255.255.255", RouteKind::local, 0},
        {"224.0.0.5", RouteKind::local, 0},
        {"ff02::1", RouteKind::local, 0},
        {"fe80::1", RouteKind::local, 0},
        {"198.51.100.0", RouteKind::pool, 0},
        {"198.51.100.15", RouteKind::pool, 0},
        {"10.10.0.77", RouteKind::connected, lan},
        {"203.0.113.6", RouteKind::connected, msft_sec},
    };
    for (const auto& row : rows) {
        EXPECT_EQ(lookup(row.destination).kind(), row.kind) << row.destination;
        EXPECT_EQ(lookup(row.destination).index(), row.index) << row.destination;
    }
    EXPECT_EQ(lookup("198.51.100.16"), RouteResult::dropped(Drop::no_route));
    EXPECT_EQ(lookup("8.8.8.8"), RouteResult::dropped(Drop::no_route));
}

TEST_F(Compile, gives_pools_their_options) {
    world.config.pools[0].inbound_refresh = false;
    world.config.pools[0].timeouts.tcp_closing = 77;
    compile();
    EXPECT_TRUE(snapshot->has_nat_options);
    EXPECT_FALSE(snapshot->pools[0].inbound_refresh);
    EXPECT_EQ(snapshot->pools[0].timeouts.tcp_closing, 77u);
}

TEST_F(Compile, keeps_static_mappings_apart_and_routes_stand_ins_to_their_pool) {
    PoolConfig& pool = world.config.pools[0];
    pool.statics = {{.outside = ip("198.51.100.5").v4(), .inside = ip("10.10.0.20").v4()},
                    {.outside = ip("198.51.100.6").v4(),
                     .inside = ip("10.10.0.21").v4(),
                     .protocol = 6,
                     .outside_port = to_be16(8080),
                     .inside_port = to_be16(80)}};
    pool.from_microsoft = {{ip("10.66.255.0").v4(), ip("10.66.255.3").v4()}};
    compile();
    const NatPool& made = snapshot->pools[0];
    EXPECT_EQ(made.address_count, 15u);
    EXPECT_FALSE(made.holds(ip("198.51.100.5").v4())) << "a whole host's";
    EXPECT_TRUE(made.holds(ip("198.51.100.4").v4()) && made.holds(ip("198.51.100.6").v4()));
    EXPECT_FALSE(made.gives(8080)) << "reserved";
    EXPECT_TRUE(made.gives(8081));
    EXPECT_NE(made.statics.from_outside(ip("198.51.100.6").v4(), 6, to_be16(8080)), nullptr);
    EXPECT_TRUE(made.stands_for_outside(ip("10.66.255.3").v4()));
    EXPECT_FALSE(made.stands_for_outside(ip("10.66.255.4").v4()));
    EXPECT_TRUE(snapshot->has_nat_options);
    for (const char* address : {"198.51.100.5", "198.51.100.6", "10.66.255.0"}) {
        EXPECT_EQ(lookup(address), (RouteResult{RouteKind::pool, 0})) << address;
    }
}

TEST_F(Compile, looks_for_no_options_where_there_are_none) {
    compile();
    EXPECT_FALSE(snapshot->has_nat_options);
}

TEST_F(Compile, writes_the_whole_rewrite_of_a_tagged_leg_and_translates_towards_microsoft) {
    both_msees();
    route("13.107.6.0/24", {{"msft-pri", "203.0.113.2"}});
    compile();
    const Egress& e = egress("13.107.6.9");
    EXPECT_EQ(e.kind, EgressKind::nat);
    EXPECT_EQ(e.pool, 0);
    EXPECT_EQ(e.zone, Zone::microsoft_peering);
    EXPECT_EQ(e.port, 1);
    EXPECT_EQ(e.leg, msft_pri);
    EXPECT_EQ(rewrite(e), (Bytes{2, 0, 0, 0, 0, 0xa1, 2, 0, 0, 0, 0, 0x11, 0x81, 0x00, 0x01, 0x2c}));
}

TEST_F(Compile, writes_untagged_and_qinq_rewrites_and_finds_their_legs) {
    LegConfig& leg = world.config.legs[prv_pri];
    leg.tag_count = 2;
    leg.tags = {VlanTag{kEtherTypeQinQ, to_be16(100)}, VlanTag{kEtherTypeVlan, to_be16(7)}};
    neighbour("lan", "10.10.0.9", mac(0xb1));
    neighbour("prv-pri", "172.16.0.2", mac(0xb2));
    compile();
    EXPECT_EQ(egress("10.10.0.9").kind, EgressKind::leg);
    EXPECT_EQ(rewrite(egress("10.10.0.9")), (Bytes{2, 0, 0, 0, 0, 0xb1, 2, 0, 0, 0, 0, 0x10}));
    EXPECT_EQ(rewrite(egress("172.16.0.2")),
              (Bytes{2, 0, 0, 0, 0, 0xb2, 2, 0, 0, 0, 0, 0x11, 0x88, 0xa8, 0, 100, 0x81, 0, 0, 7}));
    EXPECT_EQ(snapshot->ports[0].untagged, lan);
    EXPECT_EQ(snapshot->ports[1].untagged, kNone);
    EXPECT_EQ(snapshot->ports[1].tagged.at(300), msft_pri);
    EXPECT_EQ(snapshot->ports[2].tagged.at(100), prv_sec);
    ASSERT_EQ(snapshot->ports[1].qinq.size(), 1u);
    EXPECT_EQ(snapshot->ports[1].qinq[0].outer, 100);
    EXPECT_EQ(snapshot->ports[1].qinq[0].inner, 7);
    EXPECT_EQ(snapshot->ports[1].qinq[0].leg, prv_pri);
}

TEST_F(Compile, gleans_and_asks_for_a_gateway_that_is_not_resolved) {
    route("10.30.0.0/16", {{"prv-pri", "172.16.0.2"}});
    compile();
    EXPECT_EQ(egress("10.30.1.1").kind, EgressKind::glean);
    EXPECT_EQ(egress("10.30.1.1").leg, prv_pri);
    EXPECT_TRUE(std::ranges::count(planned->wanted, WantedNeighbour{prv_pri, ip("172.16.0.2")}));
    neighbour("prv-pri", "172.16.0.2", mac(1));
    compile();
    EXPECT_EQ(egress("10.30.1.1").kind, EgressKind::leg);
    EXPECT_FALSE(std::ranges::count(planned->wanted, WantedNeighbour{prv_pri, ip("172.16.0.2")}));
}

TEST_F(Compile, never_sends_untranslated_to_microsoft_when_there_is_no_pool) {
    world.config.pools.clear();
    both_msees();
    split_over_microsoft("13.107.6.0/24");
    compile();
    for (const std::uint16_t e : buckets("13.107.6.1")) {
        EXPECT_EQ(snapshot->egresses[e].kind, EgressKind::drop);
        EXPECT_EQ(snapshot->egresses[e].reason, Drop::policy_denied);
    }
}

TEST_F(Compile, routes_with_the_same_hops_share_a_group_and_weights_count) {
    both_msees();
    split_over_microsoft("13.107.6.0/24");
    route("40.126.0.0/18", {{"msft-sec", "203.0.113.6"}, {"msft-pri", "203.0.113.2"}});
    route("52.96.0.0/14", {{"msft-pri", "203.0.113.2", 3}, {"msft-sec", "203.0.113.6", 1}});
    compile();
    EXPECT_EQ(lookup("13.107.6.1"), lookup("40.126.0.1"));
    EXPECT_EQ(buckets_on("13.107.6.1", msft_pri), 128u);
    EXPECT_EQ(buckets_on("52.96.0.1", msft_pri), 192u);
}

TEST_F(Compile, takes_linux_discard_routes_and_ignores_netdevs_and_tables_of_others) {
    route("192.0.2.0/24", {}, netlink::RouteType::blackhole);
    route("192.0.3.0/24", {}, netlink::RouteType::unreachable);
    route("8.8.8.0/24", {{"eth0", "192.168.0.1"}});
    route("9.9.9.0/24", {{"prv-pri", "172.16.0.2"}});
    routes.list.back().table = 100;
    compile();
    EXPECT_EQ(lookup("192.0.2.1"), RouteResult::dropped(Drop::route_blackhole));
    EXPECT_EQ(lookup("192.0.3.1"), RouteResult::dropped(Drop::route_blackhole));
    EXPECT_EQ(lookup("8.8.8.8"), RouteResult::dropped(Drop::no_route));
    EXPECT_EQ(lookup("9.9.9.9"), RouteResult::dropped(Drop::no_route));
}

TEST_F(Compile, a_neighbour_gets_its_host_route_only_where_linux_would_send_to_it_directly) {
    neighbour("lan", "10.10.0.9", mac(1));
    neighbour("lan", "10.99.0.9", mac(2));   // not in the subnet
    neighbour("lan", "10.10.0.200", mac(3));  // behind a longer route
    neighbour("prv-pri", "10.10.0.50", mac(4));  // in another leg's subnet
    route("10.10.0.128/25", {{"prv-pri", "172.16.0.2"}});
    compile();
    EXPECT_EQ(lookup("10.10.0.9").kind(), RouteKind::forward);
    EXPECT_EQ(lookup("10.10.0.50"), RouteResult(RouteKind::connected, lan));
    EXPECT_EQ(lookup("10.99.0.9"), RouteResult::dropped(Drop::no_route));
    EXPECT_EQ(egress("10.10.0.200").leg, prv_pri);
}

TEST_F(Compile, refuses_private_and_default_routes_over_microsoft_peering) {
    for (const std::string_view prefix :
         {"0.0.0.0/0", "10.0.0.0/8", "172.16.0.0/12", "192.168.7.0/24", "128.0.0.0/1", "::/0", "fd00::/8"}) {
        TestWorld w;
        w.both_msees();
        w.route(prefix, {{"msft-pri", "203.0.113.2"}});
        w.compile();
        EXPECT_FALSE(w.planned->fib.contains(pfx(prefix))) << prefix;
        ASSERT_EQ(w.planned->refused.size(), 1u) << prefix;
        EXPECT_EQ(w.planned->refused[0].netdev, "msft-pri");
        EXPECT_TRUE(w.planned->refused[0].why.starts_with("private_or_default_route"));
    }
}

TEST_F(Compile, a_refused_hop_leaves_the_others_of_its_route) {
    both_msees();
    route("0.0.0.0/0", {{"msft-pri", "203.0.113.2"}, {"prv-sec", "172.16.0.6"}});
    compile();
    EXPECT_EQ(egress("8.8.8.8").leg, prv_sec);
    EXPECT_EQ(planned->refused.size(), 1u);
}

TEST_F(Compile, accept_bounds_every_peering_that_has_one) {
    route("10.30.0.0/16", {{"prv-pri", "172.16.0.2"}});
    route("10.31.0.0/16", {{"prv-pri", "172.16.0.2"}});
    AcceptConfig accept;
    accept.zone = Zone::private_peering;
    accept.prefixes4 = {{ip("10.30.0.0").v4(), 16}};
    world.config.accept = {accept};
    compile();
    EXPECT_EQ(lookup("10.30.0.1").kind(), RouteKind::forward);
    EXPECT_EQ(lookup("10.31.0.1").kind(), RouteKind::drop);
    ASSERT_EQ(planned->refused.size(), 1u);
    EXPECT_EQ(planned->refused[0].why, "not_accepted: outside accept of the private peering");
}

// A big and busy LAN: who finds no room is resolved by Linux, and nobody gets another's packets.
TEST_F(Compile, more_neighbours_than_egresses) {
    world.config.legs[lan].addresses4 = {{ip("10.64.0.1").v4(), 10}};
    constexpr std::uint32_t kFirst = 0x0a400002, kCount = 66'000;
    for (std::uint32_t i = 0; i < kCount; ++i) {
        const auto byte = [&](unsigned shift) { return static_cast<std::uint8_t>(i >> shift); };
        netlink::NeighbourEvent n;
        n.ifindex = ifindex("lan");
        n.address = IpAddress::from(to_be32(kFirst + i));
        n.mac = {0x02, 0, 0, byte(16), byte(8), byte(0)};
        n.usable = true;
        world.kernel.neighbours.push_back(n);
    }
    split_over_microsoft("13.107.6.0/24");
    both_msees();
    compile();
    std::uint32_t resolved = 0;
    for (std::uint32_t i = 0; i < kCount; ++i) {
        const IpPrefix host = IpPrefix::host(IpAddress::from(to_be32(kFirst + i)));
        const auto match = longest_match(planned->fib, host);
        ASSERT_TRUE(match);
        if (match->second.kind() == RouteKind::connected) {
            continue;
        }
        const Group group = snapshot->groups[match->second.index()];
        const Egress& egress = snapshot->egresses[snapshot->buckets[group.first_bucket]];
        ASSERT_EQ(egress.kind, EgressKind::leg);
        ASSERT_TRUE(std::equal(world.kernel.neighbours[i].mac.begin(), world.kernel.neighbours[i].mac.end(),
                               egress.rewrite.begin()))
            << host.text();
        ++resolved;
    }
    EXPECT_GT(resolved, 60'000u);
    EXPECT_LT(snapshot->egresses.size(), std::size_t{kNone});
    EXPECT_EQ(buckets_on("13.107.6.10", msft_pri) + buckets_on("13.107.6.10", msft_sec), buckets("13.107.6.10").size());
}

TEST_F(Compile, accept_bounds_what_a_peering_carries) {
    both_msees();
    AcceptConfig accept;
    accept.prefixes4 = {{ip("13.107.6.0").v4(), 24}};
    world.config.accept = {accept};
    split_over_microsoft("13.107.6.128/25");
    split_over_microsoft("13.107.0.0/16");
    route("203.0.113.0/30", {{"msft-pri"}});  // the leg's own subnet, as Linux lists it
    compile();
    EXPECT_EQ(lookup("13.107.6.129").kind(), RouteKind::forward);
    EXPECT_EQ(lookup("13.107.7.1"), RouteResult::dropped(Drop::no_route));
    EXPECT_EQ(planned->refused.size(), 2u);
    EXPECT_TRUE(planned->refused[0].why.starts_with("not_accepted"));
    EXPECT_EQ(lookup("203.0.113.2").kind(), RouteKind::forward);
}

TEST_F(Compile, policy_lets_nothing_in_from_microsoft_but_answers_and_tunnels) {
    compile();
    for (const Zone from : {Zone::microsoft_peering, Zone::public_peering, Zone::internet}) {
        for (std::size_t to = 0; to < kZoneCount; ++to) {
            EXPECT_FALSE(snapshot->allows(from, static_cast<Zone>(to)));
        }
    }
    EXPECT_TRUE(snapshot->allows(Zone::lan, Zone::microsoft_peering));
    EXPECT_TRUE(snapshot->allows(Zone::translated, Zone::lan));
    EXPECT_TRUE(snapshot->allows(Zone::tunnel, Zone::lan));
    EXPECT_FALSE(snapshot->allows(Zone::tunnel, Zone::microsoft_peering));
    EXPECT_FALSE(snapshot->allows(Zone::private_peering, Zone::microsoft_peering));
}

class Tunnels : public Compile {
protected:
    Tunnels() {
        both_msees();
        route("20.51.0.0/29", {{"msft-pri", "203.0.113.2"}, {"msft-sec", "203.0.113.6"}});
    }
};

TEST_F(Tunnels, have_a_plain_outer_egress_on_their_own_leg_and_a_checksummed_header) {
    through_tunnels("10.20.0.0/16");
    compile();
    const Tunnel& t = snapshot->tunnels[azure_1];
    ASSERT_TRUE(t.up);
    const Egress& outer = snapshot->egresses[t.outer_egress];
    EXPECT_EQ(outer.kind, EgressKind::leg) << "our own public address needs no translation";
    EXPECT_EQ(outer.leg, msft_sec);
    EXPECT_EQ(rewrite(outer), (Bytes{2, 0, 0, 0, 0, 0xa2, 2, 0, 0, 0, 0, 0x12, 0x81, 0x00, 0x01, 0x2c}));
    EXPECT_EQ(t.inner_mtu, 1446);
    EXPECT_EQ(t.mss4, 1406);
    EXPECT_EQ(t.mss6, 1386);
    ASSERT_EQ(t.outer_len, sizeof(Ipv4Header));
    Ipv4Header header;
    std::memcpy(&header, t.outer.data(), sizeof header);
    EXPECT_EQ(test::internet_checksum({t.outer.data(), t.outer_len}), 0);
    EXPECT_EQ(header.ttl, 64);
    EXPECT_EQ(header.protocol, 50);
    EXPECT_EQ(header.fragment, kIpv4DontFragment);
    EXPECT_EQ(buckets_in("10.20.0.10", azure_0), 128u);
    EXPECT_EQ(buckets_in("10.20.0.10", azure_1), 128u);
    EXPECT_TRUE(lookup("10.20.0.10").must_encrypt());
    const InboundSaEntry* sa = snapshot->inbound_sas.find(0x2000u + msft_sec);
    ASSERT_NE(sa, nullptr);
    EXPECT_EQ(sa->tunnel, azure_1);
}

TEST_F(Tunnels, need_sas_a_path_and_a_resolved_neighbour) {
    through_tunnels("10.20.0.0/16");
    world.sas[azure_0].out = nullptr;
    forget_neighbours("msft-sec");
    compile();
    EXPECT_EQ(tunnel_state(*planned, world, azure_0), TunnelState::no_sa);
    EXPECT_EQ(tunnel_state(*planned, world, azure_1), TunnelState::no_path);
    EXPECT_FALSE(snapshot->tunnels[azure_1].up);
    EXPECT_EQ(snapshot->tunnels[azure_1].outer_egress, kNone);
    EXPECT_EQ(egress("10.20.0.1").reason, Drop::tunnel_down);
    EXPECT_TRUE(std::ranges::count(planned->wanted, WantedNeighbour{msft_sec, ip("203.0.113.6")}));
}

TEST_F(Tunnels, an_encrypted_prefix_goes_nowhere_without_a_route_and_never_by_a_shorter_clear_one) {
    neighbour("prv-pri", "172.16.0.2", mac(9));
    route("0.0.0.0/0", {{"prv-pri", "172.16.0.2"}});
    compile();
    EXPECT_EQ(lookup("10.20.0.10"), RouteResult::dropped(Drop::tunnel_down, true));
    EXPECT_EQ(egress("10.21.0.10").leg, prv_pri);
    route("10.20.0.0/16", {{"prv-pri", "172.16.0.2"}});
    compile();
    EXPECT_EQ(lookup("10.20.0.10"), RouteResult::dropped(Drop::tunnel_down, true));
}

TEST_F(Tunnels, a_shorter_route_into_tunnels_carries_the_encrypted_prefix) {
    through_tunnels("10.0.0.0/8");
    compile();
    EXPECT_TRUE(planned->fib.contains(pfx("10.20.0.0/16")));
    EXPECT_EQ(lookup("10.20.0.10").kind(), RouteKind::forward);
    EXPECT_TRUE(lookup("10.20.0.10").must_encrypt());
    EXPECT_FALSE(lookup("10.30.0.10").must_encrypt());
}

TEST_F(Tunnels, a_longer_clear_route_keeps_the_guard_and_a_mixed_one_loses_its_clear_hops) {
    neighbour("prv-pri", "172.16.0.2", mac(9));
    route("10.20.7.0/24", {{"prv-pri", "172.16.0.2"}});
    route("10.20.8.0/24", {{"prv-pri", "172.16.0.2"}, {"azure-0"}});
    neighbour("lan", "10.20.9.9", mac(8));
    route("10.20.9.0/24", {{"lan"}});
    compile();
    EXPECT_TRUE(lookup("10.20.7.1").must_encrypt());
    EXPECT_TRUE(lookup("10.20.9.9").must_encrypt());
    EXPECT_TRUE(lookup("10.20.9.8").must_encrypt());
    EXPECT_EQ(egress("10.20.8.1").tunnel, azure_0);
}

TEST_F(Tunnels, an_address_of_ours_under_an_encrypted_prefix_stays_ours) {
    netlink::AddressEvent address;
    address.ifindex = ifindex("azure-0");
    address.prefix = pfx("10.20.255.1/30");
    world.kernel.addresses.push_back(address);
    compile();
    EXPECT_EQ(lookup("10.20.255.1").kind(), RouteKind::local);
}

class Failover : public Tunnels {
protected:
    Failover() {
        split_over_microsoft("13.107.6.0/24");
        through_tunnels("10.20.0.0/16");
        route("10.30.0.0/16", {{"prv-pri", "172.16.0.2"}, {"prv-sec", "172.16.0.6"}});
        neighbour("prv-pri", "172.16.0.2", mac(0xb1));
        neighbour("prv-sec", "172.16.0.6", mac(0xb2));
        compile();
    }
    // Which buckets differ between two tables.
    static std::size_t moved(const std::vector<std::uint16_t>& a, const std::vector<std::uint16_t>& b) {
        return std::inner_product(a.begin(), a.end(), b.begin(), std::size_t{0}, std::plus<>{}, std::not_equal_to<>{});
    }
    static constexpr std::string_view kAll[] = {"13.107.6.1", "10.20.0.1", "10.30.0.1"};
};

TEST_F(Failover, a_cut_link_gives_up_its_buckets_only_and_takes_them_back) {
    std::map<std::string_view, std::vector<std::uint16_t>> before;
    for (const auto destination : kAll) {
        before[destination] = buckets(destination);
    }
    const FibPlan fib = planned->fib;
    world.ports[1].up = false;
    repair();
    EXPECT_FALSE(snapshot->legs[msft_pri].up);
    EXPECT_TRUE(snapshot->legs[msft_sec].up);
    EXPECT_FALSE(snapshot->tunnels[azure_0].up);
    for (const auto destination : kAll) {
        EXPECT_EQ(moved(before[destination], buckets(destination)), 128u) << destination;
        EXPECT_NE(egress(destination).kind, EgressKind::drop) << destination;
    }
    EXPECT_EQ(buckets_on("13.107.6.1", msft_sec), 256u);
    EXPECT_EQ(buckets_in("10.20.0.1", azure_1), 256u);
    world.ports[1].up = true;
    repair();
    EXPECT_EQ(buckets_on("13.107.6.1", msft_pri), 128u);
    EXPECT_TRUE(snapshot->tunnels[azure_0].up);
    EXPECT_EQ(planned->fib, fib) << "a repair touches no route";
}

TEST_F(Failover, a_pool_of_one_link_goes_down_with_it_and_serves_its_legs_alone) {
    PoolConfig other = world.config.pools[0];
    world.config.pools[0].link = Link::secondary;
    other.link = Link::primary;
    other.ranges = {{ip("198.51.100.32").v4(), ip("198.51.100.33").v4()}};
    world.config.pools.push_back(other);
    compile();
    for (const Egress& e : snapshot->egresses) {
        EXPECT_TRUE(e.kind != EgressKind::nat || e.pool == (e.leg == msft_sec ? 0 : 1)) << e.leg;
    }
    EXPECT_FALSE(snapshot->pools[0].down || snapshot->pools[1].down);
    world.drained[link_index(Link::primary)] = true;
    repair();
    EXPECT_FALSE(snapshot->pools[1].down) << "a drain moves flows, and lets what is on its way come home";
    world.ports[1].up = false;
    repair();
    EXPECT_FALSE(snapshot->pools[0].down);
    EXPECT_TRUE(snapshot->pools[1].down);
    world.ports[1].up = true;
    repair();
    EXPECT_FALSE(snapshot->pools[1].down);
    world.config.pools[0].link = world.config.pools[1].link = Link::none;
    world.ports[1].up = world.ports[2].up = false;
    compile();
    EXPECT_FALSE(snapshot->pools[0].down) << "one in front of both links waits for their return";
}

TEST_F(Failover, a_link_that_returns_waits_for_its_neighbour) {
    world.ports[1].up = false;
    repair();
    forget_neighbours("msft-pri");  // as Linux does when the carrier goes
    compile();
    world.ports[1].up = true;
    repair();
    EXPECT_EQ(buckets_on("13.107.6.1", msft_sec), 256u);
    EXPECT_EQ(buckets_in("10.20.0.1", azure_1), 256u);
    EXPECT_TRUE(std::ranges::count(planned->wanted, WantedNeighbour{msft_pri, ip("203.0.113.2")}));
    neighbour("msft-pri", "203.0.113.2", mac(0xa1));
    compile();
    EXPECT_EQ(buckets_on("13.107.6.1", msft_pri), 128u);
    EXPECT_EQ(buckets_in("10.20.0.1", azure_0), 128u);
}

TEST_F(Failover, a_drained_link_moves_its_flows_and_stays_up) {
    world.drained[link_index(Link::secondary)] = true;
    repair();
    EXPECT_TRUE(snapshot->legs[msft_sec].up);
    EXPECT_EQ(buckets_on("13.107.6.1", msft_pri), 256u);
    EXPECT_EQ(buckets_in("10.20.0.1", azure_0), 256u);
    EXPECT_EQ(tunnel_state(*planned, world, azure_1), TunnelState::drained);
}

TEST_F(Failover, all_links_down_is_named_and_closed) {
    world.ports[1].up = world.ports[2].up = false;
    repair();
    EXPECT_EQ(egress("10.20.0.1").kind, EgressKind::drop);
    EXPECT_EQ(egress("10.20.0.1").reason, Drop::tunnel_down);
    EXPECT_EQ(egress("10.20.0.1").zone, Zone::tunnel);
    EXPECT_EQ(egress("13.107.6.1").reason, Drop::link_down);
    EXPECT_EQ(egress("13.107.6.1").zone, Zone::microsoft_peering);
}

TEST_F(Failover, a_route_that_loses_a_hop_keeps_the_flows_of_the_others) {
    withdraw("10.30.0.0/16");
    neighbour("lan", "10.10.0.7", mac(7));
    route("10.30.0.0/16", {{"prv-pri", "172.16.0.2"}, {"prv-sec", "172.16.0.6"}, {"lan", "10.10.0.7"}});
    compile();
    const auto before = buckets("10.30.0.1");
    const std::uint32_t group = lookup("10.30.0.1").index();
    withdraw("10.30.0.0/16");
    route("10.30.0.0/16", {{"prv-sec", "172.16.0.6"}, {"lan", "10.10.0.7"}});
    const auto on_lan = [&](const std::vector<std::uint16_t>& table, std::size_t b) {
        return snapshot->egresses[table[b]].leg == lan;
    };
    std::vector<bool> was_on_lan;
    for (std::size_t b = 0; b < before.size(); ++b) {
        was_on_lan.push_back(on_lan(before, b));
    }
    compile();
    EXPECT_NE(lookup("10.30.0.1").index(), group);
    const auto after = buckets("10.30.0.1");
    for (std::size_t b = 0; b < after.size(); ++b) {
        EXPECT_TRUE(!was_on_lan[b] || on_lan(after, b)) << b;
    }
    EXPECT_EQ(buckets_on("10.30.0.1", lan), 128u);
}

TEST_F(Failover, a_group_outlives_its_last_route_by_one_generation_and_ids_stand_still) {
    const std::uint32_t ms = lookup("13.107.6.1").index();
    const std::uint32_t prv = lookup("10.30.0.1").index();
    withdraw("10.30.0.0/16");
    compile();
    ASSERT_NE(planned->groups.key_of(prv), nullptr);
    EXPECT_NE(snapshot->groups[prv].bucket_mask, 0u) << "packets may still name it";
    route("10.31.0.0/16", {{"prv-pri", "172.16.0.2", 2}, {"prv-sec", "172.16.0.6"}});
    compile();
    EXPECT_EQ(lookup("10.31.0.1").index(), prv) << "free now, and used again";
    EXPECT_EQ(lookup("13.107.6.1").index(), ms);
}

TEST_F(Failover, compiling_again_changes_nothing) {
    const FibPlan fib = planned->fib;
    const auto before = buckets("13.107.6.1");
    compile();
    EXPECT_TRUE(changes.fib.empty());
    EXPECT_EQ(planned->fib, fib);
    EXPECT_EQ(buckets("13.107.6.1"), before);
}

}  // namespace
}  // namespace twinspan::test
