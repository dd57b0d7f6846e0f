// What fits into a tunnel, by the size of its outer packets and by what stands before ESP.
#include "control/model/topology.hpp"
#include "tests/unit/control/model/test_world.hpp"

#include <gtest/gtest.h>

namespace twinspan {
namespace {

constexpr Encapsulation kBare{};
constexpr Encapsulation kUdp{kNatTraversalPort, kNatTraversalPort};

struct Row {
    std::size_t limit;
    Encapsulation encapsulation;
    std::uint16_t inner_mtu, mss4, mss6;
};
// AES-GCM between a VM in a VNet (1400), and between two ends of our own (1500); 9000 and what is too small for any.
constexpr Row kRows[] = {
    {1400, kBare, 1346, 1306, 1286},
    {1400, kUdp, 1338, 1298, 1278},
    {1500, kBare, 1446, 1406, 1386},
    {1500, kUdp, 1438, 1398, 1378},
    {9000, kBare, 8946, 8906, 8886},
    {9000, kUdp, 8938, 8898, 8878},
    {64, kBare, 10, 0, 0},
    {40, kBare, 0, 0, 0},
    {40, kUdp, 0, 0, 0},
};

TEST(TunnelSizesTest, FollowTheTable) {
    for (const Row& row : kRows) {
        Tunnel tunnel;
        set_encapsulation(tunnel, row.encapsulation, row.limit);
        EXPECT_EQ(tunnel.inner_mtu, row.inner_mtu) << row.limit;
        EXPECT_EQ(tunnel.mss4, row.mss4) << row.limit;
        EXPECT_EQ(tunnel.mss6, row.mss6) << row.limit;
    }
}

struct LiveEncapsulation : testing::Test, test::TestWorld {};

TEST_F(LiveEncapsulation, ChangesTheSizesWithoutANewPlan) {
    both_msees();
    split_over_microsoft("20.51.0.0/29");
    through_tunnels("10.20.0.0/16");
    compile();
    EXPECT_EQ(snapshot->tunnels[azure_0].inner_mtu, 1446);
    world.sas[azure_0].encapsulation = {to_be16(4501), to_be16(61234)};
    repair();
    EXPECT_EQ(snapshot->tunnels[azure_0].inner_mtu, 1438);
    EXPECT_EQ(snapshot->tunnels[azure_0].mss4, 1398);
    EXPECT_EQ(snapshot->tunnels[azure_0].outer_len, 28);
    EXPECT_EQ(snapshot->tunnels[azure_1].inner_mtu, 1446);
    for (const Egress& egress : snapshot->egresses) {
        if (egress.kind == EgressKind::tunnel) {
            EXPECT_EQ(egress.mtu, egress.tunnel == azure_0 ? 1438 : 1446);
        }
    }
    EXPECT_TRUE(snapshot->takes_esp(to_be16(4501)));
    EXPECT_TRUE(snapshot->takes_esp(to_be16(4500)));
    EXPECT_FALSE(snapshot->takes_esp(to_be16(61234)));
    world.sas[azure_0].encapsulation = {};
    repair();
    EXPECT_EQ(snapshot->tunnels[azure_0].inner_mtu, 1446);
    EXPECT_EQ(snapshot->tunnels[azure_0].outer_len, 20);
}

TEST_F(LiveEncapsulation, ATunnelByIkeStartsWithRoomForUdp) {
    world.config.tunnels[azure_0].ike.emplace();
    world.sas[azure_1].encapsulation = kUdp;
    const std::vector<Tunnel> tunnels = make_tunnels(world, make_legs(world));
    EXPECT_EQ(tunnels[azure_0].inner_mtu, 1438) << "IKE may find a NAT";
    EXPECT_EQ(tunnels[azure_1].inner_mtu, 1438);
}

}  // namespace
}  // namespace twinspan
