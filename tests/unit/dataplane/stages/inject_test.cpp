#include "dataplane/stages/inject.hpp"

#include "dataplane/packet/pipeline.hpp"
#include "tests/support/stage_test.hpp"

namespace twinspan {
namespace {

using test::Bytes;
using test::TestPacket;

static_assert(Stage<InjectFrame> && Stage<InjectIntoTunnel>);

struct InjectTest : test::StageTest {
    TestPacket& on(std::uint16_t netdev, const Bytes& bytes) {
        TestPacket& p = packet(bytes);
        p.meta().netdev = netdev;
        return p;
    }
    static Bytes frame(const Bytes& inside, std::span<const VlanTag> tags = {}) {
        return test::ethernet_frame(kMsee1Mac, kOurPriMac, tags, inside);
    }
    static Bytes to(const char* dst) {
        const bool v6 = std::string{dst}.contains(':');
        return test::udp_packet({.src = v6 ? "fd10:10::10" : "203.0.113.1", .dst = dst, .payload = test::filler(10)});
    }
    void expect_sent(TestPacket& p, std::uint16_t port, std::uint16_t leg, const Bytes& bytes) {
        run(stage, {&p});
        EXPECT_TRUE(batch.empty());
        EXPECT_EQ(all(ctx.transmit[port]), Packets{&p.mbuf});
        EXPECT_EQ(p.bytes(), bytes);
        EXPECT_EQ(counters.leg_tx[leg].packets.read(), 1u);
        EXPECT_EQ(counters.leg_tx[leg].bytes.read(), bytes.size());
        EXPECT_EQ(all_drops(), 0u);
    }
    void expect_drop(TestPacket& p, Drop reason) {
        run(stage, {&p});
        EXPECT_TRUE(batch.empty());
        expect_dropped(p, reason);
        for (auto& list : ctx.transmit) {
            EXPECT_TRUE(list.empty());
        }
    }
    static constexpr std::array<VlanTag, 1> kTag{VlanTag{kEtherTypeVlan, to_be16(300)}};
    static constexpr std::array<VlanTag, 2> kQinQ{VlanTag{kEtherTypeQinQ, to_be16(100)},
                                                  VlanTag{kEtherTypeVlan, to_be16(200)}};
    InjectFrame stage;
    InjectIntoTunnel into;
};

TEST_F(InjectTest, UntaggedLeg) {
    expect_sent(on(kLanTap, frame(to("10.10.0.10"))), kLanPort, kLan, frame(to("10.10.0.10")));
}
TEST_F(InjectTest, TaggedLeg) {
    expect_sent(on(kMsftPriTap, frame(to("203.0.113.2"))), kPriPort, kMsftPri, frame(to("203.0.113.2"), kTag));
}
TEST_F(InjectTest, QinQLeg) {
    config.legs[kPubSec].tag_count = 2;
    config.legs[kPubSec].tags = kQinQ;
    expect_sent(on(kPubSecTap, frame(to("192.0.2.6"))), kSecPort, kPubSec, frame(to("192.0.2.6"), kQinQ));
}
TEST_F(InjectTest, WhatIsNoIpPasses) {
    Bytes arp = frame(test::filler(28));
    arp[12] = 0x08;
    arp[13] = 0x06;
    Bytes tagged = frame(test::filler(28), kTag);
    tagged[16] = 0x08;
    tagged[17] = 0x06;
    expect_sent(on(kMsftPriTap, arp), kPriPort, kMsftPri, tagged);
}
TEST_F(InjectTest, EncryptIsGuarded4) { expect_drop(on(kMsftPriTap, frame(to("10.20.0.9"))), Drop::encrypt_required); }
TEST_F(InjectTest, EncryptIsGuarded6) { expect_drop(on(kMsftPriTap, frame(to("fd10:20::9"))), Drop::encrypt_required); }
TEST_F(InjectTest, EncryptIsGuardedWhenTheTunnelsAreDown) {
    expect_drop(on(kMsftPriTap, frame(to("10.23.0.9"))), Drop::encrypt_required);
}
// Tunnel 0's gateway is itself in a prefix under encrypt.
struct InjectGatewayTest : InjectTest {
    InjectGatewayTest() { config.tunnels[0].remote = IpAddress::from(test::ip4("10.20.0.4")); }
    static test::PacketSpec ike(std::uint16_t port) {
        test::PacketSpec spec{
            .src = "203.0.113.1", .dst = "10.20.0.4", .src_port = port, .dst_port = port, .payload = Bytes(40)};
        if (port == 500) {
            spec.payload = test::filler(40);
        }
        return spec;
    }
    void expect_sent(const test::PacketSpec& spec) {
        InjectTest::expect_sent(on(kMsftPriTap, frame(test::udp_packet(spec))), kPriPort, kMsftPri,
                                frame(test::udp_packet(spec), kTag));
    }
    void expect_refused(const test::PacketSpec& spec) {
        expect_drop(on(kMsftPriTap, frame(test::udp_packet(spec))), Drop::encrypt_required);
    }
};
TEST_F(InjectGatewayTest, IkePasses) { expect_sent(ike(500)); }
TEST_F(InjectGatewayTest, IkeOnTheNatTraversalPortPasses) { expect_sent(ike(4500)); }
TEST_F(InjectGatewayTest, IkeToAPortThatANatChosePasses) {
    test::PacketSpec spec = ike(4500);
    spec.dst_port = 61234;
    expect_sent(spec);
}
TEST_F(InjectGatewayTest, IkeBehindIpOptionsPasses) {
    test::PacketSpec spec = ike(4500);
    spec.ip_options = Bytes(8, 1);
    expect_sent(spec);
}
TEST_F(InjectGatewayTest, IkeOverIpv6Passes) {
    between(0, "fd10:10::1", "fd10:20::4");
    for (const std::uint16_t port : std::array<std::uint16_t, 2>{500, 4500}) {
        clear_lists();
        batch.clear();
        test::PacketSpec spec = ike(port);
        spec.src = "fd10:10::1";
        spec.dst = "fd10:20::4";
        TestPacket& p = on(kMsftPriTap, frame(test::udp_packet(spec)));
        run(stage, {&p});
        EXPECT_EQ(all(ctx.transmit[kPriPort]), Packets{&p.mbuf}) << port;
    }
    EXPECT_EQ(all_drops(), 0u);
    clear_lists();
    test::PacketSpec other = ike(500);
    other.src = "fd10:10::2";
    other.dst = "fd10:20::4";
    expect_refused(other);
}
TEST_F(InjectGatewayTest, AKeepalivePasses) {
    test::PacketSpec spec = ike(4500);
    spec.payload = {0xff};
    expect_sent(spec);
}
TEST_F(InjectGatewayTest, EspInUdpOfLinuxsMakingDoesNot) {
    test::PacketSpec spec = ike(4500);
    spec.payload[3] = 1;
    expect_refused(spec);
}
TEST_F(InjectGatewayTest, EspOfLinuxsMakingDoesNot) {
    expect_drop(on(kMsftPriTap, frame(test::ip_packet({.src = "203.0.113.1", .dst = "10.20.0.4"}, +IpProtocol::esp,
                                                      test::filler(60)))),
                Drop::encrypt_required);
}
TEST_F(InjectGatewayTest, OtherPortsDoNot) {
    test::PacketSpec spec = ike(500);
    spec.src_port = 501;
    expect_refused(spec);
}
TEST_F(InjectGatewayTest, PortsOfAnotherProtocolDoNot) {
    expect_drop(on(kMsftPriTap, frame(test::tcp_packet(ike(500)))), Drop::encrypt_required);
}
TEST_F(InjectGatewayTest, FragmentsDoNot) {
    for (const unsigned field : {0x2000u, 0x2005u, 0x0005u}) {
        test::PacketSpec spec = ike(500);
        spec.fragment = static_cast<std::uint16_t>(field);
        run(stage, {&on(kMsftPriTap, frame(test::udp_packet(spec)))});
    }
    EXPECT_EQ(drops(Drop::encrypt_required), 3u);
    EXPECT_EQ(all_drops(), 3u);
}
TEST_F(InjectGatewayTest, NothingBehindThePortsDoesNot) {
    for (const unsigned port : {500u, 4500u}) {
        test::PacketSpec spec = ike(static_cast<std::uint16_t>(port));
        spec.payload = {};
        run(stage, {&on(kMsftPriTap, frame(test::udp_packet(spec)))});
        spec.payload = Bytes(port == 500 ? 0 : 3);
        run(stage, {&on(kMsftPriTap, frame(test::udp_packet(spec)))});
    }
    EXPECT_EQ(drops(Drop::encrypt_required), 4u);
    EXPECT_EQ(all_drops(), 4u);
}
TEST_F(InjectGatewayTest, AnotherSourceOrAnotherHostBesideTheGatewayDoesNot) {
    test::PacketSpec spec = ike(500);
    spec.src = "203.0.113.5";  // the other tunnel's end
    run(stage, {&on(kMsftPriTap, frame(test::udp_packet(spec)))});
    spec = ike(500);
    spec.dst = "10.20.0.5";
    run(stage, {&on(kMsftPriTap, frame(test::udp_packet(spec)))});
    EXPECT_EQ(drops(Drop::encrypt_required), 2u);
    EXPECT_EQ(all_drops(), 2u);
}
TEST_F(InjectGatewayTest, AHeaderThatLiesDoesNot) {
    Bytes bytes = frame(test::udp_packet(ike(500)));
    bytes[14] = 0x4f;  // 60 bytes of header, all there are
    run(stage, {&on(kMsftPriTap, bytes)});
    bytes[14] = 0x41;
    run(stage, {&on(kMsftPriTap, bytes)});
    EXPECT_EQ(drops(Drop::encrypt_required), 2u);
}
TEST_F(InjectTest, WithoutEncryptTheGatewayIsLikeAnyOther) {
    expect_sent(on(kMsftPriTap, frame(to("20.51.0.4"))), kPriPort, kMsftPri, frame(to("20.51.0.4"), kTag));
}
TEST_F(InjectTest, TheGuardIsNotFooledByTags) {
    expect_drop(on(kMsftPriTap, frame(to("10.20.0.9"), kTag)), Drop::inject_bad_packet);
}
TEST_F(InjectTest, TheGuardIsNotFooledByOuterTags) {
    expect_drop(on(kMsftPriTap, frame(to("10.20.0.9"), kQinQ)), Drop::inject_bad_packet);
}
TEST_F(InjectTest, Plain6Passes) {
    expect_sent(on(kLanTap, frame(to("fd10:10::9"))), kLanPort, kLan, frame(to("fd10:10::9")));
}
TEST_F(InjectTest, LegDown) {
    config.legs[kMsftPri].up = false;
    expect_drop(on(kMsftPriTap, frame(to("203.0.113.2"))), Drop::link_down);
}
TEST_F(InjectTest, ShorterThanAHeader) { expect_drop(on(kMsftPriTap, Bytes(13)), Drop::inject_bad_packet); }
TEST_F(InjectTest, TooShortToJudge) {
    for (const auto& [dst, bytes] : {std::pair{"10.10.0.10", 14}, std::pair{"10.10.0.10", 14 + 19},
                                     std::pair{"fd10:10::9", 14}, std::pair{"fd10:10::9", 14 + 39}}) {
        clear_lists();
        Bytes cut = frame(to(dst));
        cut.resize(static_cast<std::size_t>(bytes));
        run(stage, {&on(kLanTap, cut)});
        EXPECT_TRUE(ctx.transmit[kLanPort].empty()) << dst << " " << bytes;
    }
    EXPECT_EQ(drops(Drop::inject_bad_packet), 4u);
}
TEST_F(InjectTest, WhatCouldHideIpIsNotSent) {
    Bytes mpls = frame(to("10.20.0.9"));
    mpls[12] = 0x88;
    mpls[13] = 0x47;
    expect_drop(on(kMsftPriTap, mpls), Drop::inject_bad_packet);
}
// What Linux forwards has another's source; NAT never saw it.
TEST_F(InjectTest, OnlyOurOwnLeaveUntranslated) {
    for (const auto& [netdev, src, dst] :
         {std::tuple{kMsftPriTap, "10.10.0.10", "13.107.6.1"}, std::tuple{kPubSecTap, "10.10.0.10", "192.0.2.6"},
          std::tuple{kMsftPriTap, "fd10:10::10", "2001:db8::1"}}) {
        clear_lists();
        run(stage, {&on(netdev, frame(test::udp_packet({.src = src, .dst = dst})))});
        EXPECT_TRUE(ctx.transmit[kPriPort].empty() && ctx.transmit[kSecPort].empty()) << src;
    }
    EXPECT_EQ(drops(Drop::policy_denied), 3u);
    EXPECT_EQ(all_drops(), 3u);
}
TEST_F(InjectTest, OnlyOurOwnLeavePastAPoolOnTheInternet) {
    config.legs[kLan].zone = Zone::internet;
    const auto leaves = [&](const char* src, const char* dst) {
        clear_lists();
        run(stage, {&on(kLanTap, frame(test::udp_packet({.src = src, .dst = dst})))});
        return !ctx.transmit[kLanPort].empty();
    };
    EXPECT_TRUE(leaves("10.30.0.1", "8.8.8.8"));  // without a pool the site's addresses are good ones
    config.pools.emplace_back().zone = Zone::internet;
    EXPECT_FALSE(leaves("10.30.0.1", "8.8.8.8"));
    EXPECT_TRUE(leaves("203.0.113.1", "8.8.8.8"));
    EXPECT_TRUE(leaves("fd10:30::1", "2001:db8::1"));  // pools are of IPv4
    EXPECT_EQ(drops(Drop::policy_denied), 1u);
    EXPECT_EQ(all_drops(), 1u);
}
TEST_F(InjectTest, ForwardedToTheLanIsFine) {
    const Bytes forwarded = frame(test::udp_packet({.src = "10.30.0.1", .dst = "10.10.0.10"}));
    expect_sent(on(kLanTap, forwarded), kLanPort, kLan, forwarded);
}
TEST_F(InjectTest, BeforeTheFirstAddress) {
    const Bytes solicitation = frame(test::udp_packet({.src = "::", .dst = "ff02::1:ff00:1"}));
    run(stage, {&on(kMsftPriTap, solicitation)});
    EXPECT_EQ(ctx.transmit[kPriPort].size(), 1);
}
TEST_F(InjectTest, NoHeadroom) {
    TestPacket& p = on(kMsftPriTap, frame(to("203.0.113.2")));
    p.mbuf.data_off = 3;
    std::ranges::copy(frame(to("203.0.113.2")), rte_pktmbuf_mtod(&p.mbuf, std::uint8_t*));
    expect_drop(p, Drop::no_headroom);
}
TEST_F(InjectTest, SomePassAndSomeDoNot) {
    TestPacket& a = on(kMsftPriTap, frame(to("203.0.113.2")));
    TestPacket& bad = on(kMsftPriTap, frame(to("10.20.0.9")));
    TestPacket& b = on(kLanTap, frame(to("10.10.0.10")));
    run(stage, {&a, &bad, &b});
    EXPECT_EQ(all(ctx.transmit[kPriPort]), Packets{&a.mbuf});
    EXPECT_EQ(all(ctx.transmit[kLanPort]), Packets{&b.mbuf});
    expect_dropped(bad, Drop::encrypt_required);
}

TEST_F(InjectTest, IntoItsTunnel) {
    for (const char* dst : {"10.20.0.9", "fd10:20::9"}) {
        TestPacket& p = on(kTun1, to(dst));
        p.meta().flags = 0xff;
        run(into, {&p});
        expect_kept(p);
        EXPECT_EQ(p.bytes(), to(dst));
        EXPECT_EQ(p.meta().tunnel, 1);
        EXPECT_EQ(p.meta().zone, Zone::self);
        EXPECT_EQ(p.meta().flags, meta_flag::kInjected);
        EXPECT_EQ(p.meta().rx_leg, kNone);
        EXPECT_EQ(p.meta().l3_length, to(dst).size());
    }
}
TEST_F(InjectTest, IntoATunnelUpToItsMtu) {
    auto sized = [](std::size_t bytes) {
        return test::udp_packet({.dst = "10.20.0.9", .payload = test::filler(bytes - 28)});
    };
    TestPacket& fits = on(kTun0, sized(1446));
    TestPacket& too_long = on(kTun0, sized(1447));
    run(into, {&too_long, &fits});
    EXPECT_EQ(all(batch), Packets{&fits.mbuf});
    expect_dropped(too_long, Drop::too_big);
}
TEST_F(InjectTest, IntoATunnelThatIsDown) {
    config.tunnels[0].up = false;
    TestPacket& p = on(kTun0, to("10.20.0.9"));
    run(into, {&p});
    expect_dropped(p, Drop::tunnel_down);
}
TEST_F(InjectTest, IntoATunnelOnlyIp) {
    for (const Bytes& bad : {Bytes{}, test::filler(60), Bytes(19, 0x45)}) {
        clear_lists();
        run(into, {&on(kTun0, bad)});
        EXPECT_TRUE(batch.empty());
    }
    EXPECT_EQ(drops(Drop::inject_bad_packet), 3u);
    EXPECT_EQ(all_drops(), 3u);
}

}  // namespace
}  // namespace twinspan
