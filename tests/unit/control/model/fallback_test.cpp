// What carries a peering's traffic when both of its links are gone, and that nothing else changes.
#include "control/model/compile.hpp"
#include "tests/unit/control/model/test_world.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace twinspan::test {
namespace {

class Fallback : public testing::Test, public TestWorld {
protected:
    static constexpr std::uint16_t inet = 5, inet_0 = 2;
    static constexpr std::string_view kVnet = "10.30.1.1", kOffice365 = "13.107.6.1";

    Fallback() {
        with_internet();
        both_msees();
        both_private();
        neighbour("inet", "192.0.2.1", mac(0xc1));
        route("0.0.0.0/0", {{"inet", "192.0.2.1"}});
        route("10.30.0.0/16", {{"prv-pri", "172.16.0.2"}, {"prv-sec", "172.16.0.6"}});
        split_over_microsoft("13.107.6.0/24");
        split_over_microsoft("20.51.0.0/29");
        through_tunnels("10.20.0.0/16");
        compile();
    }
    void cut(bool links) {
        world.ports[1].up = world.ports[2].up = !links;
        repair();
    }
};

TEST_F(Fallback, is_not_used_while_a_link_is_left) {
    EXPECT_EQ(buckets_on(kVnet, prv_pri), 128u);
    EXPECT_EQ(buckets_on(kVnet, prv_sec), 128u);
    EXPECT_EQ(buckets_on(kOffice365, msft_pri), 128u);
    world.ports[1].up = false;
    repair();
    EXPECT_EQ(buckets_on(kVnet, prv_sec), 256u);
    EXPECT_EQ(buckets_on(kOffice365, msft_sec), 256u);
}

TEST_F(Fallback, takes_private_peering_through_the_tunnel_on_the_internet_and_gives_it_back) {
    const auto before = buckets(kVnet);
    cut(true);
    EXPECT_EQ(egress(kVnet).kind, EgressKind::tunnel);
    EXPECT_EQ(egress(kVnet).tunnel, inet_0);
    cut(false);
    EXPECT_EQ(buckets_on(kVnet, prv_pri), 128u);
    EXPECT_EQ(buckets(kVnet).size(), before.size());
}

TEST_F(Fallback, takes_microsoft_to_the_internet_with_its_pool) {
    cut(true);
    EXPECT_EQ(egress(kOffice365).kind, EgressKind::nat);
    EXPECT_EQ(egress(kOffice365).leg, inet);
    EXPECT_EQ(snapshot->pools[egress(kOffice365).pool].zone, Zone::internet);
    EXPECT_EQ(egress(kOffice365).rewrite[5], 0xc1) << "the internet leg's default gateway";
}

TEST_F(Fallback, keeps_what_is_encrypted_in_tunnels) {
    route("10.20.7.0/24", {{"prv-pri", "172.16.0.2"}});
    compile();
    for (const bool links_gone : {false, true}) {
        cut(links_gone);
        for (const std::uint16_t e : buckets("10.20.0.1")) {
            EXPECT_TRUE(snapshot->egresses[e].kind == EgressKind::tunnel || links_gone);
            EXPECT_TRUE(snapshot->egresses[e].kind == EgressKind::tunnel ||
                        snapshot->egresses[e].reason == Drop::tunnel_down);
        }
        EXPECT_TRUE(lookup("10.20.7.1").must_encrypt());
        EXPECT_NE(egress("10.20.7.1").kind, EgressKind::tunnel) << "a clear route draws nothing into another tunnel";
    }
}

TEST_F(Fallback, of_tunnels_over_private_peering_is_another_tunnel) {
    world.config.tunnels[azure_0].leg = prv_pri;
    world.config.tunnels[azure_1].leg = prv_sec;
    route("20.51.0.4/32", {{"prv-pri", "172.16.0.2"}});
    route("20.51.0.5/32", {{"prv-sec", "172.16.0.6"}});
    compile();
    EXPECT_EQ(buckets_in("10.20.0.1", azure_0), 128u);
    cut(true);
    EXPECT_EQ(egress("10.20.0.1").tunnel, inet_0);
    world.sas[inet_0].out = nullptr;
    repair();
    EXPECT_EQ(egress("10.20.0.1").reason, Drop::tunnel_down);
}

TEST_F(Fallback, of_tunnels_over_microsoft_peering_draws_nothing_clear_with_it) {
    ASSERT_EQ(world.config.fallback[1].zone, Zone::microsoft_peering);
    world.config.fallback[1].tunnels = {inet_0};
    compile();
    EXPECT_EQ(buckets_in("10.20.0.1", azure_0), 128u);
    cut(true);
    EXPECT_EQ(egress("10.20.0.1").tunnel, inet_0);
    EXPECT_EQ(egress(kOffice365).kind, EgressKind::nat) << "a public destination is not behind the tunnel";
    EXPECT_EQ(egress(kOffice365).leg, inet);
    cut(false);
    EXPECT_EQ(buckets_in("10.20.0.1", azure_0), 128u);
}

TEST_F(Fallback, waits_for_the_neighbours_of_links_that_return) {
    cut(true);
    forget_neighbours("prv-pri");
    forget_neighbours("prv-sec");
    compile();
    cut(false);
    EXPECT_EQ(egress(kVnet).tunnel, inet_0);
    neighbour("prv-sec", "172.16.0.6", mac(0xb2));
    compile();
    EXPECT_EQ(buckets_on(kVnet, prv_sec), 256u);
}

TEST_F(Fallback, is_named_as_a_drop_when_it_is_gone_too) {
    world.ports[3].up = false;
    cut(true);
    EXPECT_EQ(egress(kVnet).reason, Drop::link_down);
    EXPECT_EQ(egress(kVnet).zone, Zone::private_peering);
    EXPECT_EQ(egress(kOffice365).reason, Drop::link_down);
    EXPECT_EQ(egress(kOffice365).zone, Zone::microsoft_peering);
}

TEST_F(Fallback, follows_the_default_route_of_the_internet_leg) {
    const RouteResult route_before = lookup(kOffice365);
    withdraw("0.0.0.0/0");
    compile();
    cut(true);
    EXPECT_EQ(egress(kOffice365).kind, EgressKind::drop);
    route("0.0.0.0/0", {{"inet", "192.0.2.9"}});
    neighbour("inet", "192.0.2.9", mac(0xc9));
    compile();
    EXPECT_EQ(egress(kOffice365).rewrite[5], 0xc9);
    EXPECT_EQ(lookup(kOffice365), route_before) << "routes do not change with the default gateway";
}

TEST_F(Fallback, leaves_out_an_internet_leg_without_default_route) {
    LegConfig second = world.config.legs[inet];
    second.netdev = "inet1";
    second.tag_count = 1;
    second.tags[0] = {kEtherTypeVlan, to_be16(7)};
    second.addresses4 = {{ip("192.0.3.2").v4(), 24}};
    world.config.legs.push_back(second);
    compile();
    cut(true);
    EXPECT_EQ(buckets_on(kOffice365, static_cast<Legs>(inet)), 256u);
}

TEST_F(Fallback, never_leads_to_the_internet_without_a_pool_or_for_what_cannot_be_translated) {
    neighbour("msft-pri", "2001:db8::2", mac(0xa1));
    route("2603:1000::/24", {{"msft-pri", "2001:db8::2"}});
    compile();
    cut(true);
    EXPECT_EQ(egress("2603:1000::1").reason, Drop::link_down);
    world.config.pools.pop_back();
    compile();
    EXPECT_EQ(egress(kOffice365).reason, Drop::link_down);
}

TEST_F(Fallback, needs_nobody_else_to_be_let_through) {
    EXPECT_TRUE(snapshot->allows(Zone::lan, Zone::internet));
    EXPECT_TRUE(snapshot->allows(Zone::lan, Zone::tunnel));
    for (const Zone from : {Zone::private_peering, Zone::tunnel, Zone::microsoft_peering, Zone::public_peering}) {
        EXPECT_FALSE(snapshot->allows(from, Zone::internet));
    }
}

}  // namespace
}  // namespace twinspan::test
