#include "dataplane/graph.hpp"

#include "tests/support/graph_world.hpp"

#include <gtest/gtest.h>

namespace twinspan {
namespace {

using test::Bytes;
using test::PacketSpec;
using test::TestPacket;

static_assert(Stage<graph::FromWire> && Stage<graph::FromLinux> && Stage<graph::FromSelf>);

struct GraphTest : testing::Test, test::GraphWorld {
    static constexpr std::array<VlanTag, 1> kTag{VlanTag{kEtherTypeVlan, to_be16(300)}};

    // The walk's packets ended once each, and this one left by this port.
    void expect_sent(TestPacket& p, std::uint16_t port) {
        EXPECT_EQ(std::ranges::count(ctx.transmit[port], &p.mbuf), 1);
        EXPECT_EQ(counters.tx.read(), 1u);
        EXPECT_EQ(all_drops(), 0u);
        check(p);
    }
    void expect_dropped(TestPacket& p, Drop reason) {
        EXPECT_EQ(drops(reason), 1u) << name_of(reason);
        EXPECT_EQ(all_drops(), 1u);
        EXPECT_EQ(counters.generated.read(), 0u);
        check(p);
    }
    void expect_punted(TestPacket& p, std::uint16_t netdev, const Bytes& bytes) {
        EXPECT_EQ(std::ranges::count(ctx.punted, &p.mbuf), 1);
        EXPECT_EQ(p.meta().netdev, netdev);
        EXPECT_EQ(p.bytes(), bytes);
        EXPECT_EQ(all_drops(), 0u);
        check(p);
    }
    void check(TestPacket& p) {
        rte_mbuf* one = &p.mbuf;
        EXPECT_TRUE(ended_once({&one, 1}));
        EXPECT_TRUE(accounts_are_right());
    }
    static Bytes without_link(const Bytes& frame, std::size_t link) {
        return {frame.begin() + static_cast<std::ptrdiff_t>(link), frame.end()};
    }
    // What the far end of tunnel 0 finds in a frame that left by the primary link.
    Bytes at_peer(const Bytes& frame) {
        EXPECT_EQ(Bytes(frame.begin(), frame.begin() + 18), Bytes(outer_link.begin(), outer_link.begin() + 18));
        Bytes esp(frame.begin() + 18 + 20, frame.end());
        const std::uint64_t seq = peer_in0->sequence_of(esp.data());
        const Opened got = peer_in0->open_in_place(engine, seq, esp.data(), esp.size());
        EXPECT_EQ(got.status, OpenStatus::ok);
        return {esp.begin() + kEspPayloadOffset,
                esp.begin() + static_cast<std::ptrdiff_t>(kEspPayloadOffset + got.payload_len)};
    }
    const Bytes outer_link = test::ethernet_frame(kMsee1Mac, kOurPriMac, kTag, Bytes{0x45});
};

TEST_F(GraphTest, LanToTunnel) {
    for (const bool v6 : {false, true}) {
        PacketSpec spec{.src = "10.10.0.10",
                        .dst = "10.20.1.2",
                        .src_port = 1000,
                        .dst_port = 2000,
                        .payload = test::filler(300),
                        .ttl = 64};
        if (v6) {
            spec.src = "fd10:10::10";
            spec.dst = "fd10:20::2";
        }
        TestPacket& p = from_lan(test::udp_packet(spec));
        from_wire({&p});
        spec.ttl = 63;
        EXPECT_EQ(at_peer(p.bytes()), test::udp_packet(spec));
        EXPECT_EQ(std::ranges::count(ctx.transmit[kPriPort], &p.mbuf), 1);
        check(p);
    }
    EXPECT_EQ(all_drops(), 0u);
}

TEST_F(GraphTest, ASynIntoATunnelIsClamped) {
    PacketSpec spec{.src = "10.10.0.10",
                    .dst = "10.20.1.2",
                    .src_port = 1,
                    .dst_port = 2,
                    .tcp_flags = kTcpSyn,
                    .tcp_options = {2, 4, 0x05, 0xb4}};
    TestPacket& p = from_lan(test::tcp_packet(spec));
    from_wire({&p});
    spec.ttl = 63;
    spec.tcp_options = {2, 4, 0x05, 0x7e};  // 1406
    EXPECT_EQ(at_peer(p.bytes()), test::tcp_packet(spec));
    expect_sent(p, kPriPort);
}

TEST_F(GraphTest, TunnelToLan) {
    PacketSpec spec{.src = "10.20.1.2", .dst = "10.10.0.10", .src_port = 1, .dst_port = 2, .payload = test::filler(99)};
    TestPacket& p = from_msee(from_peer(test::udp_packet(spec)));
    from_wire({&p});
    spec.ttl = 63;
    EXPECT_EQ(p.bytes(), test::ethernet_frame(kHostMac, kOurLanMac, {}, test::udp_packet(spec)));
    expect_sent(p, kLanPort);
}

TEST_F(GraphTest, TunnelToLan6AndClamped) {
    PacketSpec spec{.src = "fd10:20::2",
                    .dst = "fd10:10::10",
                    .src_port = 1,
                    .dst_port = 2,
                    .tcp_flags = kTcpSyn | kTcpAck,
                    .tcp_options = {2, 4, 0x23, 0}};
    TestPacket& p = from_msee(from_peer(test::tcp_packet(spec)));
    from_wire({&p});
    spec.ttl = 63;
    spec.tcp_options = {2, 4, 0x05, 0x6a};  // 1386
    EXPECT_EQ(p.bytes(), test::ethernet_frame(kHostMac, kOurLanMac, {}, test::tcp_packet(spec)));
    expect_sent(p, kLanPort);
}

TEST_F(GraphTest, TunnelToTunnelIsDenied) {
    TestPacket& p = from_msee(from_peer(test::udp_packet({.src = "10.20.1.2", .dst = "10.21.0.1"})));
    from_wire({&p});
    expect_dropped(p, Drop::policy_denied);
}

TEST_F(GraphTest, TunnelToAPoolAddressIsDenied) {
    TestPacket& p = from_msee(from_peer(test::udp_packet({.src = "10.20.1.2", .dst = "198.51.100.3"})));
    from_wire({&p});
    expect_dropped(p, Drop::policy_denied);
}

TEST_F(GraphTest, TunnelToUsIsPuntedOnTheTunnelsNetdev) {
    const Bytes ping = test::echo_request({.src = "10.20.1.2", .dst = "10.10.0.1", .src_port = 9});
    TestPacket& p = from_msee(from_peer(ping));
    from_wire({&p});
    expect_punted(p, kTun0, ping);
}

TEST_F(GraphTest, AnUnresolvedHostSeenFromATunnelIsAskedForOnTheTunnelsNetdev) {
    for (const char* dst : {"10.10.0.77", "10.10.9.7"}) {
        TestPacket& p = from_msee(from_peer(test::udp_packet({.src = "10.20.1.2", .dst = dst})));
        from_wire({&p});
        EXPECT_EQ(p.meta().netdev, kTun0) << dst;
        EXPECT_EQ(std::ranges::count(ctx.punted, &p.mbuf), 1);
        check(p);
    }
}

// Out by one link and back by the other, the usual case of two links.
TEST_F(GraphTest, LanToMicrosoftAndBackOnTheOtherLink) {
    const PacketSpec request{
        .src = "10.10.0.10", .dst = "13.107.7.9", .src_port = 5000, .dst_port = 443, .payload = test::filler(50)};
    TestPacket& out = from_lan(test::udp_packet(request));
    from_wire({&out});
    const Bytes frame = out.bytes();
    EXPECT_EQ(Bytes(frame.begin(), frame.begin() + 18), Bytes(outer_link.begin(), outer_link.begin() + 18));
    const Bytes sent = without_link(frame, 18);
    EXPECT_TRUE(test::checksums_right(sent));
    const std::string pool = "198.51.100." + std::to_string(sent[15]);
    EXPECT_LT(sent[15], 16);
    const auto port = static_cast<std::uint16_t>(sent[20] << 8 | sent[21]);
    EXPECT_EQ(sent, test::udp_packet({.src = pool,
                                      .dst = request.dst,
                                      .src_port = port,
                                      .dst_port = 443,
                                      .payload = request.payload,
                                      .ttl = 63}));
    expect_sent(out, kPriPort);

    TestPacket& back =
        from_msee(test::udp_packet(
                      {.src = request.dst, .dst = pool, .src_port = 443, .dst_port = port, .payload = test::filler(7)}),
                  300, kSecPort);
    from_wire({&back});
    EXPECT_EQ(back.bytes(), test::ethernet_frame(kHostMac, kOurLanMac, {},
                                                 test::udp_packet({.src = request.dst,
                                                                   .dst = "10.10.0.10",
                                                                   .src_port = 443,
                                                                   .dst_port = 5000,
                                                                   .payload = test::filler(7),
                                                                   .ttl = 63})));
    EXPECT_EQ(std::ranges::count(ctx.transmit[kLanPort], &back.mbuf), 1);
    check(back);

    // The reply of a session whose TTL ends here: the error leaves translated, and tells nothing of the inside.
    TestPacket& spent = from_msee(test::udp_packet(
        {.src = request.dst, .dst = pool, .src_port = 443, .dst_port = port, .payload = test::filler(7), .ttl = 1}));
    from_wire({&spent});
    EXPECT_EQ(drops(Drop::hop_limit_expired), 1u);
    ASSERT_EQ(std::ranges::count(ctx.transmit[kPriPort], &spent.mbuf), 1);
    const Bytes error = without_link(spent.bytes(), 18);
    EXPECT_TRUE(test::checksums_right(error));
    const Bytes quoted(error.begin() + 28, error.end());
    EXPECT_EQ(quoted, test::udp_packet({.src = request.dst,
                                        .dst = pool,
                                        .src_port = 443,
                                        .dst_port = port,
                                        .payload = test::filler(7),
                                        .ttl = 1}));
    EXPECT_EQ(Bytes(error.begin() + 12, error.begin() + 16), Bytes(quoted.begin() + 16, quoted.begin() + 20))
        << "from the pool address";
    check(spent);
}

TEST_F(GraphTest, ToAPoolAddressWithoutASession) {
    TestPacket& p =
        from_msee(test::udp_packet({.src = "13.107.7.9", .dst = "198.51.100.3", .src_port = 443, .dst_port = 5000}));
    from_wire({&p});
    expect_dropped(p, Drop::nat_no_session);
}

TEST_F(GraphTest, MicrosoftToTheInsideIsUnsolicited) {
    TestPacket& p = from_msee(test::udp_packet({.src = "13.107.7.9", .dst = "10.10.0.10"}));
    from_wire({&p});
    expect_dropped(p, Drop::unsolicited);
}

TEST_F(GraphTest, PingToUsAndArpArePunted) {
    const Bytes ping = test::echo_request({.src = "203.0.113.2", .dst = "203.0.113.1", .src_port = 1});
    TestPacket& p = from_msee(ping);
    from_wire({&p});
    expect_punted(p, kMsftPriTap, test::ethernet_frame(kOurPriMac, kMsee1Mac, {}, ping));
    Bytes arp = test::ethernet_frame({0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, kHostMac, {}, test::filler(46));
    arp[12] = 0x08;
    arp[13] = 0x06;
    TestPacket& q = packet(arp);
    from_wire({&q});
    expect_punted(q, kLanTap, arp);
}

TEST_F(GraphTest, MulticastIsForLinux) {
    const Bytes hello = test::ip_packet({.src = "10.10.0.10", .dst = "224.0.0.5", .ttl = 1}, 89, test::filler(44));
    const Bytes frame = test::ethernet_frame({1, 0, 0x5e, 0, 0, 5}, kHostMac, {}, hello);
    TestPacket& p = packet(frame);
    from_wire({&p});
    expect_punted(p, kLanTap, frame);
}

TEST_F(GraphTest, FromLinuxOnATap) {
    const Bytes bgp =
        test::tcp_packet({.src = "203.0.113.1", .dst = "203.0.113.2", .src_port = 179, .dst_port = 40000});
    TestPacket& p = packet(test::ethernet_frame(kMsee1Mac, kOurPriMac, {}, bgp));
    p.meta().netdev = kMsftPriTap;
    from_linux({&p});
    EXPECT_EQ(p.bytes(), test::ethernet_frame(kMsee1Mac, kOurPriMac, kTag, bgp));
    expect_sent(p, kPriPort);
}

TEST_F(GraphTest, FromLinuxOnATun) {
    const Bytes bgp =
        test::tcp_packet({.src = "10.10.0.1", .dst = "10.20.0.4", .src_port = 179, .dst_port = 40000, .ttl = 1});
    TestPacket& p = packet(bgp);
    p.meta().netdev = kTun0;
    from_linux({&p});
    EXPECT_EQ(at_peer(p.bytes()), bgp) << "Linux has counted the hop";
    expect_sent(p, kPriPort);
}

TEST_F(GraphTest, FromLinuxBothInOneBurst) {
    const Bytes ping = test::echo_request({.src = "10.10.0.1", .dst = "10.20.0.4"});
    TestPacket& a = packet(ping);
    a.meta().netdev = kTun0;
    TestPacket& b = packet(test::ethernet_frame(kHostMac, kOurLanMac, {}, ping));  // under encrypt
    b.meta().netdev = kLanTap;
    TestPacket& c = packet(
        test::ethernet_frame(kHostMac, kOurLanMac, {}, test::echo_request({.src = "10.10.0.1", .dst = "10.10.0.10"})));
    c.meta().netdev = kLanTap;
    from_linux({&a, &b, &c});
    EXPECT_EQ(std::ranges::count(ctx.transmit[kPriPort], &a.mbuf), 1);
    EXPECT_EQ(std::ranges::count(ctx.transmit[kLanPort], &c.mbuf), 1);
    EXPECT_EQ(drops(Drop::encrypt_required), 1u);
    EXPECT_EQ(all_drops(), 1u);
    EXPECT_TRUE(accounts_are_right());
}

TEST_F(GraphTest, NothingIsNoWork) {
    from_wire(std::initializer_list<TestPacket*>{});
    from_linux(std::initializer_list<TestPacket*>{});
    EXPECT_TRUE(accounts_are_right());
}

TEST_F(GraphTest, AnExpiredPacketIsAnsweredWhereItCameFrom) {
    const Bytes original =
        test::udp_packet({.src = "10.10.0.10", .dst = "10.20.1.2", .payload = test::filler(20), .ttl = 1});
    TestPacket& p = from_lan(original);
    from_wire({&p});
    const Bytes error = test::icmp_error_packet(
        {.src = "10.10.0.1", .dst = "10.10.0.10", .ttl = 64, .tos = 0xc0, .id = 0}, 11, 0, original);
    EXPECT_EQ(p.bytes(), test::ethernet_frame(kHostMac, kOurLanMac, {}, error));
    EXPECT_EQ(std::ranges::count(ctx.transmit[kLanPort], &p.mbuf), 1);
    EXPECT_EQ(drops(Drop::hop_limit_expired), 1u);
    EXPECT_EQ(counters.generated.read(), 1u);
    EXPECT_EQ(counters.tx.read(), 1u);
    check(p);
}

TEST_F(GraphTest, AnErrorForATunnelsInsideGoesBackThroughTheTunnel) {
    const Bytes original =
        test::udp_packet({.src = "10.20.1.2", .dst = "10.10.0.10", .payload = test::filler(20), .ttl = 1});
    TestPacket& p = from_msee(from_peer(original));
    from_wire({&p});
    const Bytes error = at_peer(p.bytes());
    EXPECT_EQ(error[20], 11);
    EXPECT_EQ(Bytes(error.begin() + 28, error.end()), original);
    EXPECT_TRUE(test::checksums_right(error));
    check(p);
}

TEST_F(GraphTest, FailClosed) {
    struct Row {
        const char* dst;
        Drop reason;
    };
    std::uint64_t n = 0;
    for (const Row& row : {Row{"10.22.0.1", Drop::encrypt_required}, Row{"10.23.0.1", Drop::tunnel_down},
                           Row{"192.0.2.200", Drop::route_blackhole}}) {
        TestPacket& p = from_lan(test::udp_packet({.src = "10.10.0.10", .dst = row.dst}));
        from_wire({&p});
        EXPECT_EQ(drops(row.reason), 1u) << row.dst;
        EXPECT_EQ(all_drops(), ++n);
        check(p);
    }
    EXPECT_EQ(counters.tx.read(), 0u);
}

TEST_F(GraphTest, AMixedBurstEndsWhereEachOneWould) {
    TestPacket& tunnel = from_lan(test::udp_packet({.src = "10.10.0.10", .dst = "10.20.1.2"}));
    TestPacket& microsoft =
        from_lan(test::udp_packet({.src = "10.10.0.10", .dst = "13.107.7.9", .src_port = 1, .dst_port = 2}));
    TestPacket& ping = from_msee(test::echo_request({.src = "203.0.113.2", .dst = "203.0.113.1"}));
    TestPacket& inner = from_msee(from_peer(test::udp_packet({.src = "10.20.1.2", .dst = "10.10.0.10"})));
    TestPacket& nowhere = from_lan(test::udp_packet({.src = "10.10.0.10", .dst = "8.8.8.8"}));
    TestPacket& bad = packet(Bytes(12));
    from_wire({&tunnel, &microsoft, &ping, &inner, &nowhere, &bad});
    EXPECT_EQ(ctx.transmit[kPriPort].size(), 2);
    EXPECT_EQ(ctx.transmit[kLanPort].size(), 2) << "the decrypted one, and the error about the unroutable one";
    EXPECT_EQ(ctx.punted.size(), 1);
    EXPECT_EQ(ctx.dropped.size(), 1);
    EXPECT_TRUE(accounts_are_right());
}

}  // namespace
}  // namespace twinspan
