#include "control/model/steering.hpp"

#include "control/model/topology.hpp"
#include "tests/unit/control/model/test_world.hpp"

#include <gmock/gmock.h>

namespace twinspan {
namespace {

using test::ip;
using test::pfx;
using testing::Contains;
using testing::IsEmpty;
using testing::Not;
using testing::UnorderedElementsAre;

constexpr std::size_t kLan = 0, kPrimary = 1;

SteeredPrefix to(std::string_view prefix, SteerTo who) { return {pfx(prefix), who}; }

// The lan port is a NIC of Linux's, and its untagged leg the NIC itself.
class SteeringTest : public testing::Test {
protected:
    SteeringTest() {
        world.world.config.ports[kLan].shared = "eth0";
        world.world.config.legs[test::TestWorld::lan].netdev = "eth0";
    }
    void address(std::string_view text) {
        netlink::AddressEvent event;
        event.prefix = pfx(text);
        world.world.kernel.addresses.push_back(event);
    }
    Steering of(std::size_t port) { return steering_of(world.world, port); }
    test::TestWorld world;
};

TEST_F(SteeringTest, AnUntaggedLegGivesTunnelsPoolsAndWhatIsEncrypted) {
    const Steering s = of(kLan);
    EXPECT_THAT(s.tunnel_addresses, UnorderedElementsAre(ip("203.0.113.1").v4(), ip("203.0.113.5").v4()));
    EXPECT_THAT(s.prefixes, Contains(to("198.51.100.0/28", SteerTo::pool)));
    EXPECT_THAT(s.prefixes, Contains(to("10.20.0.0/16", SteerTo::encrypt)));
    EXPECT_THAT(s.prefixes, Contains(to("10.10.0.1/32", SteerTo::linux_host)));
    EXPECT_THAT(s.tags, IsEmpty());
}

TEST_F(SteeringTest, APortWithTaggedLegsGivesTheirTagsAlone) {
    const Steering s = of(kPrimary);
    EXPECT_THAT(s.tunnel_addresses, IsEmpty());
    EXPECT_THAT(s.prefixes, IsEmpty());
    EXPECT_THAT(s.tags, UnorderedElementsAre(SteeredTags{0x8100, 100, SteeredTags::kNone},
                                             SteeredTags{0x8100, 300, SteeredTags::kNone}));
}

TEST_F(SteeringTest, TwoTagsWithTheOuterEthertype) {
    LegConfig& leg = world.world.config.legs[test::TestWorld::prv_pri];
    leg.tag_count = 2;
    leg.tags = {VlanTag{to_be16(0x88a8), to_be16(7)}, VlanTag{to_be16(0x8100), to_be16(300)}};
    EXPECT_THAT(of(kPrimary).tags, Contains(SteeredTags{0x88a8, 7, 300}));
}

TEST_F(SteeringTest, LinuxKeepsItsOwnAddressesUnderAWideEncrypt) {
    world.world.config.encrypt4 = {{ip("10.0.0.0").v4(), 8}};
    address("10.10.0.77/24");
    const Steering s = of(kLan);
    EXPECT_THAT(s.prefixes, Contains(to("10.0.0.0/8", SteerTo::encrypt)));
    EXPECT_THAT(s.prefixes, Contains(to("10.10.0.77/32", SteerTo::linux_host)));
    EXPECT_THAT(s.prefixes, Contains(to("10.10.0.1/32", SteerTo::linux_host)));
}

TEST_F(SteeringTest, APoolAddressIsThePoolsEvenWhenLinuxHasIt) {
    address("198.51.100.3/32");
    EXPECT_THAT(of(kLan).prefixes, Not(Contains(to("198.51.100.3/32", SteerTo::linux_host))));
}

TEST_F(SteeringTest, ARangeBecomesItsPrefixes) {
    world.world.config.pools[0].ranges = {{ip("198.51.100.1").v4(), ip("198.51.100.3").v4()}};
    const Steering s = of(kLan);
    EXPECT_THAT(s.prefixes, Contains(to("198.51.100.1/32", SteerTo::pool)));
    EXPECT_THAT(s.prefixes, Contains(to("198.51.100.2/31", SteerTo::pool)));
}

TEST_F(SteeringTest, TheLegOfTheNicHasNoNetdevOfOurs) {
    const Config& config = world.world.config;
    const std::vector<Leg> legs = make_legs(world.world);
    EXPECT_EQ(legs[test::TestWorld::lan].netdev, kNone);
    EXPECT_EQ(legs[test::TestWorld::prv_pri].netdev, 0);
    const std::vector<Tunnel> tunnels = make_tunnels(world.world, legs);
    const std::vector<NetdevPlan> made = netdev_plan(config);
    ASSERT_EQ(made.size(), 6u);
    for (std::size_t i = 0; i < made.size(); ++i) {
        const Netdev& target = made[i].target;
        EXPECT_EQ(target.is_tunnel ? tunnels[target.index].netdev : legs[target.index].netdev, i) << made[i].name;
    }
    EXPECT_EQ(all_netdevs(config).size(), 7u);
    EXPECT_EQ(all_netdevs(config)[0].name, "eth0");
    world.compile();
    const Plan& compiled = *world.planned;
    EXPECT_EQ(compiled.base.netdevs.size(), 6u);
}

TEST_F(SteeringTest, NeighboursAndRoutesOfTheNicAreTheLegs) {
    // The links of TestWorld were made before the port was shared.
    world.world.kernel.links[test::TestWorld::lan].name = "eth0";
    world.neighbour("eth0", "10.10.0.9", test::mac(9));
    world.route("10.40.0.0/16", {{"eth0", "10.10.0.9"}});
    world.compile();
    const Plan& compiled = *world.planned;
    EXPECT_TRUE(compiled.egress_of.contains(HopKey{test::TestWorld::lan, kNone, ip("10.10.0.9")}));
}

}  // namespace
}  // namespace twinspan
