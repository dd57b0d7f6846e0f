#include "dataplane/graph.hpp"

#include "tests/support/exact_packet.hpp"
#include "tests/support/graph_world.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <random>

namespace twinspan {
namespace {

using test::Bytes;
using test::ExactPacket;
using test::PacketSpec;
using test::TestPacket;

static_assert(Stage<graph::FromWire> && Stage<graph::FromLinux> && Stage<graph::FromSelf>);

constexpr VlanTag kMicrosoftTag{kEtherTypeVlan, to_be16(300)};

struct GraphTest : testing::Test, test::GraphWorld {
    static constexpr std::array<VlanTag, 1> kTag{kMicrosoftTag};

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
    static Bytes without_link(const Bytes& frame, std::size_t link) { return {frame.begin() + static_cast<std::ptrdiff_t>(link), frame.end()}; }
    // An IP packet inside an ESP packet from the far end of tunnel 0.
    Bytes from_peer(const Bytes& inner, std::uint8_t next_header = kNextHeaderIpv4) {
        Bytes esp(kEspPayloadOffset + inner.size() + kEspMaxRoom);
        std::ranges::copy(inner, esp.begin() + kEspPayloadOffset);
        esp.resize(peer0->seal_in_place(engine, ++peer_sequence, esp.data(), inner.size(), next_header));
        return test::ip_packet({.src = "20.51.0.4", .dst = "203.0.113.1"}, 50, esp);
    }
    // What the far end of tunnel 0 finds in a frame that left by the primary link.
    Bytes at_peer(const Bytes& frame) {
        EXPECT_EQ(Bytes(frame.begin(), frame.begin() + 18), Bytes(outer_link.begin(), outer_link.begin() + 18));
        Bytes esp(frame.begin() + 18 + 20, frame.end());
        const std::uint64_t seq = peer_in0->sequence_of(esp.data());
        const Opened got = peer_in0->open_in_place(engine, seq, esp.data(), esp.size());
        EXPECT_EQ(got.status, OpenStatus::ok);
        return {esp.begin() + kEspPayloadOffset, esp.begin() + static_cast<std::ptrdiff_t>(kEspPayloadOffset + got.payload_len)};
    }
    const Bytes outer_link = test::ethernet_frame(kMsee1Mac, kOurPriMac, kTag, Bytes{0x45});
    std::uint64_t peer_sequence = 0;
};

TEST_F(GraphTest, LanToTunnel) {
    for (const bool v6 : {false, true}) {
        PacketSpec spec{.src = "10.10.0.10", .dst = "10.20.1.2", .src_port = 1000, .dst_port = 2000, .payload = test::filler(300), .ttl = 64};
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
    PacketSpec spec{.src = "10.10.0.10", .dst = "10.20.1.2", .src_port = 1, .dst_port = 2, .tcp_flags = kTcpSyn, .tcp_options = {2, 4, 0x05, 0xb4}};
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
    PacketSpec spec{.src = "fd10:20::2", .dst = "fd10:10::10", .src_port = 1, .dst_port = 2, .tcp_flags = kTcpSyn | kTcpAck, .tcp_options = {2, 4, 0x23, 0}};
    TestPacket& p = from_msee(from_peer(test::tcp_packet(spec), kNextHeaderIpv6));
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
    const PacketSpec request{.src = "10.10.0.10", .dst = "13.107.7.9", .src_port = 5000, .dst_port = 443, .payload = test::filler(50)};
    TestPacket& out = from_lan(test::udp_packet(request));
    from_wire({&out});
    const Bytes frame = out.bytes();
    EXPECT_EQ(Bytes(frame.begin(), frame.begin() + 18), Bytes(outer_link.begin(), outer_link.begin() + 18));
    const Bytes sent = without_link(frame, 18);
    EXPECT_TRUE(test::checksums_right(sent));
    const std::string pool = "198.51.100." + std::to_string(sent[15]);
    EXPECT_LT(sent[15], 16);
    const auto port = static_cast<std::uint16_t>(sent[20] << 8 | sent[21]);
    EXPECT_EQ(sent, test::udp_packet({.src = pool, .dst = request.dst, .src_port = port, .dst_port = 443, .payload = request.payload, .ttl = 63}));
    expect_sent(out, kPriPort);

    TestPacket& back = from_msee(test::udp_packet({.src = request.dst, .dst = pool, .src_port = 443, .dst_port = port, .payload = test::filler(7)}), 300, kSecPort);
    from_wire({&back});
    EXPECT_EQ(back.bytes(), test::ethernet_frame(kHostMac, kOurLanMac, {},
                                                 test::udp_packet({.src = request.dst, .dst = "10.10.0.10", .src_port = 443, .dst_port = 5000,
                                                                   .payload = test::filler(7), .ttl = 63})));
    EXPECT_EQ(std::ranges::count(ctx.transmit[kLanPort], &back.mbuf), 1);
    check(back);

    // The reply of a session whose TTL ends here: the error leaves translated, and tells nothing of the inside.
    TestPacket& spent = from_msee(test::udp_packet({.src = request.dst, .dst = pool, .src_port = 443, .dst_port = port, .payload = test::filler(7), .ttl = 1}));
    from_wire({&spent});
    EXPECT_EQ(drops(Drop::hop_limit_expired), 1u);
    ASSERT_EQ(std::ranges::count(ctx.transmit[kPriPort], &spent.mbuf), 1);
    const Bytes error = without_link(spent.bytes(), 18);
    EXPECT_TRUE(test::checksums_right(error));
    const Bytes quoted(error.begin() + 28, error.end());
    EXPECT_EQ(quoted, test::udp_packet({.src = request.dst, .dst = pool, .src_port = 443, .dst_port = port, .payload = test::filler(7), .ttl = 1}));
    EXPECT_EQ(Bytes(error.begin() + 12, error.begin() + 16), Bytes(quoted.begin() + 16, quoted.begin() + 20)) << "from the pool address";
    check(spent);
}

TEST_F(GraphTest, ToAPoolAddressWithoutASession) {
    TestPacket& p = from_msee(test::udp_packet({.src = "13.107.7.9", .dst = "198.51.100.3", .src_port = 443, .dst_port = 5000}));
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
    const Bytes bgp = test::tcp_packet({.src = "203.0.113.1", .dst = "203.0.113.2", .src_port = 179, .dst_port = 40000});
    TestPacket& p = packet(test::ethernet_frame(kMsee1Mac, kOurPriMac, {}, bgp));
    p.meta().netdev = kMsftPriTap;
    from_linux({&p});
    EXPECT_EQ(p.bytes(), test::ethernet_frame(kMsee1Mac, kOurPriMac, kTag, bgp));
    expect_sent(p, kPriPort);
}

TEST_F(GraphTest, FromLinuxOnATun) {
    const Bytes bgp = test::tcp_packet({.src = "10.10.0.1", .dst = "10.20.0.4", .src_port = 179, .dst_port = 40000, .ttl = 1});
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
    TestPacket& c = packet(test::ethernet_frame(kHostMac, kOurLanMac, {}, test::echo_request({.src = "10.10.0.1", .dst = "10.10.0.10"})));
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
    const Bytes original = test::udp_packet({.src = "10.10.0.10", .dst = "10.20.1.2", .payload = test::filler(20), .ttl = 1});
    TestPacket& p = from_lan(original);
    from_wire({&p});
    const Bytes error = test::icmp_error_packet({.src = "10.10.0.1", .dst = "10.10.0.10", .ttl = 64, .tos = 0xc0, .id = 0}, 11, 0, original);
    EXPECT_EQ(p.bytes(), test::ethernet_frame(kHostMac, kOurLanMac, {}, error));
    EXPECT_EQ(std::ranges::count(ctx.transmit[kLanPort], &p.mbuf), 1);
    EXPECT_EQ(drops(Drop::hop_limit_expired), 1u);
    EXPECT_EQ(counters.generated.read(), 1u);
    EXPECT_EQ(counters.tx.read(), 1u);
    check(p);
}

TEST_F(GraphTest, AnErrorForATunnelsInsideGoesBackThroughTheTunnel) {
    const Bytes original = test::udp_packet({.src = "10.20.1.2", .dst = "10.10.0.10", .payload = test::filler(20), .ttl = 1});
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
    for (const Row& row : {Row{"10.22.0.1", Drop::encrypt_required}, Row{"10.23.0.1", Drop::tunnel_down}, Row{"192.0.2.200", Drop::route_blackhole}}) {
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
    TestPacket& microsoft = from_lan(test::udp_packet({.src = "10.10.0.10", .dst = "13.107.7.9", .src_port = 1, .dst_port = 2}));
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

// Valid packets with bytes changed, on ports and netdevs where they belong or do not.
struct GraphProperty : GraphTest {
    unsigned below(unsigned n) { return static_cast<unsigned>(random() % n); }

    Bytes valid_inner() {
        static const char* const kAddresses[] = {"10.10.0.10", "10.10.0.77", "10.20.1.2",   "10.21.1.2",    "10.22.1.2",    "10.23.0.1",
                                                 "10.10.9.9",  "8.8.8.8",    "13.107.6.9",  "13.107.7.9",   "203.0.113.1",  "198.51.100.3",
                                                 "224.0.0.5",  "192.0.2.200", "10.10.0.1",   "198.51.100.17"};
        static const char* const kAddresses6[] = {"fd10:10::10", "fd10:20::2", "2001:db8::1", "fd10:10::1", "ff02::5"};
        PacketSpec spec{.src_port = static_cast<std::uint16_t>(below(4)), .dst_port = 443, .payload = test::filler(below(1500))};
        const bool v6 = below(4) == 0;
        spec.src = v6 ? kAddresses6[below(5)] : kAddresses[below(16)];
        spec.dst = v6 ? kAddresses6[below(5)] : kAddresses[below(16)];
        spec.ttl = static_cast<std::uint8_t>(below(3) == 0 ? below(3) : 64);
        spec.fragment = below(8) == 0 ? static_cast<std::uint16_t>(random()) : 0;
        switch (below(6)) {
            case 0: spec.tcp_flags = kTcpSyn; spec.tcp_options = {1, 2, 4, 0x23, 0, 0, 0, 0}; return test::tcp_packet(spec);
            case 1: return test::echo_request(spec);
            case 2: return test::echo_reply(spec);
            case 3: return test::icmp_error_packet(spec, v6 ? 1 : 3, 1, test::udp_packet({}));
            case 4: spec.payload.resize(spec.payload.size() % 200); return test::tcp_packet(spec);
            default: return test::udp_packet(spec);
        }
    }
    Bytes valid_frame(std::uint16_t& port) {
        Bytes inside = valid_inner();
        if (inside.size() > 1446) {
            inside.resize(1446);
        }
        switch (below(3)) {
            case 0: port = kLanPort; return test::ethernet_frame(kOurLanMac, kHostMac, {}, inside);
            case 1: port = kPriPort; return test::ethernet_frame(kOurPriMac, kMsee1Mac, kTag, from_peer(inside, inside[0] >> 4 == 4 ? 4 : 41));
            default: port = kSecPort; return test::ethernet_frame(kOurSecMac, kMsee2Mac, kTag, inside);
        }
    }
    void mutate(Bytes& bytes) {
        for (unsigned n = below(3); n > 0 && !bytes.empty(); --n) {
            switch (below(4)) {
                case 0: bytes[below(static_cast<unsigned>(bytes.size()))] = static_cast<std::uint8_t>(random()); break;
                case 1: bytes[below(static_cast<unsigned>(std::min<std::size_t>(bytes.size(), 64)))] ^= static_cast<std::uint8_t>(1u << below(8)); break;
                case 2: bytes.resize(below(static_cast<unsigned>(bytes.size()) + 1)); break;
                default: bytes.resize(bytes.size() + below(40), 0x5a); break;
            }
        }
    }
    std::mt19937_64 random{20240607};
};

TEST_F(GraphProperty, EveryPacketEndsOnce) {
    constexpr unsigned kPackets = 100'000;
    unsigned walked = 0;
    while (walked < kPackets) {
        ctx.icmp_tokens = below(3) == 0 ? below(8) : 1000;
        ctx.punt_tokens = below(3) == 0 ? below(8) : 1000;
        const bool wire = below(3) != 0;
        std::vector<std::unique_ptr<ExactPacket>> packets;
        std::vector<rte_mbuf*> mbufs;
        for (unsigned n = 1 + below(kBurst); n > 0; --n) {
            std::uint16_t port = 0;
            Bytes bytes = wire || below(2) == 0 ? valid_frame(port) : valid_inner();
            mutate(bytes);
            packets.push_back(std::make_unique<ExactPacket>(bytes, below(8) == 0 ? 0 : 64));
            rte_mbuf& m = packets.back()->mbuf;
            m.port = static_cast<std::uint16_t>(below(8) == 0 ? below(4) : port);
            meta(m).netdev = static_cast<std::uint16_t>(below(static_cast<unsigned>(config.netdevs.size())));
            if (below(16) == 0) {
                m.ol_flags = RTE_MBUF_F_RX_VLAN_STRIPPED;
                m.vlan_tci = below(2) == 0 ? 300 : static_cast<std::uint16_t>(random());
            }
            mbufs.push_back(&m);
        }
        wire ? from_wire(mbufs) : from_linux(mbufs);
        walked += static_cast<unsigned>(mbufs.size());
        ASSERT_TRUE(ctx.generated.empty());
        ASSERT_TRUE(ended_once(mbufs)) << "after " << walked;
        ASSERT_TRUE(accounts_are_right()) << "after " << walked;
    }
    // The walk went everywhere.
    EXPECT_GT(counters.tx.read(), kPackets / 10);
    EXPECT_GT(counters.punted.read(), kPackets / 100);
    EXPECT_GT(counters.generated.read(), kPackets / 100);
    for (const Drop reason : {Drop::malformed_frame, Drop::unknown_vlan, Drop::not_for_us, Drop::unknown_ethertype, Drop::bad_ip_header, Drop::no_route,
                              Drop::hop_limit_expired, Drop::policy_denied, Drop::encrypt_required, Drop::unsolicited, Drop::tunnel_down, Drop::no_headroom,
                              Drop::esp_auth_failed, Drop::punt_rate_limited, Drop::inject_bad_packet, Drop::too_big, Drop::nat_no_session}) {
        EXPECT_GT(drops(reason), 0u) << name_of(reason);
    }
}

}  // namespace
}  // namespace twinspan
