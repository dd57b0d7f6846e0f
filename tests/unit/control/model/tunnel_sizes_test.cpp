// What fits into a tunnel, by the size of its outer packets and by what stands before ESP.
#include "control/model/topology.hpp"
#include "tests/unit/control/model/test_world.hpp"

#include <gtest/gtest.h>

#include <set>
#include <utility>

namespace twinspan {
namespace {

constexpr Encapsulation kBare{};
constexpr Encapsulation kUdp{kNatTraversalPort, kNatTraversalPort};

struct Row {
    std::size_t limit;
    Suite suite;
    Encapsulation encapsulation;
    std::uint16_t inner_mtu, mss4, mss6;
};
constexpr Suite kGcm = Suite::aes_256_gcm;
constexpr Suite kCbc = Suite::aes_256_cbc_hmac_sha256;
// To a VM in a VNet (1400), and between two ends of our own (1500); 9000 and what is too small for any.
constexpr Row kRows[] = {
    {1400, kGcm, kBare, 1346, 1306, 1286},
    {1400, kGcm, kUdp, 1338, 1298, 1278},
    {1400, kCbc, kBare, 1326, 1286, 1266},
    {1400, kCbc, kUdp, 1326, 1286, 1266},
    {1500, kGcm, kBare, 1446, 1406, 1386},
    {1500, kGcm, kUdp, 1438, 1398, 1378},
    {1500, kCbc, kBare, 1438, 1398, 1378},
    {1500, kCbc, kUdp, 1422, 1382, 1362},
    {9000, kGcm, kBare, 8946, 8906, 8886},
    {9000, kGcm, kUdp, 8938, 8898, 8878},
    {64, kGcm, kBare, 10, 0, 0},
    {40, kGcm, kBare, 0, 0, 0},
    {40, kGcm, kUdp, 0, 0, 0},
};

TEST(TunnelSizesTest, FollowTheTable) {
    for (const Row& row : kRows) {
        Tunnel tunnel;
        set_encapsulation(tunnel, row.encapsulation, layout_of(row.suite), row.limit);
        EXPECT_EQ(tunnel.inner_mtu, row.inner_mtu) << row.limit << ' ' << name(row.suite);
        EXPECT_EQ(tunnel.mss4, row.mss4) << row.limit << ' ' << name(row.suite);
        EXPECT_EQ(tunnel.mss6, row.mss6) << row.limit << ' ' << name(row.suite);
    }
}

// RFC 4303 section 2 by hand: the largest inner packet whose outer one is within the limit, and one more is not.
TEST(TunnelSizesTest, OfEverySuiteAndOuterHeaderNoByteIsLeftAndNoneIsTooMany) {
    for (const SuiteInfo& suite : kSuites) {
        for (const bool v6 : {false, true}) {
            for (const Encapsulation encapsulation : {kBare, kUdp}) {
                for (std::size_t limit = 1280; limit < 1320; ++limit) {
                    Tunnel tunnel;
                    tunnel.local = v6 ? test::ip("2001:db8::1") : test::ip("203.0.113.1");
                    tunnel.remote = v6 ? test::ip("2001:db8::2") : test::ip("20.51.0.4");
                    set_encapsulation(tunnel, encapsulation, layout_of(suite.id), limit);
                    const auto outer = [&](std::size_t inner) {
                        const std::size_t padded =
                            (inner + 2 + suite.alignment - 1) / suite.alignment * suite.alignment;
                        return (v6 ? 40u : 20u) + (encapsulation.udp() ? 8u : 0u) + 8 + suite.iv_len + padded +
                               suite.icv_len;
                    };
                    ASSERT_LE(outer(tunnel.inner_mtu), limit) << suite.name;
                    ASSERT_GT(outer(tunnel.inner_mtu + 1u), limit) << suite.name;
                }
            }
        }
    }
}

TEST(DscpMaps, MicrosoftsLetsOnlyItsOwnClassesThroughAndKeepsThem) {
    const DscpMap map = microsoft_dscp_map();
    const std::set<unsigned> allowed{46, 34, 18, 10, 24, 0};
    for (unsigned dscp = 0; dscp < 64; ++dscp) {
        EXPECT_TRUE(allowed.contains(map[dscp])) << dscp;
        if (allowed.contains(dscp)) {
            EXPECT_EQ(map[dscp], dscp);
        }
    }
    const std::pair<unsigned, unsigned> rows[] = {{44, 46}, {40, 46}, {36, 34}, {32, 34}, {22, 18}, {16, 18}, {14, 10},
                                                  {26, 24}, {48, 24}, {56, 24}, {8, 0},   {1, 0},   {3, 0}};
    for (const auto& [from, to] : rows) {
        EXPECT_EQ(map[from], to) << from;
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

TEST_F(LiveEncapsulation, TheWidestSuiteThatMayBeNegotiatedCounts) {
    world.config.tunnels[azure_0].ike.emplace().suites = {{Suite::aes_256_gcm, 16}, {Suite::aes_128_cbc_hmac_sha1, 12}};
    const std::vector<Tunnel> tunnels = make_tunnels(world, make_legs(world));
    EXPECT_EQ(tunnels[azure_0].inner_mtu, 1422) << "that of CBC with 12 bytes of HMAC in 1500, over UDP";
    world.config.tunnels[azure_0].ike->suites.push_back({Suite::aes_128_cbc_hmac_sha512, 32});
    EXPECT_EQ(make_tunnels(world, make_legs(world))[azure_0].inner_mtu, 1406);
}

TEST_F(LiveEncapsulation, RulesOfTheOuterHeaderAndOfWorkersReachTheSnapshot) {
    TunnelConfig& config = world.config.tunnels[azure_1];
    config.outer = {.dscp = DscpRule::fixed,
                    .fixed_dscp = 34,
                    .ecn = EcnRule::compatibility,
                    .df = DfRule::copy,
                    .hop_limit = kCopyHopLimit,
                    .flow_label = FlowLabelRule::zero};
    config.peer_window = 1024;
    config.spread_decryption = true;
    world.config.workers.count = 4;
    world.config.tunnels[azure_0].outer.dscp = DscpRule::microsoft;
    compile();
    const Tunnel& tunnel = snapshot->tunnels[azure_1];
    EXPECT_EQ(snapshot->dscp_maps.at(tunnel.dscp_map).at(0), 34);
    EXPECT_EQ(snapshot->dscp_maps.at(tunnel.dscp_map).at(46), 34);
    EXPECT_EQ(tunnel.ecn, EcnRule::compatibility);
    EXPECT_EQ(tunnel.df, DfRule::copy);
    EXPECT_EQ(tunnel.hop_limit, kCopyHopLimit);
    EXPECT_EQ(tunnel.flow_label, FlowLabelRule::zero);
    EXPECT_EQ(tunnel.owner, kNone);
    EXPECT_TRUE(tunnel.spread);
    EXPECT_EQ(snapshot->tunnels[azure_0].owner, 0) << "its peer may have a narrow window";
    EXPECT_FALSE(snapshot->tunnels[azure_0].spread);
    EXPECT_EQ(snapshot->dscp_maps.at(snapshot->tunnels[azure_0].dscp_map), microsoft_dscp_map());
    config.peer_window = 1023;
    compile();
    EXPECT_EQ(snapshot->tunnels[azure_1].owner, 1);
    world.config.workers.count = 1;
    compile();
    EXPECT_EQ(snapshot->tunnels[azure_1].owner, kNone);
}

}  // namespace
}  // namespace twinspan
