// NAT rows, always both ways: what the LAN sends and what leaves, what comes back and what the LAN gets; all bytes.
#include "dataplane/stages/nat_in.hpp"
#include "dataplane/stages/nat_out.hpp"
#include "dataplane/state/reassembly.hpp"

#include "tests/support/checksum.hpp"
#include "tests/support/nat_world.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <random>

namespace twinspan {
namespace {

using test::Bytes;
using test::echo_reply;
using test::echo_request;
using test::filler;
using test::icmp_error_packet;
using test::nat_pool;
using test::NatWorld;
using test::PacketSpec;
using test::tcp_packet;
using test::TestPacket;
using test::udp_packet;

constexpr const char* kHost = "10.10.0.5";
constexpr const char* kPool = "198.51.100.1";
constexpr const char* kServer = "13.107.6.10";
constexpr std::uint16_t kPort = 2000;  // the only one of the pool

using Builder = std::function<Bytes(const PacketSpec&)>;

PacketSpec outbound(std::string src, std::uint16_t src_port, Bytes payload = {}) {
    return {
        .src = std::move(src), .dst = kServer, .src_port = src_port, .dst_port = 443, .payload = std::move(payload)};
}
PacketSpec inbound(std::string dst, std::uint16_t dst_port, Bytes payload = {}) {
    return {
        .src = kServer, .dst = std::move(dst), .src_port = 443, .dst_port = dst_port, .payload = std::move(payload)};
}

class Nat : public testing::Test {
protected:
    // Runs one packet; nullopt when it was dropped, which then was for `reason_`.
    std::optional<Bytes> out(const Bytes& bytes, std::uint16_t egress = 0) {
        TestPacket packet{bytes};
        test::fill_meta(packet.mbuf, Zone::lan);
        packet.meta().egress = egress;
        return run<NatOut>(packet);
    }
    std::optional<Bytes> in(const Bytes& bytes, Zone zone = Zone::microsoft_peering, std::uint32_t pool = 0) {
        TestPacket packet{bytes};
        test::fill_meta(packet.mbuf, zone);
        packet.meta().route = RouteResult{RouteKind::pool, pool}.raw();
        return run<NatIn>(packet);
    }
    template <class S>
    std::optional<Bytes> run(TestPacket& packet) {
        world_.context->dropped.clear();
        Batch batch;
        batch.push(&packet.mbuf);
        S{}.process(*world_.context, batch);
        meta_ = packet.meta();
        EXPECT_EQ(batch.size() + world_.context->dropped.size(), 1);
        return batch.empty() ? std::nullopt : std::optional{packet.bytes()};
    }
    // Sessions whose both sides have spoken: they make no room for others.
    std::size_t answered() const {
        std::size_t count = 0;
        world_.table.for_each(world_.table.capacity(),
                              [&](const NatSessionView& view) { count += nat_tcp::opened(view.tcp) ? 1u : 0u; });
        return count;
    }
    NatWorld world_{{nat_pool({kPool}, kPort, kPort), nat_pool({"198.51.100.17"}, kPort, kPort, Zone::public_peering)}};
    PacketMeta meta_{};
};

struct Row {
    const char* name;
    Builder build, build_reply;
    bool echo = false;
};

std::string row_name(const testing::TestParamInfo<Row>& row) { return row.param.name; }

class NatRow : public Nat, public testing::WithParamInterface<Row> {};

TEST_P(NatRow, IsTranslatedBothWays) {
    const Row& row = GetParam();
    EXPECT_EQ(out(row.build(outbound(kHost, 5000))), row.build(outbound(kPool, kPort)));
    EXPECT_EQ(meta_.src_port, to_be16(kPort));
    EXPECT_EQ(meta_.dst_port, to_be16(row.echo ? kPort : 443));
    EXPECT_EQ(answered(), 0u);
    PacketSpec reply = inbound(kPool, kPort);
    PacketSpec to_host = inbound(kHost, 5000);
    if (row.echo) {
        reply.src_port = kPort;
        to_host.src_port = 5000;
    }
    EXPECT_EQ(in(row.build_reply(reply)), row.build_reply(to_host));
    EXPECT_EQ(meta_.dst_port, to_be16(5000));
    EXPECT_EQ(meta_.src_port, to_be16(row.echo ? 5000 : 443));
    EXPECT_EQ(meta_.zone, Zone::translated);
    EXPECT_TRUE(meta_.protocol == +IpProtocol::tcp || answered() == 1);
}

Builder with(Builder build, std::function<void(PacketSpec&)> change) {
    return [build = std::move(build), change = std::move(change)](PacketSpec spec) {
        change(spec);
        return build(spec);
    };
}

INSTANTIATE_TEST_SUITE_P(
    All, NatRow,
    testing::Values(Row{"udp", udp_packet, udp_packet}, Row{"tcp", tcp_packet, tcp_packet},
                    Row{"echo", echo_request, echo_reply, true},
                    Row{"udp_zero_checksum", with(udp_packet, [](PacketSpec& s) { s.udp_checksum = false; }),
                        with(udp_packet, [](PacketSpec& s) { s.udp_checksum = false; })},
                    Row{"ip_options", with(udp_packet, [](PacketSpec& s) { s.ip_options = Bytes{1, 1, 1, 0}; }),
                        with(udp_packet, [](PacketSpec& s) { s.ip_options = Bytes(40, 1), s.payload = filler(3); })},
                    Row{"tcp_options",
                        with(tcp_packet,
                             [](PacketSpec& s) { s.tcp_options = Bytes{2, 4, 5, 0xb4}, s.tcp_flags = kTcpSyn; }),
                        with(tcp_packet, [](PacketSpec& s) { s.tcp_flags = kTcpSyn | kTcpAck; })},
                    Row{"long_odd", with(udp_packet, [](PacketSpec& s) { s.payload = filler(1401); }),
                        with(udp_packet, [](PacketSpec& s) { s.payload = filler(1401), s.tos = 0xb8, s.ttl = 1; })}),
    row_name);

TEST_F(Nat, EveryUdpAndEchoChecksumIsRight) {
    ASSERT_TRUE(out(udp_packet(outbound(kHost, 5000))));
    ASSERT_TRUE(out(echo_request(outbound(kHost, 0))));
    for (std::uint32_t word = 0; word <= 0xffff; ++word) {
        const Bytes payload{static_cast<std::uint8_t>(word >> 8), static_cast<std::uint8_t>(word)};
        ASSERT_EQ(out(udp_packet(outbound(kHost, 5000, payload))), udp_packet(outbound(kPool, kPort, payload))) << word;
        ASSERT_EQ(in(udp_packet(inbound(kPool, kPort, payload))), udp_packet(inbound(kHost, 5000, payload))) << word;
        PacketSpec request = outbound(kHost, 0);
        PacketSpec request_out = outbound(kPool, kPort);
        request.sequence = request_out.sequence = word;
        ASSERT_EQ(out(echo_request(request)), echo_request(request_out)) << word;
        PacketSpec reply = inbound(kPool, kPort);
        PacketSpec reply_in = inbound(kHost, 0);
        reply.sequence = reply_in.sequence = word;
        reply.src_port = kPort;
        reply_in.src_port = 0;  // word 0: a message of zeros
        ASSERT_EQ(in(echo_reply(reply)), echo_reply(reply_in)) << word;
    }
}

TEST_F(Nat, SessionsOfOneBurstAreOneSession) {
    std::vector<std::unique_ptr<TestPacket>> packets;
    Batch batch;
    for (int i = 0; i < kBurst; ++i) {
        packets.push_back(std::make_unique<TestPacket>(
            i % 4 == 3 ? test::ip_packet(outbound(kHost, 0), 47, filler(8))
                       : udp_packet(outbound(kHost, 5000, filler(static_cast<std::size_t>(i))))));
        test::fill_meta(packets.back()->mbuf);
        packets.back()->meta().egress = 0;
        batch.push(&packets.back()->mbuf);
    }
    NatOut{}.process(*world_.context, batch);
    ASSERT_EQ(batch.size(), 48);
    EXPECT_EQ(world_.drops(Drop::nat_unsupported), 16u);
    EXPECT_EQ(world_.table.usage(0).opened, 1u);
    for (std::uint16_t kept = 0, i = 0; i < kBurst; ++i) {
        if (i % 4 != 3) {
            ASSERT_EQ(batch[kept++], &packets[i]->mbuf);
            ASSERT_EQ(packets[i]->bytes(), udp_packet(outbound(kPool, kPort, filler(i))));
        }
    }
}

TEST_F(Nat, WhatIsNotTranslatedIsDroppedByName) {
    struct Refused {
        Drop reason;
        Bytes bytes;
    };
    const PacketSpec spec = outbound(kHost, 5000);
    const auto with_dst = [&](const char* dst) {
        return udp_packet({.src = kHost, .dst = dst, .src_port = 1, .dst_port = 2});
    };
    for (const auto& [reason, bytes] : {
             Refused{Drop::nat_unsupported, test::ip_packet(spec, 47, filler(20))},
             Refused{Drop::nat_no_session, echo_reply(spec)},
             Refused{Drop::nat_unsupported, udp_packet({.src = "fd00::1", .dst = "fd00::2"})},
             Refused{Drop::fragment_unsupported, with(udp_packet, [](PacketSpec& s) { s.fragment = 0x2000; })(spec)},
             Refused{Drop::fragment_unsupported, with(udp_packet, [](PacketSpec& s) { s.fragment = 0x00b9; })(spec)},
             Refused{Drop::malformed_frame, test::ip_packet(spec, +IpProtocol::tcp, filler(19))},
             Refused{Drop::malformed_frame, test::ip_packet(spec, +IpProtocol::udp, filler(7))},
             Refused{Drop::malformed_frame, test::ip_packet(spec, +IpProtocol::icmp, Bytes{8, 0, 0, 0, 0, 1, 0})},
             Refused{Drop::private_destination, with_dst("10.0.0.1")},
             Refused{Drop::private_destination, with_dst("172.16.0.1")},
             Refused{Drop::private_destination, with_dst("172.31.255.255")},
             Refused{Drop::private_destination, with_dst("192.168.255.1")},
             Refused{Drop::nat_no_session, with(tcp_packet, [](PacketSpec& s) { s.tcp_flags = kTcpRst; })(spec)},
         }) {
        const std::uint64_t before = world_.drops(reason);
        EXPECT_EQ(out(bytes), std::nullopt) << name_of(reason);
        EXPECT_EQ(world_.drops(reason), before + 1) << name_of(reason);
    }
    EXPECT_EQ(world_.table.usage(0).opened, 0u);
    EXPECT_TRUE(out(with_dst("172.32.0.1"))) << "public";
    EXPECT_TRUE(out(with_dst("172.15.0.1"))) << "public";
}

TEST_F(Nat, NothingFromOutsideMakesASession) {
    for (const Bytes& bytes :
         {udp_packet(inbound(kPool, kPort)), tcp_packet(inbound(kPool, kPort)), echo_reply(inbound(kPool, kPort))}) {
        EXPECT_EQ(in(bytes), std::nullopt);
    }
    EXPECT_EQ(in(echo_request(inbound(kPool, kPort))), std::nullopt);
    EXPECT_EQ(world_.drops(Drop::nat_no_session), 4u);
    ASSERT_TRUE(out(udp_packet(outbound(kHost, 5000))));
    PacketSpec stranger = inbound(kPool, kPort);
    stranger.src_port = 444;
    EXPECT_EQ(in(udp_packet(stranger)), std::nullopt) << "endpoint-dependent filtering";
    EXPECT_EQ(in(tcp_packet(inbound(kPool, kPort))), std::nullopt);
}

TEST_F(Nat, OpenFilterLetsAnybodyBeginWithAMapping) {  // RFC 4787 REQ-8
    world_.snapshot.pools[0].mapping = NatMapping::endpoint_independent;
    world_.snapshot.pools[0].open_filter = true;
    const auto from = [](std::string dst, std::uint16_t port, std::uint8_t flags) {
        PacketSpec spec = inbound(std::move(dst), port);
        spec.src = "192.0.2.9";
        spec.tcp_flags = flags;
        return tcp_packet(spec);
    };
    EXPECT_EQ(in(from(kPool, kPort, kTcpSyn)), std::nullopt) << "no mapping yet";
    ASSERT_TRUE(out(tcp_packet(outbound(kHost, 5000))));
    for (const std::uint8_t flags : {kTcpRst, kTcpAck, std::uint8_t{kTcpSyn | kTcpAck}}) {
        EXPECT_EQ(in(from(kPool, kPort, flags)), std::nullopt) << int{flags};
    }
    EXPECT_EQ(world_.drops(Drop::nat_no_session), 4u);
    EXPECT_EQ(in(from(kPool, kPort, kTcpSyn)), from(kHost, 5000, kTcpSyn));
    EXPECT_EQ(in(from(kPool, kPort, kTcpAck)), from(kHost, 5000, kTcpAck));
    PacketSpec answer = outbound(kHost, 5000);
    PacketSpec answered = outbound(kPool, kPort);
    answer.dst = answered.dst = "192.0.2.9";
    EXPECT_EQ(out(tcp_packet(answer)), tcp_packet(answered)) << "and is answered by the same address and port";
}

TEST_F(Nat, PoolBelongsToItsPeering) {
    ASSERT_TRUE(out(udp_packet(outbound(kHost, 5000))));
    EXPECT_EQ(in(udp_packet(inbound(kPool, kPort)), Zone::public_peering), std::nullopt);
    EXPECT_EQ(in(udp_packet(inbound(kPool, kPort)), Zone::lan), std::nullopt);
    EXPECT_EQ(world_.drops(Drop::nat_wrong_peering), 2u);
    EXPECT_EQ(in(udp_packet(inbound(kPool, kPort)), Zone::microsoft_peering, 9), std::nullopt);
    EXPECT_EQ(world_.drops(Drop::nat_no_session), 1u);
}

TEST_F(Nat, SameFlowThroughAnotherPoolIsAnotherSession) {
    EXPECT_EQ(out(udp_packet(outbound(kHost, 5000)), 0), udp_packet(outbound(kPool, kPort)));
    EXPECT_EQ(out(udp_packet(outbound(kHost, 5000)), 1), udp_packet(outbound("198.51.100.17", kPort)));
    EXPECT_EQ(in(udp_packet(inbound("198.51.100.17", kPort)), Zone::public_peering, 1),
              udp_packet(inbound(kHost, 5000)));
}

TEST_F(Nat, ExhaustedPoolDropsByName) {
    ASSERT_TRUE(out(udp_packet(outbound(kHost, 5000))));
    EXPECT_EQ(out(udp_packet(outbound(kHost, 5001))), std::nullopt);
    EXPECT_EQ(world_.drops(Drop::nat_ports_exhausted), 1u);
    EXPECT_EQ(world_.table.usage(0).ports_exhausted, 1u);
}

TEST_F(Nat, TcpStateDecidesTheTimer) {
    const auto send = [&](std::uint8_t flags) {
        return out(with(tcp_packet, [=](PacketSpec& s) { s.tcp_flags = flags; })(outbound(kHost, 5000)));
    };
    const auto receive = [&](std::uint8_t flags) {
        return in(with(tcp_packet, [=](PacketSpec& s) { s.tcp_flags = flags; })(inbound(kPool, kPort)));
    };
    const auto survives = [&](std::uint32_t seconds) {
        world_.context->now_seconds += seconds;
        world_.age();
        return world_.table.usage(0).sessions == 1;
    };
    send(kTcpSyn);
    EXPECT_TRUE(survives(240));
    EXPECT_FALSE(survives(1));

    send(kTcpSyn), receive(kTcpSyn | kTcpAck), send(kTcpAck);
    EXPECT_TRUE(survives(7440));
    receive(kTcpAck);  // refreshes
    EXPECT_TRUE(survives(7440));
    send(kTcpFin | kTcpAck);
    EXPECT_TRUE(survives(7440)) << "half closed";
    receive(kTcpFin | kTcpAck);
    EXPECT_TRUE(survives(240));
    EXPECT_FALSE(survives(1));

    send(kTcpSyn), receive(kTcpSyn | kTcpAck), send(kTcpAck), receive(kTcpRst);
    EXPECT_TRUE(survives(200));
    send(kTcpSyn), receive(kTcpSyn | kTcpAck), send(kTcpAck);  // the same ports again
    EXPECT_TRUE(survives(7440));
}

// What a router or host outside says about the packet that we translated.
class NatErrorIn : public Nat, public testing::WithParamInterface<Row> {};

TEST_P(NatErrorIn, ReachesTheHostWithItsOwnPacketInside) {
    const Row& row = GetParam();
    const Bytes sent = row.build(outbound(kHost, 5000));
    const std::optional<Bytes> translated = out(sent);
    ASSERT_TRUE(translated);
    PacketSpec reply = inbound(kPool, kPort);
    reply.src_port = row.echo ? kPort : 443;
    ASSERT_TRUE(in(row.echo ? echo_reply(reply) : row.build(reply))) << "and leaves nothing behind for the errors";
    // 36 and 38: just without and just with TCP's checksum.
    for (const std::size_t cut : {std::size_t{28}, std::size_t{36}, std::size_t{38}, std::size_t{40}, sent.size()}) {
        for (const std::uint8_t type : {std::uint8_t{3}, std::uint8_t{11}, std::uint8_t{12}}) {
            const auto head = [&](const Bytes& bytes) { return std::span{bytes}.first(std::min(cut, bytes.size())); };
            const PacketSpec from_router{.src = "203.0.113.77", .dst = kPool};
            const PacketSpec to_host{.src = "203.0.113.77", .dst = kHost};
            EXPECT_EQ(in(icmp_error_packet(from_router, type, 4, head(*translated), 1400)),
                      icmp_error_packet(to_host, type, 4, head(sent), 1400))
                << cut << ' ' << int{type};
            EXPECT_EQ(meta_.zone, Zone::translated);
        }
    }
}

INSTANTIATE_TEST_SUITE_P(
    All, NatErrorIn,
    testing::Values(Row{"udp", with(udp_packet, [](PacketSpec& s) { s.payload = filler(77); }), {}},
                    Row{"tcp", with(tcp_packet, [](PacketSpec& s) { s.payload = filler(77); }), {}},
                    Row{"udp_zero_checksum", with(udp_packet, [](PacketSpec& s) { s.udp_checksum = false; }), {}},
                    Row{"echo", echo_request, {}, true}),
    row_name);

// What the host, or a router before it, says about a packet that came in.
class NatErrorOut : public Nat, public testing::WithParamInterface<Row> {};

TEST_P(NatErrorOut, LeavesWithThePoolsAddressInside) {
    const Row& row = GetParam();
    ASSERT_TRUE(out(row.build(outbound(kHost, 5000))));
    PacketSpec reply = inbound(kPool, kPort, filler(9));
    if (row.echo) {
        reply.src_port = kPort;
    }
    const Bytes arrived = row.build_reply(reply);
    const std::optional<Bytes> delivered = in(arrived);
    ASSERT_TRUE(delivered);
    for (const char* sender : {kHost, "10.10.0.1"}) {
        ASSERT_TRUE(out(row.build(outbound(kHost, 5000)))) << "and leaves nothing behind for the error";
        EXPECT_EQ(out(icmp_error_packet({.src = sender, .dst = kServer}, 3, 3, *delivered)),
                  icmp_error_packet({.src = kPool, .dst = kServer}, 3, 3, arrived));
    }
}

INSTANTIATE_TEST_SUITE_P(All, NatErrorOut,
                         testing::Values(Row{"udp", udp_packet, udp_packet}, Row{"tcp", tcp_packet, tcp_packet},
                                         Row{"echo", echo_request, echo_reply, true}),
                         row_name);

TEST_F(Nat, ErrorsWithoutASessionOrWithHalfAPacketAreDropped) {
    const Bytes ours = *out(udp_packet(outbound(kHost, 5000, filler(20))));
    const PacketSpec router{.src = "203.0.113.77", .dst = kPool};
    const Bytes other = udp_packet(outbound(kPool, 2001));
    EXPECT_EQ(in(icmp_error_packet(router, 3, 1, other)), std::nullopt);
    EXPECT_EQ(in(icmp_error_packet({.src = "203.0.113.77", .dst = "198.51.100.9"}, 3, 1, ours)), std::nullopt)
        << "not about its receiver";
    EXPECT_EQ(out(icmp_error_packet({.src = kHost, .dst = kServer}, 3, 1, udp_packet(inbound(kHost, 77)))),
              std::nullopt);
    EXPECT_EQ(out(icmp_error_packet({.src = kHost, .dst = "13.107.6.99"}, 3, 1, udp_packet(inbound(kHost, 5000)))),
              std::nullopt);
    EXPECT_EQ(world_.drops(Drop::nat_no_session), 4u);
    for (std::size_t cut = 0; cut < 28; ++cut) {
        EXPECT_EQ(in(icmp_error_packet(router, 3, 1, std::span{ours}.first(cut))), std::nullopt) << cut;
    }
    EXPECT_EQ(world_.drops(Drop::nat_bad_error), 28u);
    EXPECT_EQ(in(icmp_error_packet(router, 3, 1,
                                   with(udp_packet, [](PacketSpec& s) { s.fragment = 5; })(outbound(kPool, kPort)))),
              std::nullopt);
    EXPECT_EQ(in(icmp_error_packet(router, 5, 1, ours)), std::nullopt) << "redirect";
    EXPECT_EQ(world_.drops(Drop::nat_unsupported), 2u);
}

TEST_F(Nat, ErrorsThatQuoteNoPacketOfASessionAreDropped) {
    const Bytes ours = *out(udp_packet(outbound(kHost, 5000, filler(20))));
    const PacketSpec router{.src = "203.0.113.77", .dst = kPool};
    const auto ends = [&](const Bytes& quoted, Drop reason) {
        const std::uint64_t before = world_.drops(reason);
        EXPECT_EQ(in(icmp_error_packet(router, 3, 1, quoted)), std::nullopt);
        EXPECT_EQ(world_.drops(reason), before + 1) << name_of(reason);
    };
    for (const unsigned first_byte : {0x65u, 0x40u, 0x41u, 0x44u}) {  // another version, headers that are too short
        Bytes quoted = ours;
        quoted[0] = static_cast<std::uint8_t>(first_byte);
        quoted[10] = quoted[11] = 0;
        const std::uint16_t sum = test::internet_checksum(std::span{quoted}.first((first_byte & 15) * 4));
        quoted[10] = static_cast<std::uint8_t>(sum >> 8);
        quoted[11] = static_cast<std::uint8_t>(sum);
        ends(quoted, Drop::nat_bad_error);
    }
    ends(icmp_error_packet({.src = kPool, .dst = kServer}, 3, 1, ours), Drop::nat_unsupported);
}

// RFC 1624 section 3: a message of zeros has the other zero for its checksum.
TEST_F(Nat, ErrorAboutAnEchoReplyThatIsAllZeros) {
    PacketSpec spec = outbound(kHost, 0);
    spec.sequence = 0;
    ASSERT_TRUE(out(echo_request(spec)));
    const Bytes sent = echo_reply(spec);
    const std::optional<Bytes> translated = out(sent);
    ASSERT_TRUE(translated);
    EXPECT_EQ(in(icmp_error_packet({.src = "203.0.113.77", .dst = kPool}, 3, 1, *translated)),
              icmp_error_packet({.src = "203.0.113.77", .dst = kHost}, 3, 1, sent));
}

TEST_F(Nat, HalfATcpChecksumInAnErrorIsLeftAlone) {
    const Bytes ours = *out(tcp_packet(outbound(kHost, 5000, filler(20))));
    const std::optional<Bytes> delivered =
        in(icmp_error_packet({.src = "203.0.113.77", .dst = kPool}, 3, 1, std::span{ours}.first(37)));
    ASSERT_TRUE(delivered);
    EXPECT_TRUE(test::checksums_right(*delivered));
    EXPECT_EQ(delivered->back(), ours[36]);
}

// RFC 5508 REQ-3: the checksums of the error and of the IP header in it count, the quoted transport's does not.
TEST_F(Nat, ErrorsWithWrongChecksumsAreDropped) {
    const Bytes sent = udp_packet(outbound(kHost, 5000, filler(20)));
    const Bytes ours = *out(sent);
    const PacketSpec router{.src = "203.0.113.77", .dst = kPool};
    const Bytes error = icmp_error_packet(router, 3, 1, ours);
    for (std::size_t at = 20; at < error.size(); ++at) {
        Bytes broken = error;
        broken[at] ^= 0x40;
        EXPECT_EQ(in(broken), std::nullopt) << at;
    }
    EXPECT_GT(world_.drops(Drop::nat_bad_error), error.size() - 30);
    for (const std::size_t at : {std::size_t{8}, std::size_t{10}}) {  // TTL, checksum
        Bytes quoted = ours;
        quoted[at] ^= 0x10;
        const std::uint64_t before = world_.drops(Drop::nat_bad_error);
        EXPECT_EQ(in(icmp_error_packet(router, 3, 1, quoted)), std::nullopt) << at;
        EXPECT_EQ(world_.drops(Drop::nat_bad_error), before + 1);
    }
    Bytes quoted = ours, delivered = sent;
    quoted.back() ^= 1, delivered.back() ^= 1;
    EXPECT_EQ(in(icmp_error_packet(router, 3, 1, quoted)),
              icmp_error_packet({.src = "203.0.113.77", .dst = kHost}, 3, 1, delivered));
    Bytes from_inside = icmp_error_packet({.src = kHost, .dst = kServer}, 3, 3, udp_packet(inbound(kHost, 5000)));
    ASSERT_TRUE(out(from_inside));
    from_inside.back() ^= 1;
    EXPECT_EQ(out(from_inside), std::nullopt);
}

// RFC 5508 REQ-3b: options in the quoted header, and in the error's own, are stepped over and stay.
TEST_F(Nat, ErrorsMayHaveOptionsAndQuoteThem) {
    for (const std::size_t quoted : {std::size_t{4}, std::size_t{12}, std::size_t{40}}) {
        for (const std::size_t own : {std::size_t{0}, std::size_t{8}}) {
            const auto spec = [&](const char* src, const char* dst) {
                return PacketSpec{.src = src, .dst = dst, .ip_options = Bytes(own, 1)};
            };
            const auto tcp =
                with(tcp_packet, [&](PacketSpec& s) { s.ip_options = Bytes(quoted, 1), s.payload = filler(20); });
            const Bytes sent = tcp(outbound(kHost, 5000));
            const std::optional<Bytes> ours = out(sent);
            ASSERT_TRUE(ours);
            for (const std::size_t cut : {28 + quoted, 38 + quoted, sent.size()}) {
                EXPECT_EQ(in(icmp_error_packet(spec("203.0.113.77", kPool), 11, 0, std::span{*ours}.first(cut))),
                          icmp_error_packet(spec("203.0.113.77", kHost), 11, 0, std::span{sent}.first(cut)))
                    << quoted << ' ' << own << ' ' << cut;
            }
            const Bytes arrived = tcp(inbound(kPool, kPort));
            const std::optional<Bytes> delivered = in(arrived);
            ASSERT_TRUE(delivered);
            EXPECT_EQ(out(icmp_error_packet(spec(kHost, kServer), 3, 3, *delivered)),
                      icmp_error_packet(spec(kPool, kServer), 3, 3, arrived));
            const std::uint64_t before = world_.drops(Drop::nat_bad_error);
            EXPECT_EQ(in(icmp_error_packet(spec("203.0.113.77", kPool), 11, 0, std::span{*ours}.first(27 + quoted))),
                      std::nullopt);
            EXPECT_EQ(world_.drops(Drop::nat_bad_error), before + 1) << "no eight bytes behind the options";
        }
    }
}

// RFC 5508 REQ-4b, REQ-5b: type and code stay; REQ-3d: what is behind the quote (RFC 4884) stays as well.
TEST_F(Nat, ErrorsKeepTypeCodeAndExtensions) {
    const Bytes sent = udp_packet(outbound(kHost, 5000, filler(20)));
    const auto extended = [](Bytes quote) {
        quote.resize(128);
        const Bytes extension{0x20, 0x00, 0xd7, 0xe6, 0x00, 0x08, 0x01, 0x01, 0x12, 0x34, 0x51, 0x01};
        quote.insert(quote.end(), extension.begin(), extension.end());
        return quote;
    };
    const Bytes quoted = extended(*out(sent));
    for (const auto& [type, code] :
         {std::pair{11, 0}, std::pair{11, 1}, std::pair{3, 4}, std::pair{3, 13}, std::pair{12, 0}}) {
        const auto error = [&, type = type, code = code](const char* to, const Bytes& quote) {
            return icmp_error_packet({.src = "203.0.113.77", .dst = to}, static_cast<std::uint8_t>(type),
                                     static_cast<std::uint8_t>(code), quote, 32u << 16 | 1400);
        };
        EXPECT_EQ(in(error(kPool, quoted)), error(kHost, extended(sent))) << type << '/' << code;
    }
}

Bytes icmp_query(std::uint8_t type, const PacketSpec& spec) {
    Bytes packet = echo_request(spec);
    packet[20] = type;
    packet[22] = packet[23] = 0;
    const std::uint16_t sum = test::internet_checksum(std::span{packet}.subspan(20));
    packet[22] = static_cast<std::uint8_t>(sum >> 8);
    packet[23] = static_cast<std::uint8_t>(sum);
    return packet;
}

// RFC 5508 REQ-1, REQ-10b: queries are more than echoes.
TEST_F(Nat, TimestampsAreQueriesToo) {
    const Bytes times = filler(12);
    const Bytes request = icmp_query(13, outbound(kHost, 77, times));
    const Bytes outside = icmp_query(13, outbound(kPool, kPort, times));
    EXPECT_EQ(out(icmp_query(14, outbound(kHost, 77, times))), std::nullopt) << "an answer to nothing";
    EXPECT_EQ(out(request), outside);
    PacketSpec reply = inbound(kPool, 0, times);
    reply.src_port = kPort;
    PacketSpec reply_in = inbound(kHost, 0, times);
    reply_in.src_port = 77;
    EXPECT_EQ(in(icmp_query(14, reply)), icmp_query(14, reply_in));
    const PacketSpec router{.src = "203.0.113.77", .dst = kPool};
    EXPECT_EQ(in(icmp_error_packet(router, 11, 0, outside)),
              icmp_error_packet({.src = "203.0.113.77", .dst = kHost}, 11, 0, request));
    EXPECT_EQ(out(icmp_query(17, outbound(kHost, 77, times))), std::nullopt);
    EXPECT_EQ(world_.drops(Drop::nat_unsupported), 1u) << "address mask";
}

// RFC 4340 section 9, RFC 3828 section 3.1: unlike UDP's.
TEST_F(Nat, ChecksumOfZeroMeansNothingSpecialToDccpAndUdpLite) {
    world_.snapshot.pools[0].any_protocol = true;
    for (const std::uint8_t protocol : {std::uint8_t{33}, std::uint8_t{136}}) {
        const auto wrong_by = [protocol](const Bytes& packet) {  // 0: its checksum is right
            Bytes covered(packet.begin() + 12, packet.end());
            covered.insert(covered.end(), {0, protocol, 0, static_cast<std::uint8_t>(packet.size() - 20)});
            return test::internet_checksum(covered);
        };
        Bytes payload = filler(12);
        payload[6] = payload[7] = payload[10] = payload[11] = 0;
        const std::uint16_t rest = wrong_by(test::ip_packet(outbound(kHost, 0), protocol, payload));
        payload[10] = static_cast<std::uint8_t>(rest >> 8);
        payload[11] = static_cast<std::uint8_t>(rest);
        const Bytes inside = test::ip_packet(outbound(kHost, 0), protocol, payload);
        ASSERT_EQ(wrong_by(inside), 0);
        const std::optional<Bytes> outside = out(inside);
        ASSERT_TRUE(outside);
        EXPECT_EQ(wrong_by(*outside), 0);
    }
}

TEST_F(Nat, InboundRefreshIsThePoolsChoice) {
    const auto kept_by_inbound = [&] {
        EXPECT_TRUE(out(udp_packet(outbound(kHost, 5000))));
        for (int i = 0; i < 3; ++i) {
            world_.context->now_seconds += 200;
            in(udp_packet(inbound(kPool, kPort)));
            world_.age();
        }
        return world_.table.usage(0).sessions == 1;
    };
    EXPECT_TRUE(kept_by_inbound()) << "RFC 4787 REQ-6";
    world_.context->now_seconds += 301;
    world_.age();
    ASSERT_EQ(world_.table.usage(0).sessions, 0u);
    world_.snapshot.pools[0].inbound_refresh = false;
    world_.snapshot.has_nat_options = true;
    EXPECT_FALSE(kept_by_inbound());
}

// RFC 7857 section 8.
TEST_F(Nat, ResetsThatOnlyAnswerKeepNoSessionAlive) {
    const auto segment = [&](std::uint8_t flags) {
        return with(tcp_packet, [=](PacketSpec& s) { s.tcp_flags = flags; })(outbound(kHost, 5000));
    };
    ASSERT_TRUE(out(segment(kTcpSyn)));
    world_.context->now_seconds += 200;
    EXPECT_EQ(out(segment(kTcpRst)),
              with(tcp_packet, [](PacketSpec& s) { s.tcp_flags = kTcpRst; })(outbound(kPool, kPort)))
        << "translated (section 2.2)";
    world_.context->now_seconds += 200;
    EXPECT_TRUE(out(segment(kTcpRst))) << "4 minutes are not over";
    world_.context->now_seconds += 41;
    world_.age();
    EXPECT_EQ(world_.table.usage(0).sessions, 0u);
}

TEST_F(Nat, FragmentsAreSetAsideWhereTheyCanBeMadeWhole) {
    Reassembly reassembly{{.datagrams = 2, .timeout_tsc = 1000}};
    world_.context->reassembly = &reassembly;
    TestPacket packet{with(udp_packet, [](PacketSpec& s) { s.fragment = 0x2000; })(outbound(kHost, 5000))};
    test::fill_meta(packet.mbuf, Zone::lan);
    packet.meta().egress = 0;
    Batch batch;
    batch.push(&packet.mbuf);
    NatOut{}.process(*world_.context, batch);
    EXPECT_TRUE(batch.empty());
    ASSERT_EQ(world_.context->aside.size(), 1);
    EXPECT_EQ(world_.context->aside[0], &packet.mbuf);
    EXPECT_EQ(world_.context->dropped.size(), 0);
}

TEST_F(Nat, ErrorsKeepNoSessionAlive) {
    const Bytes ours = *out(udp_packet(outbound(kHost, 5000)));
    world_.context->now_seconds += 300;
    ASSERT_TRUE(in(icmp_error_packet({.src = "203.0.113.77", .dst = kPool}, 3, 1, ours)));
    world_.context->now_seconds += 1;
    world_.age();
    EXPECT_EQ(world_.table.usage(0).sessions, 0u);
}

// Random bytes in every header, both ways: what went out and came back is what was sent.
TEST_F(Nat, ErrorChecksumsHoldForAllValues) {
    std::mt19937 random{5};
    world_.snapshot.pools[0].first_port = 1024;
    world_.snapshot.pools[0].last_port = 65535;
    for (int i = 0; i < 5000; ++i) {
        const auto word = [&] { return static_cast<std::uint16_t>(random()); };
        PacketSpec spec = outbound("10.10." + std::to_string(random() % 256) + "." + std::to_string(random() % 256),
                                   word(), filler(random() % 40));
        spec.id = word();
        spec.dst_port = word();
        const Bytes sent = i % 2 == 0 ? udp_packet(spec) : tcp_packet(spec);
        const std::optional<Bytes> translated = out(sent);
        if (!translated) {
            continue;
        }
        ASSERT_TRUE(test::checksums_right(*translated));
        const PacketSpec error{.src = "203.0.113.77", .dst = kPool, .id = word()};
        PacketSpec delivered = error;
        delivered.dst = spec.src;
        ASSERT_EQ(in(icmp_error_packet(error, 11, 0, *translated)), icmp_error_packet(delivered, 11, 0, sent));
        if (i % 500 == 0) {
            world_.context->now_seconds += 8000;
            world_.age();
        }
    }
}

}  // namespace
}  // namespace twinspan
