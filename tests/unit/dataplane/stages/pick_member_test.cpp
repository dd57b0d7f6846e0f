#include "dataplane/stages/pick_member.hpp"

#include "dataplane/packet/flow_hash.hpp"
#include "dataplane/packet/parse_ip.hpp"
#include "dataplane/packet/pipeline.hpp"
#include "tests/support/stage_test.hpp"

#include <functional>

namespace twinspan {
namespace {

using test::Bytes;
using test::PacketSpec;
using test::TestPacket;

static_assert(Stage<PickMember>);

struct PickMemberTest : test::StageTest {
    TestPacket& routed(RouteResult route, Zone zone = Zone::lan,
                       const PacketSpec& spec = {.src_port = 5, .dst_port = 6}) {
        TestPacket& p = parsed(test::udp_packet(spec), zone);
        p.meta().route = route.raw();
        return p;
    }
    static RouteResult to(std::uint32_t group, bool encrypt = false) { return {RouteKind::forward, group, encrypt}; }
    void expect_drop(TestPacket& p, Drop reason) {
        run(stage, {&p});
        EXPECT_TRUE(batch.empty());
        expect_dropped(p, reason);
    }
    PickMember stage;
};

TEST_F(PickMemberTest, AGroupOfOneNeedsNoHash) {
    TestPacket& p = routed(to(kLanHost));
    const Bytes before = p.bytes();
    run(stage, {&p});
    expect_kept(p);
    EXPECT_EQ(p.meta().egress, kToLanHost);
    EXPECT_EQ(p.bytes(), before);
}

TEST_F(PickMemberTest, TheHashChoosesTheBucket) {
    bool seen[2] = {};
    for (std::uint16_t port = 1; port <= 64; ++port) {
        TestPacket& p = routed(to(kMsftBoth), Zone::lan, {.src_port = port, .dst_port = 443});
        run(stage, {&p});
        const std::uint32_t hash = flow_hash(p.mbuf, p.meta());
        EXPECT_EQ(p.meta().flow_hash, hash);
        EXPECT_EQ(p.meta().egress, (hash & 1) != 0 ? kToMsftSec : kToMsftPri);
        seen[hash & 1] = true;
    }
    EXPECT_TRUE(seen[0] && seen[1]);
}

TEST_F(PickMemberTest, ATunnelIsNamed) {
    TestPacket& p = routed(to(kTunnel0Only, true));
    run(stage, {&p});
    expect_kept(p);
    EXPECT_EQ(p.meta().egress, kIntoTunnel0);
    EXPECT_EQ(p.meta().tunnel, 0);
}

TEST_F(PickMemberTest, TheTunnelThatAPacketCameFromIsRemembered) {
    TestPacket& p = routed(to(kUnresolved), Zone::tunnel);
    p.meta().tunnel = 1;
    run(stage, {&p});
    expect_kept(p);
    EXPECT_EQ(p.meta().egress, kGlean);
    EXPECT_EQ(p.meta().tunnel, 1);
}

TEST_F(PickMemberTest, WhatMustBeEncryptedTakesATunnelOrNothing) {
    for (const auto group : {kMsftPrimary, kMsftBoth, kLanHost, kUnresolved}) {
        TestPacket& p = routed(to(group, true));
        run(stage, {&p});
        EXPECT_TRUE(batch.empty());
    }
    EXPECT_EQ(drops(Drop::encrypt_required), 4u);
    EXPECT_EQ(all_drops(), 4u);
}
TEST_F(PickMemberTest, AMemberThatIsDownNamesItsReason) { expect_drop(routed(to(kAllDown, true)), Drop::tunnel_down); }
TEST_F(PickMemberTest, AGroupYoungerThanTheSnapshot) {
    expect_drop(routed(to(static_cast<std::uint32_t>(config.groups.size()))), Drop::no_route);
}
TEST_F(PickMemberTest, TheLargestGroupIndex) { expect_drop(routed(to(RouteResult::kMaxIndex)), Drop::no_route); }
TEST_F(PickMemberTest, MicrosoftMayNotStartSessions) {
    expect_drop(routed(to(kLanHost), Zone::microsoft_peering), Drop::unsolicited);
}
TEST_F(PickMemberTest, MicrosoftMayNotUseOurTunnels) {
    expect_drop(routed(to(kTunnel0Only, true), Zone::microsoft_peering), Drop::unsolicited);
}
TEST_F(PickMemberTest, InsideZonesAreDeniedByAnotherName) {
    expect_drop(routed(to(kTunnel0Only), Zone::tunnel), Drop::policy_denied);
}

struct PrivatePeeringTest : PickMemberTest {
    PrivatePeeringTest() {
        config.may_send[static_cast<std::size_t>(Zone::private_peering)] =
            1u << static_cast<unsigned>(Zone::lan) | 1u << static_cast<unsigned>(Zone::tunnel);
    }
};
TEST_F(PrivatePeeringTest, WhatShouldHaveComeThroughATunnelDoesNotPassInClear) {
    for (const auto& [src, dst] : {std::pair{"10.20.0.9", "10.10.0.10"}, std::pair{"10.23.0.9", "10.10.0.10"},
                                   std::pair{"fd10:20::9", "fd10:10::10"}}) {
        clear_lists();
        run(stage, {&routed(to(kLanHost), Zone::private_peering, {.src = src, .dst = dst})});
        EXPECT_TRUE(batch.empty()) << src;
    }
    EXPECT_EQ(drops(Drop::encrypt_required), 3u);
    EXPECT_EQ(all_drops(), 3u);
}
TEST_F(PrivatePeeringTest, WhatNeedsNoTunnelPasses) {
    TestPacket& p = routed(to(kLanHost), Zone::private_peering, {.src = "10.30.0.9", .dst = "10.10.0.10"});
    run(stage, {&p});
    expect_kept(p);
}
TEST_F(PrivatePeeringTest, TheSameSourceOutOfATunnelPasses) {
    TestPacket& p = routed(to(kLanHost), Zone::tunnel, {.src = "10.20.0.9", .dst = "10.10.0.10"});
    run(stage, {&p});
    expect_kept(p);
}

TEST_F(PickMemberTest, MartiansStay) {
    const char* const martians[] = {"0.0.0.0",   "0.255.255.255",   "127.0.0.1", "127.255.255.255",
                                    "224.0.0.1", "255.255.255.255", "::",        "::1",
                                    "fe80::1",   "febf::1",         "ff02::1"};
    for (const char* src : martians) {
        clear_lists();
        const bool v6 = std::string{src}.contains(':');
        run(stage, {&routed(to(kLanHost), Zone::lan, {.src = src, .dst = v6 ? "fd10:10::10" : "10.10.0.10"})});
        EXPECT_TRUE(batch.empty()) << src;
    }
    EXPECT_EQ(drops(Drop::martian_source), std::size(martians));
    EXPECT_EQ(all_drops(), std::size(martians));
}
TEST_F(PickMemberTest, TheirNeighboursGo) {
    for (const char* src : {"1.0.0.0", "126.255.255.255", "128.0.0.0", "223.255.255.255", "::2", "1::", "fe7f::1",
                            "fec0::1", "feff::1"}) {
        const bool v6 = std::string{src}.contains(':');
        TestPacket& p = routed(to(kLanHost), Zone::lan, {.src = src, .dst = v6 ? "fd10:10::10" : "10.10.0.10"});
        run(stage, {&p});
        expect_kept(p);
    }
}

TEST_F(PickMemberTest, PolicyIsAskedForEveryPairOfZones) {
    config.may_send = {};
    for (std::size_t from = 0; from < kZoneCount; ++from) {
        for (std::size_t to_zone = 0; to_zone < kZoneCount; ++to_zone) {
            for (const bool allowed : {false, true}) {
                config.egresses[kToLanHost].zone = static_cast<Zone>(to_zone);
                config.may_send[from] = static_cast<std::uint8_t>(allowed ? 1u << to_zone : ~(1u << to_zone));
                TestPacket& p = routed(to(kLanHost), static_cast<Zone>(from));
                run(stage, {&p});
                EXPECT_EQ(batch.size(), allowed ? 1 : 0) << from << " to " << to_zone;
                clear_lists();
            }
        }
    }
    EXPECT_EQ(drops(Drop::unsolicited), 3 * kZoneCount);
    EXPECT_EQ(drops(Drop::policy_denied), 5 * kZoneCount);
}

// Every fragment of a packet takes one way, also when only the first has ports or names the last next header.
TEST_F(PickMemberTest, FragmentsStayTogether) {
    auto bucket = [](const Bytes& packet) {
        TestPacket p{packet};
        EXPECT_TRUE(parse_ip(p.mbuf, p.meta()).kept());
        return flow_hash(p.mbuf, p.meta());
    };
    for (std::uint16_t port = 0; port < 200; ++port) {
        PacketSpec spec{.src = "10.10.0.10",
                        .dst = "10.20.0.1",
                        .src_port = port,
                        .dst_port = 443,
                        .payload = test::filler(32),
                        .fragment = 0x2000};
        const std::uint32_t first = bucket(test::udp_packet(spec));
        spec.fragment = 0x2005;
        EXPECT_EQ(bucket(test::udp_packet(spec)), first);
        spec.fragment = 0x0009;
        EXPECT_EQ(bucket(test::udp_packet(spec)), first);
    }
    const PacketSpec v6{.src = "fd10:10::10", .dst = "fd10:20::1"};
    const Bytes first{60, 0, 0, 1, 0, 0, 0, 1, 17, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0, 8, 0, 0};
    const Bytes later{60, 0, 0, 0x18, 0, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9};
    EXPECT_EQ(bucket(test::ip_packet(v6, 44, first)), bucket(test::ip_packet(v6, 44, later)));
}

struct Spread {
    const char* name;
    std::function<PacketSpec(unsigned)> flow;
    friend void PrintTo(const Spread& s, std::ostream* out) { *out << s.name; }
};
class FlowHashSpread : public testing::TestWithParam<Spread> {};

// Chi-square over 256 buckets: mean 255, standard deviation 22.6. The bound is six of those above; a hash that leaves
// half of the buckets empty is at 4096 and more.
TEST_P(FlowHashSpread, FillsAllBucketsAlike) {
    constexpr unsigned kFlows = 4096;
    std::array<unsigned, 256> count{};
    for (unsigned i = 0; i < kFlows; ++i) {
        const TestPacket p{test::udp_packet(GetParam().flow(i))};
        test::fill_meta(p.mbuf);
        ++count[flow_hash(p.mbuf, meta(p.mbuf)) & 255u];
    }
    double chi = 0;
    for (const unsigned n : count) {
        const double off = n - kFlows / 256.0;
        chi += off * off / (kFlows / 256.0);
    }
    EXPECT_LT(chi, 255 + 6 * 22.6);
}

std::uint16_t u16(unsigned v) { return static_cast<std::uint16_t>(v); }
std::string octets(unsigned i) { return std::to_string(i >> 8 & 255) + "." + std::to_string(i & 255); }

INSTANTIATE_TEST_SUITE_P(
    Flows, FlowHashSpread,
    testing::Values(
        Spread{"source ports", [](unsigned i) { return PacketSpec{.src_port = u16(32768 + i), .dst_port = 443}; }},
        Spread{"destination ports", [](unsigned i) { return PacketSpec{.src_port = 5000, .dst_port = u16(i)}; }},
        Spread{"even source ports", [](unsigned i) { return PacketSpec{.src_port = u16(2 * i), .dst_port = 443}; }},
        Spread{"high bits of the port",
               [](unsigned i) { return PacketSpec{.src_port = u16(i << 4), .dst_port = 443}; }},
        Spread{"hosts",
               [](unsigned i) { return PacketSpec{.src = "10.10." + octets(i), .src_port = 1, .dst_port = 2}; }},
        Spread{"servers",
               [](unsigned i) { return PacketSpec{.dst = "13.107." + octets(i), .src_port = 1, .dst_port = 2}; }},
        Spread{"hosts and ports",
               [](unsigned i) {
                   return PacketSpec{
                       .src = "10.10.0." + std::to_string(i % 64), .src_port = u16(40000 + i / 64), .dst_port = 443};
               }},
        Spread{"hosts of IPv6", [](unsigned i) {
                   return PacketSpec{.src = "fd10:10::" + std::to_string(i % 4096),
                                     .dst = "fd10:20::1",
                                     .src_port = 9,
                                     .dst_port = 9};
               }}));

// A NAT gateway of a client often hands out ports in pairs: flows that differ in one low bit must not share one fate.
TEST(FlowHash, OneLowPortBitMovesHalfOfTheFlows) {
    for (const unsigned bit : {0u, 1u, 2u, 7u}) {
        unsigned moved = 0;
        for (unsigned i = 0; i < 2048; ++i) {
            auto half = [&](unsigned flip) {
                const TestPacket p{test::udp_packet({.src_port = u16(i * 29 ^ flip), .dst_port = 443})};
                test::fill_meta(p.mbuf);
                return flow_hash(p.mbuf, meta(p.mbuf)) & 1;
            };
            moved += half(0) != half(1u << bit);
        }
        // Of 2048 fair coins, 1024 +- 6 * 22.6.
        EXPECT_NEAR(moved, 1024, 136) << "bit " << bit;
    }
}

}  // namespace
}  // namespace twinspan
