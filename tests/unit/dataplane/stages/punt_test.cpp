#include "dataplane/stages/punt.hpp"

#include "dataplane/packet/pipeline.hpp"
#include "dataplane/stages/parse.hpp"
#include "tests/support/stage_test.hpp"

namespace twinspan {
namespace {

using test::Bytes;
using test::TestPacket;

static_assert(Stage<Punt> && Stage<Glean> && Stage<NoSecondTime> && Stage<DropRoute>);

struct PuntTest : test::StageTest {
    // As the graph does it: from the wire to Linux.
    void parse_and_punt(TestPacket& p) {
        batch.clear();
        batch.push(&p.mbuf);
        parse.process(ctx, batch);
        ASSERT_EQ(batch.size(), 1);
        stage.process(ctx, batch);
    }
    void expect_punted(TestPacket& p, std::uint16_t netdev, const Bytes& bytes) {
        EXPECT_TRUE(batch.empty());
        EXPECT_EQ(all(ctx.punted), Packets{&p.mbuf});
        EXPECT_EQ(p.meta().netdev, netdev);
        EXPECT_EQ(p.bytes(), bytes);
        EXPECT_EQ(p.mbuf.pkt_len, bytes.size());
        EXPECT_EQ(ctx.punt_tokens, 999u);
        EXPECT_EQ(all_drops(), 0u);
    }
    TestPacket& routed(const char* dst, RouteResult route, Zone zone, std::uint16_t egress = kGlean) {
        TestPacket& p = parsed(test::udp_packet({.src = "10.10.0.10", .dst = dst}), zone);
        p.meta().route = route.raw();
        p.meta().egress = egress;
        return p;
    }
    const Bytes ping =
        test::echo_request({.src = "203.0.113.2", .dst = "203.0.113.1", .src_port = 1, .payload = test::filler(30)});
    Parse parse;
    Punt stage;
    Glean glean;
};

TEST_F(PuntTest, UntaggedFrameAsItCame) {
    TestPacket& p = from_lan(ping);
    const Bytes frame = p.bytes();
    parse_and_punt(p);
    expect_punted(p, kLanTap, frame);
}
TEST_F(PuntTest, TheTagIsRemoved) {
    TestPacket& p = from_msee(ping);
    parse_and_punt(p);
    expect_punted(p, kMsftPriTap, test::ethernet_frame(kOurPriMac, kMsee1Mac, {}, ping));
}
TEST_F(PuntTest, TwoTagsAreRemoved) {
    Leg leg = config.legs[kPubPri];
    leg.tag_count = 2;
    leg.tags = {VlanTag{kEtherTypeQinQ, to_be16(100)}, VlanTag{kEtherTypeVlan, to_be16(200)}};
    config.ports[kPriPort].qinq.push_back({100, 200, static_cast<std::uint16_t>(config.legs.size())});
    config.legs.push_back(leg);
    TestPacket& p = packet(test::ethernet_frame(kOurPriMac, kMsee1Mac, leg.tags, ping), kPriPort);
    parse_and_punt(p);
    expect_punted(p, kPubPriTap, test::ethernet_frame(kOurPriMac, kMsee1Mac, {}, ping));
}
TEST_F(PuntTest, WhatIsNoIpKeepsItsEthertype) {
    const MacAddress everyone{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    const VlanTag tag{kEtherTypeVlan, to_be16(200)};
    auto arp = [&](std::span<const VlanTag> tags) {
        Bytes f = test::ethernet_frame(everyone, kMsee2Mac, tags, test::filler(28));
        f[f.size() - 28 - 2] = 0x08;
        f[f.size() - 28 - 1] = 0x06;
        return f;
    };
    TestPacket& p = packet(arp({&tag, 1}), kSecPort);
    parse_and_punt(p);
    expect_punted(p, kPubSecTap, arp({}));
}
TEST_F(PuntTest, AnInnerPacketGoesToItsTunnel) {
    TestPacket& p = parsed(ping, Zone::tunnel, kMsftPri);
    p.meta().tunnel = 1;
    p.meta().l2_length = 0;
    run(stage, {&p});
    expect_punted(p, kTun1, ping);
}
TEST_F(PuntTest, AHeaderIsMadeForATunnelThatOptedOut) {
    config.tunnels[1].netdev = kNone;
    const Bytes v6 = test::echo_request({.src = "fd10:20::1", .dst = "fd10:10::1"});
    for (const Bytes& inner : {ping, v6}) {
        ctx.punt_tokens = 1000;
        clear_lists();
        TestPacket& p = parsed(inner, Zone::tunnel, kMsftSec);
        p.meta().tunnel = 1;
        p.meta().l2_length = 0;
        run(stage, {&p});
        expect_punted(p, kMsftSecTap, test::ethernet_frame(kOurSecMac, {}, {}, inner));
    }
}
TEST_F(PuntTest, ATunnelIndexWithoutTheZoneMeansNothing) {
    TestPacket& p = from_lan(ping);
    const Bytes frame = p.bytes();
    batch.clear();
    batch.push(&p.mbuf);
    parse.process(ctx, batch);
    p.meta().tunnel = 0;  // it was about to enter it
    stage.process(ctx, batch);
    expect_punted(p, kLanTap, frame);
}
TEST_F(PuntTest, TokensEnd) {
    ctx.punt_tokens = 1;
    TestPacket& a = parsed(ping);
    TestPacket& b = parsed(ping);
    run(stage, {&a, &b});
    EXPECT_EQ(all(ctx.punted), Packets{&a.mbuf});
    expect_dropped(b, Drop::punt_rate_limited);
    EXPECT_EQ(ctx.punt_tokens, 0u);
}
TEST_F(PuntTest, NoNetdev) {
    config.legs[kLan].netdev = kNone;
    TestPacket& p = parsed(ping);
    run(stage, {&p});
    expect_dropped(p, Drop::kernel_refused);
    EXPECT_EQ(ctx.punt_tokens, 1000u);
}
TEST_F(PuntTest, NoLeg) {
    TestPacket& p = parsed(ping, Zone::self, kNone);
    run(stage, {&p});
    expect_dropped(p, Drop::kernel_refused);
}
TEST_F(PuntTest, NoHeadroom) {
    TestPacket& p = parsed(ping);
    p.mbuf.data_off = 13;
    run(stage, {&p});
    expect_dropped(p, Drop::no_headroom);
    EXPECT_EQ(ctx.punt_tokens, 1000u);
}

TEST_F(PuntTest, GleanShowsLinuxWhatWouldLeaveAsItIs) {
    for (const RouteResult route :
         {RouteResult{RouteKind::connected, kLan}, RouteResult{RouteKind::forward, kUnresolved}}) {
        clear_lists();
        ctx.punt_tokens = 1000;
        TestPacket& p = routed("10.10.9.9", route, Zone::lan);
        const Bytes inside = p.bytes();
        run(glean, {&p});
        expect_punted(p, kLanTap, test::ethernet_frame(kOurLanMac, kHostMac, {}, inside));
    }
}
TEST_F(PuntTest, GleanKeepsTheTunnelOfAnInnerPacket) {
    TestPacket& p = routed("10.10.0.99", {RouteKind::connected, kLan}, Zone::tunnel);
    p.meta().tunnel = 0;
    const Bytes inside = p.bytes();
    run(glean, {&p});
    expect_punted(p, kTun0, inside);
}

struct GleanRow {
    const char* name;
    RouteResult route;
    Zone from;
    Zone egress_zone;
    Drop reason;
};
TEST_F(PuntTest, GleanObeysPolicy) {
    const RouteResult forward{RouteKind::forward, kUnresolved};
    const GleanRow rows[] = {
        {"must be encrypted, connected",
         {RouteKind::connected, kLan, true},
         Zone::lan,
         Zone::lan,
         Drop::encrypt_required},
        {"must be encrypted, gateway",
         {RouteKind::forward, kUnresolved, true},
         Zone::lan,
         Zone::lan,
         Drop::encrypt_required},
        {"from Microsoft", {RouteKind::connected, kLan}, Zone::microsoft_peering, Zone::lan, Drop::unsolicited},
        {"from public", forward, Zone::public_peering, Zone::lan, Drop::unsolicited},
        {"tunnel to Microsoft", {RouteKind::connected, kMsftPri}, Zone::tunnel, Zone::lan, Drop::policy_denied},
        {"needs NAT, connected", {RouteKind::connected, kMsftPri}, Zone::lan, Zone::lan, Drop::neighbour_unresolved},
        {"needs NAT, gateway", forward, Zone::lan, Zone::microsoft_peering, Drop::neighbour_unresolved},
        {"needs NAT, public", forward, Zone::lan, Zone::public_peering, Drop::neighbour_unresolved},
        {"leg younger than the snapshot", {RouteKind::connected, 999}, Zone::lan, Zone::lan, Drop::no_route},
    };
    for (const GleanRow& row : rows) {
        SCOPED_TRACE(row.name);
        clear_lists();
        config.egresses[kGlean].zone = row.egress_zone;
        const std::uint64_t before = drops(row.reason);
        TestPacket& p = routed("10.10.9.9", row.route, row.from);
        run(glean, {&p});
        EXPECT_EQ(all(ctx.dropped), Packets{&p.mbuf});
        EXPECT_TRUE(ctx.punted.empty());
        EXPECT_EQ(drops(row.reason), before + 1);
    }
    EXPECT_EQ(all_drops(), std::size(rows));
}
TEST_F(PuntTest, GleanObeysTheRulesForSources) {
    config.may_send[static_cast<std::size_t>(Zone::private_peering)] = 1u << static_cast<unsigned>(Zone::lan);
    for (const auto& [src, zone] : {std::pair{"10.20.0.9", Zone::private_peering}, std::pair{"127.0.0.1", Zone::lan}}) {
        clear_lists();
        TestPacket& p = parsed(test::udp_packet({.src = src, .dst = "10.10.0.99"}), zone);
        p.meta().route = RouteResult{RouteKind::connected, kLan}.raw();
        run(glean, {&p});
        EXPECT_EQ(all(ctx.dropped), Packets{&p.mbuf});
    }
    EXPECT_EQ(drops(Drop::encrypt_required), 1u);
    EXPECT_EQ(drops(Drop::martian_source), 1u);
}
TEST_F(PuntTest, GleanOfOurOwnErrorsNeedsNoNat) {
    TestPacket& p = routed("203.0.113.2", {RouteKind::connected, kMsftPri}, Zone::self);
    run(glean, {&p});
    EXPECT_EQ(all(ctx.punted), Packets{&p.mbuf});
}

TEST_F(PuntTest, NoSecondTimeIsDenied) {
    NoSecondTime no;
    TestPacket& p = parsed(ping);
    run(no, {&p});
    EXPECT_TRUE(batch.empty());
    expect_dropped(p, Drop::policy_denied);
}

TEST_F(PuntTest, DropRouteTellsTheInside) {
    DropRoute drop;
    TestPacket& p = routed("8.8.8.8", RouteResult::dropped(Drop::no_route), Zone::lan);
    run(drop, {&p});
    EXPECT_EQ(all(ctx.generated), Packets{&p.mbuf});
    EXPECT_EQ(drops(Drop::no_route), 1u);
    EXPECT_EQ(p.bytes()[20], 3);
}
TEST_F(PuntTest, DropRouteTellsTheOutsideNothing) {
    DropRoute drop;
    for (const Zone zone : {Zone::microsoft_peering, Zone::public_peering, Zone::internet}) {
        run(drop, {&routed("8.8.8.8", RouteResult::dropped(Drop::no_route), zone)});
    }
    EXPECT_TRUE(ctx.generated.empty());
    EXPECT_EQ(ctx.dropped.size(), 3);
    EXPECT_EQ(drops(Drop::no_route), 3u);
}
TEST_F(PuntTest, DropRouteOfABlackholeIsSilent) {
    DropRoute drop;
    TestPacket& p = routed("192.0.2.200", RouteResult::dropped(Drop::route_blackhole), Zone::lan);
    run(drop, {&p});
    expect_dropped(p, Drop::route_blackhole);
    EXPECT_TRUE(ctx.generated.empty());
}

}  // namespace
}  // namespace twinspan
