#include "dataplane/graph.hpp"

#include "tests/support/graph_world.hpp"

#include <gtest/gtest.h>

namespace twinspan {
namespace {

using test::Bytes;
using test::kPayloadOffset;
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
        return {esp.begin() + kPayloadOffset,
                esp.begin() + static_cast<std::ptrdiff_t>(kPayloadOffset + got.payload_len)};
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

TEST_F(GraphTest, ThroughATunnelInUdpBothWays) {
    encapsulate(0);
    PacketSpec spec{.src = "10.20.1.2", .dst = "10.10.0.10", .src_port = 1, .dst_port = 2, .payload = test::filler(99)};
    TestPacket& in = from_msee(from_peer_in_udp(test::udp_packet(spec)));
    from_wire({&in});
    spec.ttl = 63;
    EXPECT_EQ(in.bytes(), test::ethernet_frame(kHostMac, kOurLanMac, {}, test::udp_packet(spec)));
    EXPECT_EQ(std::ranges::count(ctx.transmit[kLanPort], &in.mbuf), 1);
    check(in);

    spec = {.src = "10.10.0.10", .dst = "10.20.1.2", .src_port = 2, .dst_port = 1, .payload = test::filler(33)};
    TestPacket& out = from_lan(test::udp_packet(spec));
    from_wire({&out});
    Bytes frame = out.bytes();
    EXPECT_EQ(frame[18 + 9], 17);
    frame.erase(frame.begin() + 18 + 20, frame.begin() + 18 + 28);
    spec.ttl = 63;
    EXPECT_EQ(at_peer(frame), test::udp_packet(spec));
    EXPECT_EQ(std::ranges::count(ctx.transmit[kPriPort], &out.mbuf), 1);
    EXPECT_EQ(all_drops(), 0u);
    check(out);
}

TEST_F(GraphTest, EachWayOfArrivalIsForItsSasOnly) {
    TestPacket& udp = from_msee(from_peer_in_udp(test::udp_packet({.src = "10.20.1.2", .dst = "10.10.0.10"})));
    from_wire({&udp});
    expect_dropped(udp, Drop::esp_wrong_encapsulation);
    encapsulate(0);
    TestPacket& bare = from_msee(from_peer(test::udp_packet({.src = "10.20.1.2", .dst = "10.10.0.10"})));
    from_wire({&bare});
    EXPECT_EQ(drops(Drop::esp_wrong_encapsulation), 2u);
    EXPECT_EQ(all_drops(), 2u);
    check(bare);
}

// A NAT may give the peer another address; the SA's key says that it is the peer.
TEST_F(GraphTest, EspInUdpFromElsewhere) {
    encapsulate(0);
    Bytes packet =
        test::udp_packet({.src = "20.51.0.99",
                          .dst = "203.0.113.1",
                          .src_port = 4500,
                          .dst_port = 4500,
                          .payload = sealed_by_peer(test::udp_packet({.src = "10.20.1.2", .dst = "10.10.0.10"}))});
    TestPacket& p = from_msee(packet);
    from_wire({&p});
    expect_sent(p, kLanPort);
    packet = from_peer_in_udp(test::udp_packet({.src = "10.20.1.2", .dst = "10.10.0.10"}));
    packet.back() ^= 1;
    TestPacket& forged = from_msee(packet);
    from_wire({&forged});
    expect_dropped(forged, Drop::esp_auth_failed);
}

TEST_F(GraphTest, IkeAndKeepalivesBesideEspInOneBurst) {
    encapsulate(0);
    PacketSpec spec{.src = "20.51.0.4", .dst = "203.0.113.1", .src_port = 4500, .dst_port = 4500, .payload = {0xff}};
    TestPacket& keepalive = from_msee(test::udp_packet(spec));
    spec.payload = Bytes(40);
    const Bytes marked = test::udp_packet(spec);
    TestPacket& ike = from_msee(marked);
    spec.src_port = spec.dst_port = 500;
    spec.payload = test::filler(28);
    const Bytes first = test::udp_packet(spec);
    TestPacket& ike500 = from_msee(first);
    TestPacket& esp = from_msee(from_peer_in_udp(test::udp_packet({.src = "10.20.1.2", .dst = "10.10.0.10"})));
    const Bytes ping = test::echo_request({.src = "203.0.113.2", .dst = "203.0.113.1", .src_port = 1});
    TestPacket& other = from_msee(ping);
    from_wire({&keepalive, &ike, &ike500, &esp, &other});
    EXPECT_EQ(drops(Drop::nat_keepalive), 1u);
    EXPECT_EQ(all_drops(), 1u);
    EXPECT_EQ(std::ranges::count(ctx.transmit[kLanPort], &esp.mbuf), 1);
    ASSERT_EQ(ctx.punted.size(), 3);
    EXPECT_EQ(ike.bytes(), test::ethernet_frame(kOurPriMac, kMsee1Mac, {}, marked));
    EXPECT_EQ(ike500.bytes(), test::ethernet_frame(kOurPriMac, kMsee1Mac, {}, first));
    EXPECT_EQ(other.bytes(), test::ethernet_frame(kOurPriMac, kMsee1Mac, {}, ping));
    EXPECT_TRUE(accounts_are_right());
}

TEST_F(GraphTest, EspInUdpInsideATunnelIsForLinux) {
    const Bytes inside = from_peer_in_udp(test::udp_packet({.src = "10.20.1.2", .dst = "10.10.0.10"}));
    TestPacket& p = from_msee(from_peer(inside));
    from_wire({&p});
    expect_punted(p, kTun0, inside);
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

// What BGP, BFD and IKE look at must reach Linux as it was sent, and leave as Linux sent it: TTL, DSCP, ports, tags off
// and on.
TEST_F(GraphTest, ControlProtocolsPassUnchangedBothWays) {
    struct Row {
        const char* name;
        bool tcp;
        PacketSpec spec;
    };
    const std::uint8_t cs6 = 48 << 2;
    const Row rows[] = {
        {"BFD", false, {.src_port = 49152, .dst_port = 3784, .payload = test::filler(24), .ttl = 255, .tos = cs6}},
        {"BFD multihop", false, {.src_port = 49153, .dst_port = 4784, .payload = test::filler(24), .ttl = 255}},
        {"BFD echo", false, {.src_port = 49154, .dst_port = 3785, .payload = test::filler(24), .ttl = 255}},
        {"BGP to a neighbour",
         true,
         {.src_port = 40000, .dst_port = 179, .payload = test::filler(19), .ttl = 1, .tos = cs6}},
        {"BGP multihop",
         true,
         {.src_port = 179, .dst_port = 40000, .payload = test::filler(19), .ttl = 64, .tos = cs6}},
        {"BGP with TTL security", true, {.src_port = 179, .dst_port = 40001, .ttl = 255}},
        {"IKE", false, {.src_port = 500, .dst_port = 500, .payload = test::filler(300), .ttl = 64}},
        {"IKE behind NAT", false, {.src_port = 4500, .dst_port = 4500, .payload = Bytes(300), .ttl = 64}},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.name);
        PacketSpec in = row.spec;
        in.src = "203.0.113.2";
        in.dst = "203.0.113.1";
        const Bytes arriving = row.tcp ? test::tcp_packet(in) : test::udp_packet(in);
        TestPacket& p = from_msee(arriving);
        from_wire({&p});
        expect_punted(p, kMsftPriTap, test::ethernet_frame(kOurPriMac, kMsee1Mac, {}, arriving));
        PacketSpec out = row.spec;
        out.src = "203.0.113.1";
        out.dst = "203.0.113.2";
        const Bytes leaving = row.tcp ? test::tcp_packet(out) : test::udp_packet(out);
        TestPacket& q = packet(test::ethernet_frame(kMsee1Mac, kOurPriMac, {}, leaving));
        q.meta().netdev = kMsftPriTap;
        from_linux({&q});
        EXPECT_EQ(q.bytes(), test::ethernet_frame(kMsee1Mac, kOurPriMac, kTag, leaving));
        EXPECT_EQ(std::ranges::count(ctx.transmit[kPriPort], &q.mbuf), 1);
        check(q);
    }
}

TEST_F(GraphTest, ControlProtocolsPassUnchangedThroughATunnel) {
    PacketSpec bfd{.src = "10.20.0.4",
                   .dst = "10.10.0.1",
                   .src_port = 49152,
                   .dst_port = 3784,
                   .payload = test::filler(24),
                   .ttl = 255,
                   .tos = 48 << 2};
    TestPacket& p = from_msee(from_peer(test::udp_packet(bfd)));
    from_wire({&p});
    expect_punted(p, kTun0, test::udp_packet(bfd));
    std::swap(bfd.src, bfd.dst);
    TestPacket& q = packet(test::udp_packet(bfd));
    q.meta().netdev = kTun0;
    from_linux({&q});
    EXPECT_EQ(at_peer(q.bytes()), test::udp_packet(bfd));
    check(q);
}

// A gateway in a prefix under encrypt: its tunnel's outer packets and IKE pass, nothing else goes to it in clear.
TEST_F(GraphTest, AGatewayUnderEncrypt) {
    Tunnel& tunnel = config.tunnels[0];
    tunnel.remote = IpAddress::from(test::ip4("10.20.0.4"));
    encapsulate(0, 0, 0);  // the template, with the new address
    TestPacket& esp = from_lan(test::udp_packet({.src = "10.10.0.10", .dst = "10.20.1.2"}));
    from_wire({&esp});
    const Bytes outer = without_link(esp.bytes(), 18);
    EXPECT_EQ(Bytes(outer.begin() + 16, outer.begin() + 20), (Bytes{10, 20, 0, 4}));
    EXPECT_EQ(std::ranges::count(ctx.transmit[kPriPort], &esp.mbuf), 1);
    check(esp);
    const PacketSpec ike{
        .src = "10.20.0.4", .dst = "203.0.113.1", .src_port = 500, .dst_port = 500, .payload = test::filler(28)};
    TestPacket& in = from_msee(test::udp_packet(ike));
    from_wire({&in});
    expect_punted(in, kMsftPriTap, test::ethernet_frame(kOurPriMac, kMsee1Mac, {}, test::udp_packet(ike)));
    TestPacket& ping = from_lan(test::echo_request({.src = "10.10.0.10", .dst = "10.20.0.4"}));
    from_wire({&ping});
    const Bytes inner = at_peer(ping.bytes());
    EXPECT_EQ(inner[9], 1) << "encrypted, as everything else to that prefix";
    check(ping);
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

TEST_F(GraphTest, WhatCameOutOfATunnelIsNotQuotedToTheOutside) {
    for (const char* src : {"13.107.7.9", "203.0.113.2", "10.10.0.1"}) {
        const std::uint64_t before = drops(Drop::hop_limit_expired);
        TestPacket& p = from_msee(
            from_peer(test::udp_packet({.src = src, .dst = "10.10.0.10", .payload = test::filler(20), .ttl = 1})));
        from_wire({&p});
        EXPECT_EQ(drops(Drop::hop_limit_expired), before + 1) << src;
        EXPECT_EQ(counters.generated.read(), 0u) << src;
        check(p);
    }
    EXPECT_EQ(counters.tx.read(), 0u);
    EXPECT_EQ(all_drops(), 3u);
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
