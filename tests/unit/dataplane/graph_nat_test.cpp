// NAT through the whole graph: fragments, hairpins, and what a sender is told when no session can be made.
#include "tests/support/fragments.hpp"
#include "tests/support/graph_nat_world.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace twinspan {
namespace {

using test::Bytes;
using test::filler;
using test::Packet;
using test::PacketSpec;
using test::TestPacket;

constexpr const char* kHost = "10.10.0.10";
constexpr const char* kOther = "10.10.0.11";
constexpr const char* kServer = "13.107.7.9";  // by the primary link

struct GraphNat : testing::Test, test::GraphNatWorld {
    static PacketSpec out_spec(std::size_t bytes) {
        return {.src = kHost, .dst = kServer, .src_port = 5000, .dst_port = 443, .payload = filler(bytes)};
    }
};

TEST_F(GraphNat, FragmentsInAnyOrderGoOutAndComeBack) {
    unsigned seed = 0;
    for (const Packet build : {&test::udp_packet, &test::tcp_packet, &test::echo_request}) {
        const bool echo = build == &test::echo_request;
        PacketSpec spec = out_spec(3000);
        spec.id = static_cast<std::uint16_t>(700 + seed);
        std::vector<Bytes> pieces = test::fragments4(build(spec), 1000);
        ASSERT_GE(pieces.size(), 3u);
        std::ranges::rotate(pieces, pieces.begin() + ++seed % 3);
        std::vector<Bytes> outside;
        for (const Bytes& piece : pieces) {
            from_wire({&from_lan(piece)});
            std::ranges::copy(sent(kPriPort), std::back_inserter(outside));
            forget();
        }
        ASSERT_EQ(outside.size(), 3u) << "longer than its leg, so it is cut again";
        PacketSpec seen = spec;
        seen.src = kPool;  // ports are preserved
        seen.ttl = 63;
        const Bytes whole = build(seen);
        EXPECT_EQ(joined(outside), Bytes(whole.begin() + 20, whole.end()));

        PacketSpec reply{
            .src = kServer, .dst = kPool, .src_port = 443, .dst_port = 5000, .payload = filler(1700), .id = spec.id};
        PacketSpec inside = reply;
        inside.dst = kHost;
        if (echo) {
            reply.src_port = inside.src_port = 5000;
        }
        const Packet answer = echo ? &test::echo_reply : build;
        std::vector<Bytes> back = test::fragments4(answer(reply), 1400);
        std::ranges::reverse(back);
        std::vector<Bytes> delivered;
        SmallWorld::PortIndex port = kPriPort;  // one over each link
        for (const Bytes& piece : back) {
            from_wire({&from_msee(piece, 300, port)});
            port = kSecPort;
            std::ranges::copy(sent(kLanPort), std::back_inserter(delivered));
            forget();
        }
        const Bytes expected = answer(inside);
        EXPECT_EQ(joined(delivered), Bytes(expected.begin() + 20, expected.end()));
        EXPECT_TRUE(std::ranges::all_of(delivered, [](const Bytes& d) { return d.size() <= 1500 && d[8] == 63; }));
    }
    EXPECT_EQ(all_drops(), 0u);
    EXPECT_TRUE(accounts_are_right());
}

TEST_F(GraphNat, FragmentsThatFitTogetherLeaveWhole) {
    const PacketSpec spec = out_spec(600);
    std::vector<rte_mbuf*> burst;
    for (const Bytes& piece : test::fragments4(test::udp_packet(spec), 304)) {
        burst.push_back(&from_lan(piece).mbuf);
    }
    from_wire(burst);
    PacketSpec seen = spec;
    seen.src = kPool;
    seen.ttl = 63;
    EXPECT_EQ(sent(kPriPort), (std::vector<Bytes>{test::udp_packet(seen)}));
    EXPECT_EQ(counters.merged.read(), 1u);
    EXPECT_TRUE(accounts_are_right());
}

// RFC 4787 REQ-14a: what never completes is bounded and ends by name.
TEST_F(GraphNat, FragmentsOfHalfPacketsEndByName) {
    for (std::uint16_t id = 0; id < 20; ++id) {
        PacketSpec spec = out_spec(600);
        spec.id = id;
        from_wire({&from_lan(test::fragments4(test::udp_packet(spec), 304)[id % 2])});
        forget();
    }
    EXPECT_EQ(drops(Drop::fragment_table_full), 14u) << "six fit";
    ctx.now_tsc += kReassemblyTimeout + 1;
    reassembly.expire(ctx.now_tsc, counters);
    EXPECT_EQ(drops(Drop::fragment_timeout), 6u);
    EXPECT_TRUE(accounts_are_right());
    EXPECT_EQ(walk(from_lan(test::udp_packet(out_spec(9))), kPriPort).size(), 37u) << "whole packets pass";
}

TEST_F(GraphNat, FragmentsToAPoolWithoutASessionEnd) {
    const PacketSpec spec{.src = kServer, .dst = kPool, .src_port = 443, .dst_port = 5000, .payload = filler(600)};
    for (const Bytes& piece : test::fragments4(test::udp_packet(spec), 304)) {
        from_wire({&from_msee(piece)});
        forget();
    }
    EXPECT_EQ(drops(Drop::nat_no_session), 1u);
    EXPECT_EQ(all_drops(), 1u);
    EXPECT_TRUE(accounts_are_right());
}

// RFC 4787 REQ-9, RFC 5382 REQ-8: two inside hosts that know each other's outside address alone.
TEST_F(GraphNat, HairpinBetweenTwoInsideHosts) {
    for (const Packet build : {&test::udp_packet, &test::tcp_packet}) {
        const PacketSpec first{.src = kHost, .dst = kPool, .src_port = 5000, .dst_port = 6000, .payload = filler(20)};
        end(from_lan(build(first)), Drop::nat_no_session);  // the other host has asked for nothing yet

        const PacketSpec second{.src = kOther, .dst = kPool, .src_port = 6000, .dst_port = 5000, .payload = filler(30)};
        PacketSpec got = second;
        got.src = kPool;  // external source address and port (REQ-9a)
        got.dst = kHost;
        got.ttl = 63;
        EXPECT_EQ(walk(from_lan(build(second)), kLanPort), build(got));
        got = first;
        got.src = kPool;
        got.dst = kOther;
        got.ttl = 63;
        EXPECT_EQ(walk(from_lan(build(first)), kLanPort), build(got));
    }
}

// RFC 5508 REQ-7: and errors about it.
TEST_F(GraphNat, HairpinnedErrorReachesTheSender) {
    const PacketSpec first{.src = kHost, .dst = kPool, .src_port = 5000, .dst_port = 6000, .payload = filler(20)};
    const PacketSpec second{.src = kOther, .dst = kPool, .src_port = 6000, .dst_port = 5000, .payload = filler(30)};
    end(from_lan(test::udp_packet(first)), Drop::nat_no_session);
    walk(from_lan(test::udp_packet(second)), kLanPort);
    const Bytes delivered = walk(from_lan(test::udp_packet(first)), kLanPort);
    PacketSpec quoted = first;
    quoted.ttl = 63;
    EXPECT_EQ(walk(from_lan(test::icmp_error_packet({.src = kOther, .dst = kPool}, 3, 3, delivered)), kLanPort),
              test::icmp_error_packet({.src = kPool, .dst = kHost, .ttl = 63}, 3, 3, test::udp_packet(quoted)));

    PacketSpec spent = first;
    spent.ttl = 1;  // our own error about it
    TestPacket& p = from_lan(test::udp_packet(spent));
    from_wire({&p});
    EXPECT_EQ(drops(Drop::hop_limit_expired), 1u);
    const std::vector<Bytes> out = sent(kLanPort);
    ASSERT_EQ(out.size(), 1u);
    EXPECT_TRUE(test::checksums_right(out[0]));
    EXPECT_EQ(Bytes(out[0].begin() + 28, out[0].end()), test::udp_packet(spent));
    EXPECT_TRUE(accounts_are_right());
}

// Nobody inside ends another's conversation with the outside.
TEST_F(GraphNat, ErrorsFromInsideAboutOthersSessionsEnd) {
    const Bytes outside = walk(from_lan(test::udp_packet(out_spec(20))), kPriPort);
    end(from_lan(test::icmp_error_packet({.src = kOther, .dst = kPool}, 3, 3, outside)), Drop::nat_no_session);
}

TEST_F(GraphNat, AResetInTheBurstOfItsSynFollowsIt) {
    PacketSpec syn = out_spec(0), reset = out_spec(0);
    syn.tcp_flags = kTcpSyn;
    reset.tcp_flags = kTcpRst;
    from_wire({&from_lan(test::tcp_packet(syn)), &from_lan(test::tcp_packet(reset))});
    EXPECT_EQ(sent(kPriPort).size(), 2u);
    EXPECT_TRUE(accounts_are_right());
}

TEST_F(GraphNat, FragmentsAreHairpinnedToo) {
    PacketSpec first{.src = kHost, .dst = kPool, .src_port = 5000, .dst_port = 6000, .payload = filler(20)};
    const PacketSpec second{.src = kOther, .dst = kPool, .src_port = 6000, .dst_port = 5000};
    end(from_lan(test::udp_packet(first)), Drop::nat_no_session);
    walk(from_lan(test::udp_packet(second)), kLanPort);
    first.payload = filler(600);
    std::vector<rte_mbuf*> burst;
    for (const Bytes& piece : test::fragments4(test::udp_packet(first), 304)) {
        burst.push_back(&from_lan(piece).mbuf);
    }
    from_wire(burst);
    PacketSpec got = first;
    got.src = kPool;
    got.dst = kOther;
    got.ttl = 63;
    EXPECT_EQ(sent(kLanPort), (std::vector<Bytes>{test::udp_packet(got)}));
    EXPECT_TRUE(accounts_are_right());
}

TEST_F(GraphNat, OnlyTheInsideIsHairpinned) {
    const PacketSpec spec{.src = "20.0.0.1", .dst = "198.51.100.17", .src_port = 5000, .dst_port = 6000};
    end(from_msee(test::udp_packet(spec)), Drop::nat_wrong_peering);
    PacketSpec martian{.src = "127.0.0.1", .dst = kPool, .src_port = 5000, .dst_port = 6000};
    end(from_lan(test::udp_packet(martian)), Drop::martian_source);
    EXPECT_EQ(table.usage(0).opened + table.usage(1).opened, 0u);
}

// RFC 5508 REQ-8.
TEST_F(GraphNat, WhoGetsNoSessionIsTold) {
    config.pools[0].first_port = config.pools[0].last_port = 2000;
    EXPECT_EQ(walk(from_lan(test::udp_packet(out_spec(9))), kPriPort).size(), 37u);
    PacketSpec spec = out_spec(9);
    spec.src_port = 5001;
    TestPacket& p = from_lan(test::udp_packet(spec));
    from_wire({&p});
    EXPECT_EQ(drops(Drop::nat_ports_exhausted), 1u);
    EXPECT_EQ(counters.generated.read(), 1u);
    const std::vector<Bytes> out = sent(kLanPort);
    ASSERT_EQ(out.size(), 1u);
    EXPECT_EQ(out[0][20], 3);
    EXPECT_EQ(out[0][21], 13);
    EXPECT_TRUE(test::checksums_right(out[0]));
    spec.ttl = 63;
    EXPECT_EQ(Bytes(out[0].begin() + 28, out[0].end()), test::udp_packet(spec));
    forget();
    ctx.icmp_tokens = 0;
    end(from_lan(test::udp_packet(spec)), Drop::nat_ports_exhausted);
}

// So is the sender of what was longer than its way, and came to be cut.
TEST_F(GraphNat, WhoGetsNoSessionForALongPacketIsTold) {
    config.pools[0].first_port = config.pools[0].last_port = 2000;
    walk(from_lan(test::udp_packet(out_spec(9))), kPriPort);
    PacketSpec spec = out_spec(1600);
    spec.src_port = 5001;
    from_wire({&from_lan(test::udp_packet(spec))});
    EXPECT_EQ(drops(Drop::nat_ports_exhausted), 1u);
    const std::vector<Bytes> out = sent(kLanPort);
    ASSERT_EQ(out.size(), 1u);
    EXPECT_EQ(out[0][20], 3);
    EXPECT_EQ(out[0][21], 13);
    EXPECT_TRUE(accounts_are_right());
}

// From a LAN with a larger MTU.
TEST_F(GraphNat, FragmentsThatAreTooLongThemselvesAreMadeWholeFirst) {
    PacketSpec spec = out_spec(3600);
    std::vector<Bytes> outside;
    for (const Bytes& piece : test::fragments4(test::udp_packet(spec), 1800)) {
        from_wire({&from_lan(piece)});
        EXPECT_TRUE(ctx.aside.empty());
        std::ranges::copy(sent(kPriPort), std::back_inserter(outside));
        forget();
    }
    spec.src = kPool;
    spec.ttl = 63;
    const Bytes whole = test::udp_packet(spec);
    EXPECT_EQ(joined(outside), Bytes(whole.begin() + 20, whole.end()));
    EXPECT_TRUE(std::ranges::all_of(outside, [](const Bytes& piece) { return piece.size() <= 1500; }));
    EXPECT_EQ(all_drops(), 0u);
    EXPECT_TRUE(accounts_are_right());
}

}  // namespace
}  // namespace twinspan
