#include "dataplane/stages/punt.hpp"

#include "dataplane/packet/pipeline.hpp"
#include "dataplane/stages/parse.hpp"
#include "tests/support/stage_test.hpp"

#include <algorithm>
#include <numeric>
#include <ranges>

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
        EXPECT_EQ(tokens_taken(), 1u);
        EXPECT_EQ(all_drops(), 0u);
    }
    // Of a thousand each.
    std::uint64_t tokens_taken() const {
        return 1000 * kPuntClasses - std::accumulate(ctx.punt_tokens.begin(), ctx.punt_tokens.end(), std::uint64_t{0});
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
        ctx.punt_tokens.fill(1000);
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
    ctx.punt_tokens.fill(1);
    TestPacket& a = parsed(ping);
    TestPacket& b = parsed(ping);
    run(stage, {&a, &b});
    EXPECT_EQ(all(ctx.punted), Packets{&a.mbuf});
    expect_dropped(b, Drop::punt_rate_limited);
    EXPECT_EQ(ctx.punt_tokens[static_cast<std::size_t>(PuntClass::other)], 0u);
}
struct ClassRow {
    const char* name;
    Bytes packet;
    PuntClass kind;
};
std::vector<ClassRow> class_rows() {
    const auto udp = [](std::uint16_t dst, std::uint8_t ttl = 64, std::uint16_t src = 49152) {
        return test::udp_packet(
            {.src = "203.0.113.2", .dst = "203.0.113.1", .src_port = src, .dst_port = dst, .ttl = ttl});
    };
    const auto udp6 = [](std::uint16_t dst, std::uint8_t ttl) {
        return test::udp_packet(
            {.src = "fd10:10::2", .dst = "fd10:10::1", .src_port = 49152, .dst_port = dst, .ttl = ttl});
    };
    const auto tcp = [](std::uint16_t src, std::uint16_t dst) {
        return test::tcp_packet(
            {.src = "203.0.113.2", .dst = "203.0.113.1", .src_port = src, .dst_port = dst, .ttl = 1});
    };
    const auto icmp6 = [](std::uint8_t type, std::uint8_t ttl) {
        Bytes message(24);
        message[0] = type;
        return test::ip_packet({.src = "fd10:10::2", .dst = "fd10:10::1", .ttl = ttl}, 58, message);
    };
    Bytes later = udp(3784, 255);
    later[7] = 5;  // a later fragment: what stands there is no port
    later[10] = later[11] = 0;
    later = test::ip_packet({.src = "203.0.113.2", .dst = "203.0.113.1", .ttl = 255, .fragment = 5}, 17,
                            Bytes(later.begin() + 20, later.end()));
    return {{"BFD", udp(3784, 255), PuntClass::routing},
            {"BFD over IPv6", udp6(3784, 255), PuntClass::routing},
            {"BFD of no neighbour", udp(3784, 254), PuntClass::other},
            {"BFD of no neighbour over IPv6", udp6(3784, 254), PuntClass::other},
            {"BFD echo", udp(3785, 254), PuntClass::routing},
            {"BFD multihop", udp(4784, 60), PuntClass::routing},
            {"from a BFD port", udp(9, 255, 3784), PuntClass::other},
            {"a fragment of BFD", later, PuntClass::other},
            {"BGP, they called", tcp(40000, 179), PuntClass::routing},
            {"BGP, we called", tcp(179, 40000), PuntClass::routing},
            {"SSH", tcp(40000, 22), PuntClass::other},
            {"UDP 179", udp(179), PuntClass::other},
            {"TCP 3784", tcp(40000, 3784), PuntClass::other},
            {"IKE", udp(500), PuntClass::ike},
            {"IKE behind NAT", udp(4500), PuntClass::ike},
            {"from the port of IKE", udp(9, 64, 500), PuntClass::other},
            {"router solicitation", icmp6(133, 255), PuntClass::link},
            {"neighbour solicitation", icmp6(135, 255), PuntClass::link},
            {"redirect", icmp6(137, 255), PuntClass::link},
            {"neighbour solicitation from afar", icmp6(135, 254), PuntClass::other},
            {"echo request, IPv6", icmp6(128, 255), PuntClass::other},
            {"138", icmp6(138, 255), PuntClass::other},
            {"echo request", test::echo_request({.src = "203.0.113.2", .dst = "203.0.113.1"}), PuntClass::other},
            {"type 135 of IPv4", test::ip_packet({.ttl = 255}, 58, Bytes(24, 135)), PuntClass::other}};
}

TEST_F(PuntTest, EachClassSpendsItsOwnTokens) {
    for (const ClassRow& row : class_rows()) {
        SCOPED_TRACE(row.name);
        clear_lists();
        ctx.punt_tokens.fill(0);
        ctx.punt_tokens[static_cast<std::size_t>(row.kind)] = 1;
        TestPacket& p = parsed(row.packet);
        const Bytes before = p.bytes();
        TestPacket& q = parsed(row.packet);
        run(stage, {&p, &q});
        EXPECT_EQ(all(ctx.punted), Packets{&p.mbuf});
        EXPECT_EQ(all(ctx.dropped), Packets{&q.mbuf});
        EXPECT_EQ((p.meta().flags & meta_flag::kUrgent) != 0, row.kind != PuntClass::other);
        EXPECT_TRUE(std::ranges::equal(p.bytes() | std::views::drop(14), before)) << "not a byte is changed";
        ctx.punt_tokens.fill(0);
    }
}
TEST_F(PuntTest, EachClassHasItsOwnReason) {
    ctx.punt_tokens.fill(0);
    TestPacket& arp = parsed(ping);
    arp.meta().ip = IpVersion::none;
    run(stage, {&arp, &parsed(test::udp_packet({.dst_port = 4784})), &parsed(test::udp_packet({.dst_port = 500})),
                &parsed(ping)});
    for (const Drop reason :
         {Drop::punt_link_limited, Drop::punt_routing_limited, Drop::punt_ike_limited, Drop::punt_rate_limited}) {
        EXPECT_EQ(drops(reason), 1u) << name_of(reason);
    }
    EXPECT_EQ(all_drops(), 4u);
}
TEST_F(PuntTest, AFloodOfPingsLeavesBfdAlone) {
    ctx.punt_tokens.fill(50);
    const Bytes bfd = test::udp_packet({.dst_port = 3784, .payload = test::filler(24), .ttl = 255});
    for (unsigned i = 0; i < 50; ++i) {
        clear_lists();
        batch.clear();
        for (unsigned k = 0; k < 10; ++k) {
            batch.push(&parsed(ping).mbuf);
        }
        TestPacket& p = parsed(bfd);
        batch.push(&p.mbuf);
        stage.process(ctx, batch);
        ASSERT_EQ(std::ranges::count(ctx.punted, &p.mbuf), 1) << i;
    }
    EXPECT_EQ(drops(Drop::punt_rate_limited), 450u);
    EXPECT_EQ(all_drops(), 450u);
}
TEST_F(PuntTest, WhatOnlyLooksForANeighbourIsNeverUrgent) {
    TestPacket& p = parsed(test::udp_packet({.src = "10.10.0.10", .dst = "10.10.0.99", .dst_port = 500}));
    p.meta().route = RouteResult{RouteKind::connected, kLan}.raw();
    run(glean, {&p});
    EXPECT_EQ(all(ctx.punted), Packets{&p.mbuf});
    EXPECT_EQ(p.meta().flags & meta_flag::kUrgent, 0);
    EXPECT_EQ(ctx.punt_tokens[static_cast<std::size_t>(PuntClass::other)], 999u);
}
TEST_F(PuntTest, NoNetdev) {
    config.legs[kLan].netdev = kNone;  // the untagged leg of a shared port: Linux has had its packets
    TestPacket& p = parsed(ping);
    run(stage, {&p});
    expect_dropped(p, Drop::shared_port_kernel);
    EXPECT_EQ(tokens_taken(), 0u);
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
    EXPECT_EQ(tokens_taken(), 0u);
}

TEST_F(PuntTest, GleanShowsLinuxWhatWouldLeaveAsItIs) {
    for (const RouteResult route :
         {RouteResult{RouteKind::connected, kLan}, RouteResult{RouteKind::forward, kUnresolved}}) {
        clear_lists();
        ctx.punt_tokens.fill(1000);
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
TEST_F(PuntTest, GleanToAGatewayPastAPoolOnTheInternetNeedsNat) {
    config.legs[kLan].zone = config.egresses[kGlean].zone = Zone::internet;
    config.may_send[static_cast<std::size_t>(Zone::lan)] |= 1u << static_cast<unsigned>(Zone::internet);
    const RouteResult gateway{RouteKind::forward, kUnresolved};
    const auto is_punted = [&](const char* dst, RouteResult route) {
        clear_lists();
        run(glean, {&routed(dst, route, Zone::lan)});
        return !ctx.punted.empty();
    };
    EXPECT_TRUE(is_punted("8.8.8.8", gateway));
    config.pools.emplace_back().zone = Zone::internet;
    EXPECT_FALSE(is_punted("8.8.8.8", gateway));
    EXPECT_TRUE(is_punted("10.10.9.9", {RouteKind::connected, kLan}));  // Linux asks for it
    EXPECT_EQ(drops(Drop::neighbour_unresolved), 1u);
    EXPECT_EQ(all_drops(), 1u);
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
