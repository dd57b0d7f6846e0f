// Sessions that begin outside, through the whole graph: static mappings, with and without another address inside for
// who begins, and what nobody outside may begin. Rows go both ways.
#include "tests/support/graph_nat_world.hpp"

#include <gtest/gtest.h>

namespace twinspan {
namespace {

using test::Bytes;
using test::filler;
using test::ip4;
using test::Packet;
using test::PacketSpec;
using test::TestPacket;

constexpr const char* kHost = "10.10.0.10";
constexpr const char* kOther = "10.10.0.11";
constexpr const char* kServer = "13.107.7.9";  // by the primary link
constexpr const char* kStatic = "198.51.100.5";
constexpr const char* kStandIn = "10.10.255.1";

NatStatic whole_host(const char* outside, const char* inside) {
    return {.outside = ip4(outside), .inside = ip4(inside)};
}
NatStatic port_of(std::uint8_t protocol, std::uint16_t outside, std::uint16_t inside) {
    return {.outside = ip4(test::GraphNatWorld::kPool),
            .inside = ip4(kOther),
            .protocol = protocol,
            .outside_port = to_be16(outside),
            .inside_port = to_be16(inside)};
}

struct GraphNatInbound : testing::Test, test::GraphNatWorld {
    GraphNatInbound() {
        config.pools[0].statics = NatStatics{
            {whole_host(kStatic, kHost), port_of(+IpProtocol::tcp, 443, 8443), port_of(+IpProtocol::udp, 53, 53)}};
    }
    // Who begins has an address of ours inside.
    void with_stand_in() {
        auto source = std::make_shared<NatPool>();
        source->addresses = {{ip4(kStandIn), ip4(kStandIn)}};
        source->address_count = 1;
        source->first_port = 40000;  // not those that the remote ends have
        config.pools[0].from_microsoft = source;
        config.has_nat_options = true;
        fib.insert4(kStandIn, 32, RouteResult{RouteKind::pool, 0});
    }
    static PacketSpec spec(const char* src, std::uint16_t src_port, const char* dst, std::uint16_t dst_port,
                           std::uint8_t ttl = 64) {
        return {.src = src, .dst = dst, .src_port = src_port, .dst_port = dst_port, .payload = filler(20), .ttl = ttl};
    }
};

TEST_F(GraphNatInbound, AWholeHostIsReachedAndAnswers) {
    for (const Packet build : {&test::udp_packet, &test::tcp_packet}) {
        EXPECT_EQ(walk(from_msee(build(spec(kServer, 7000, kStatic, 22))), kLanPort),
                  build(spec(kServer, 7000, kHost, 22, 63)));
        EXPECT_EQ(walk(from_lan(build(spec(kHost, 22, kServer, 7000))), kPriPort),
                  build(spec(kStatic, 22, kServer, 7000, 63)));
    }
    EXPECT_EQ(walk(from_msee(test::echo_request(spec(kServer, 9, kStatic, 0))), kLanPort),
              test::echo_request(spec(kServer, 9, kHost, 0, 63)));
    EXPECT_EQ(walk(from_lan(test::echo_reply(spec(kHost, 9, kServer, 0))), kPriPort),
              test::echo_reply(spec(kStatic, 9, kServer, 0, 63)));
    EXPECT_EQ(table.usage(0).opened, 3u);
}

TEST_F(GraphNatInbound, AWholeHostBeginsFromItsOwnAddress) {
    EXPECT_EQ(walk(from_lan(test::udp_packet(spec(kHost, 80, kServer, 7000))), kPriPort),
              test::udp_packet(spec(kStatic, 80, kServer, 7000, 63)))
        << "ports below the pool's, too";
    EXPECT_EQ(walk(from_msee(test::udp_packet(spec(kServer, 7000, kStatic, 80))), kLanPort),
              test::udp_packet(spec(kServer, 7000, kHost, 80, 63)));
}

TEST_F(GraphNatInbound, APortIsReachedAndAnswers) {
    PacketSpec syn = spec(kServer, 7000, kPool, 443), got = spec(kServer, 7000, kOther, 8443, 63);
    syn.tcp_flags = got.tcp_flags = kTcpSyn;
    EXPECT_EQ(walk(from_msee(test::tcp_packet(syn)), kLanPort), test::tcp_packet(got));
    PacketSpec answer = spec(kOther, 8443, kServer, 7000), seen = spec(kPool, 443, kServer, 7000, 63);
    answer.tcp_flags = seen.tcp_flags = kTcpSyn | kTcpAck;
    EXPECT_EQ(walk(from_lan(test::tcp_packet(answer)), kPriPort), test::tcp_packet(seen));
    EXPECT_EQ(walk(from_msee(test::udp_packet(spec(kServer, 7000, kPool, 53))), kLanPort),
              test::udp_packet(spec(kServer, 7000, kOther, 53, 63)));
}

TEST_F(GraphNatInbound, OtherPortsResetsAndAnswersBeginNothing) {
    end(from_msee(test::udp_packet(spec(kServer, 7000, kPool, 443))), Drop::nat_no_session);
    end(from_msee(test::tcp_packet(spec(kServer, 7000, kPool, 444))), Drop::nat_no_session);
    PacketSpec reset = spec(kServer, 7000, kStatic, 22);
    reset.tcp_flags = kTcpRst;
    end(from_msee(test::tcp_packet(reset)), Drop::nat_no_session);
    end(from_msee(test::echo_reply(spec(kServer, 9, kStatic, 0))), Drop::nat_no_session);
    EXPECT_EQ(table.usage(0).opened, 0u);
}

TEST_F(GraphNatInbound, PublicPeeringTakesNoSession) {
    config.pools[1].statics = NatStatics{{whole_host("198.51.100.17", kHost)}};
    end(from_msee(test::udp_packet(spec("52.239.1.1", 7000, "198.51.100.17", 22)), 200), Drop::unsolicited);
    EXPECT_EQ(table.usage(1).opened, 0u);
    end(from_lan(test::udp_packet(spec(kHost, 7000, "198.51.100.17", 22))), Drop::nat_no_session);
}

TEST_F(GraphNatInbound, InsideHostsReachAStaticPortByItsOutsideAddress) {
    EXPECT_EQ(walk(from_lan(test::tcp_packet(spec(kHost, 6000, kPool, 443))), kLanPort),
              test::tcp_packet(spec(kStatic, 6000, kOther, 8443, 63)));
    EXPECT_EQ(walk(from_lan(test::tcp_packet(spec(kOther, 8443, kStatic, 6000))), kLanPort),
              test::tcp_packet(spec(kPool, 443, kHost, 6000, 63)));
}

// Replies come back the same way, whatever else leads to Microsoft from inside.
TEST_F(GraphNatInbound, WhoBeginsHasAnAddressOfOursInside) {
    with_stand_in();
    for (const Packet build : {&test::udp_packet, &test::tcp_packet}) {
        const Bytes got = walk(from_msee(build(spec(kServer, 7000, kStatic, 22))), kLanPort);
        ASSERT_GE(got.size(), 28u);
        const auto port = static_cast<std::uint16_t>(got[20] << 8 | got[21]);
        EXPECT_EQ(got, build(spec(kStandIn, port, kHost, 22, 63)));
        EXPECT_EQ(walk(from_lan(build(spec(kHost, 22, kStandIn, port))), kPriPort),
                  build(spec(kStatic, 22, kServer, 7000, 63)));
        EXPECT_EQ(walk(from_msee(build(spec(kServer, 7000, kStatic, 22))), kLanPort),
                  build(spec(kStandIn, port, kHost, 22, 63)));
    }
    EXPECT_EQ(walk(from_msee(test::echo_request(spec(kServer, 9, kStatic, 0))), kLanPort),
              test::echo_request(spec(kStandIn, 9, kHost, 0, 63)));
    EXPECT_EQ(walk(from_lan(test::echo_reply(spec(kHost, 9, kStandIn, 0))), kPriPort),
              test::echo_reply(spec(kStatic, 9, kServer, 0, 63)));
    end(from_lan(test::udp_packet(spec(kHost, 22, kStandIn, 1))), Drop::nat_no_session);
}

TEST_F(GraphNatInbound, ErrorsAboutItGoBothWays) {
    with_stand_in();
    const Bytes sent = test::udp_packet(spec(kServer, 7000, kStatic, 22));
    const Bytes got = walk(from_msee(sent), kLanPort);
    const auto port = static_cast<std::uint16_t>(got[20] << 8 | got[21]);
    EXPECT_EQ(walk(from_lan(test::icmp_error_packet({.src = kHost, .dst = kStandIn}, 3, 3, got)), kPriPort),
              test::icmp_error_packet({.src = kStatic, .dst = kServer, .ttl = 63}, 3, 3,
                                      test::udp_packet(spec(kServer, 7000, kStatic, 22, 63))));
    const Bytes answer = test::udp_packet(spec(kHost, 22, kStandIn, port));
    const Bytes outside = walk(from_lan(answer), kPriPort);
    EXPECT_EQ(
        walk(from_msee(test::icmp_error_packet({.src = "203.0.113.99", .dst = kStatic}, 11, 0, outside)), kLanPort),
        test::icmp_error_packet({.src = kStandIn, .dst = kHost, .ttl = 63}, 11, 0,
                                test::udp_packet(spec(kHost, 22, kStandIn, port, 63))));
}

TEST_F(GraphNatInbound, LongRepliesAreTranslatedOnceAndCut) {
    with_stand_in();
    const Bytes got = walk(from_msee(test::udp_packet(spec(kServer, 7000, kStatic, 22))), kLanPort);
    const auto port = static_cast<std::uint16_t>(got[20] << 8 | got[21]);
    config.egresses[kToMsftPri].mtu = 600;
    PacketSpec reply = spec(kHost, 22, kStandIn, port), seen = spec(kStatic, 22, kServer, 7000, 63);
    reply.payload = seen.payload = filler(1000);
    from_wire({&from_lan(test::udp_packet(reply))});
    const std::vector<Bytes> pieces = sent(kPriPort);
    EXPECT_EQ(pieces.size(), 2u);
    const Bytes whole = test::udp_packet(seen);
    EXPECT_EQ(joined(pieces), Bytes(whole.begin() + 20, whole.end()));
    EXPECT_TRUE(accounts_are_right());
}

TEST_F(GraphNatInbound, AResetInTheBurstOfItsSynFollowsIt) {
    PacketSpec syn = spec(kServer, 7000, kStatic, 22), reset = syn;
    syn.tcp_flags = kTcpSyn;
    reset.tcp_flags = kTcpRst;
    from_wire({&from_msee(test::tcp_packet(syn)), &from_msee(test::tcp_packet(reset))});
    EXPECT_EQ(sent(kLanPort).size(), 2u);
    EXPECT_TRUE(accounts_are_right());
}

// A connection that was there before us goes on; a mapping that the inside has made takes SYNs alone.
TEST_F(GraphNatInbound, AStaticMappingTakesWhatIsUnderWay) {
    PacketSpec data = spec(kServer, 7000, kStatic, 22);
    data.tcp_flags = kTcpAck;
    walk(from_msee(test::tcp_packet(data)), kLanPort);
    EXPECT_EQ(table.usage(0).opened, 1u);
}

// The error is ours, and about a packet that has been translated.
TEST_F(GraphNatInbound, TheHostIsToldThatItsReplysHopsAreSpent) {
    with_stand_in();
    const Bytes got = walk(from_msee(test::udp_packet(spec(kServer, 7000, kStatic, 22))), kLanPort);
    const auto port = static_cast<std::uint16_t>(got[20] << 8 | got[21]);
    const Bytes reply = test::udp_packet(spec(kHost, 22, kStandIn, port, 1));
    from_wire({&from_lan(reply)});
    EXPECT_EQ(drops(Drop::hop_limit_expired), 1u);
    const std::vector<Bytes> out = sent(kLanPort);
    ASSERT_EQ(out.size(), 1u);
    EXPECT_TRUE(test::checksums_right(out[0]));
    EXPECT_EQ(out[0][20], 11);
    EXPECT_EQ(Bytes(out[0].begin() + 28, out[0].end()), reply);
    EXPECT_TRUE(accounts_are_right());
}

TEST_F(GraphNatInbound, InsideHostsHairpinToAStaticPortAsThemselves) {
    with_stand_in();
    EXPECT_EQ(walk(from_lan(test::tcp_packet(spec(kHost, 6000, kPool, 443))), kLanPort),
              test::tcp_packet(spec(kStatic, 6000, kOther, 8443, 63)));
}

TEST_F(GraphNatInbound, RepliesLeaveByTheirPoolsPeeringAlone) {
    with_stand_in();
    const Bytes got = walk(from_msee(test::udp_packet(spec(kServer, 7000, kStatic, 22))), kLanPort);
    const auto port = static_cast<std::uint16_t>(got[20] << 8 | got[21]);
    config.egresses[kToMsftPri].pool = 1;
    end(from_lan(test::udp_packet(spec(kHost, 22, kStandIn, port))), Drop::nat_wrong_peering);
}

}  // namespace
}  // namespace twinspan
