#include "dataplane/packet/icmp_error.hpp"

#include "tests/support/checksum.hpp"
#include "tests/support/stage_test.hpp"

namespace twinspan {
namespace {

using test::Bytes;
using test::PacketSpec;
using test::TestPacket;

const PacketSpec kV4{
    .src = "10.10.0.10", .dst = "13.107.6.9", .src_port = 1000, .dst_port = 53, .payload = test::filler(100)};
const PacketSpec kV6{
    .src = "fd10:10::10", .dst = "fd10:20::1", .src_port = 1000, .dst_port = 53, .payload = test::filler(100)};

struct IcmpErrorTest : test::StageTest {
    void end(TestPacket& p, IcmpError error, Drop reason = Drop::no_route, std::uint16_t mtu = 0) {
        end_with_icmp(ctx, p.mbuf, reason, error, mtu);
    }
    // The whole error from scratch.
    static Bytes error4(const Bytes& original, std::uint8_t type, std::uint8_t code, std::uint32_t rest,
                        std::size_t limit = 576) {
        const std::size_t quoted = std::min(original.size(), limit - 28);
        return test::icmp_error_packet({.src = "10.10.0.1", .dst = kV4.src, .ttl = 64, .tos = 0xc0, .id = 0}, type,
                                       code, std::span{original}.first(quoted), rest);
    }
    static Bytes error6(const Bytes& original, std::uint8_t type, std::uint8_t code, std::uint32_t rest) {
        const std::size_t quoted = std::min<std::size_t>(original.size(), 1280 - 48);
        return test::icmp_error_packet({.src = "fd10:10::1", .dst = kV6.src, .ttl = 64}, type, code,
                                       std::span{original}.first(quoted), rest);
    }
    void expect_error(TestPacket& p, const Bytes& wanted, Drop reason) {
        EXPECT_EQ(p.bytes(), wanted);
        EXPECT_EQ(all(ctx.generated), Packets{&p.mbuf});
        EXPECT_TRUE(ctx.dropped.empty());
        EXPECT_EQ(drops(reason), 1u);
        EXPECT_EQ(all_drops(), 1u);
        EXPECT_EQ(counters.generated.read(), 1u);
        EXPECT_EQ(ctx.icmp_tokens, 999u);
        EXPECT_TRUE(test::checksums_right(wanted));
        PacketMeta expected = p.meta();
        test::fill_meta(p.mbuf, Zone::self);  // what Parse would say of it
        expected.rx_leg = p.meta().rx_leg = 0;
        expected.tunnel = p.meta().tunnel;
        expected.egress = p.meta().egress;
        expected.netdev = p.meta().netdev;
        expected.route = p.meta().route;
        EXPECT_EQ(std::memcmp(&expected, &p.meta(), sizeof(PacketMeta)), 0);
        EXPECT_EQ(p.mbuf.pkt_len, wanted.size());
    }
    void expect_silence(TestPacket& p, const char* why) {
        SCOPED_TRACE(why);
        clear_lists();
        const std::uint64_t before = drops(Drop::no_route);
        end(p, IcmpError::unreachable);
        EXPECT_EQ(all(ctx.dropped), Packets{&p.mbuf});
        EXPECT_TRUE(ctx.generated.empty());
        EXPECT_EQ(drops(Drop::no_route), before + 1);
        EXPECT_EQ(counters.generated.read(), 0u);
        EXPECT_EQ(ctx.icmp_tokens, 1000u);
    }
};

struct Row {
    IcmpError error;
    Drop reason;
    std::uint16_t mtu;
    std::uint8_t type4, code4, type6, code6;
};
class IcmpErrorKinds : public IcmpErrorTest, public testing::WithParamInterface<Row> {};

TEST_P(IcmpErrorKinds, V4) {
    const Row& row = GetParam();
    TestPacket& p = parsed(test::udp_packet(kV4));
    end(p, row.error, row.reason, row.mtu);
    expect_error(p, error4(test::udp_packet(kV4), row.type4, row.code4, row.mtu), row.reason);
}
TEST_P(IcmpErrorKinds, V6) {
    const Row& row = GetParam();
    TestPacket& p = parsed(test::udp_packet(kV6));
    end(p, row.error, row.reason, row.mtu);
    expect_error(p, error6(test::udp_packet(kV6), row.type6, row.code6, row.mtu), row.reason);
}
INSTANTIATE_TEST_SUITE_P(All, IcmpErrorKinds,
                         testing::Values(Row{IcmpError::hop_limit_expired, Drop::hop_limit_expired, 0, 11, 0, 3, 0},
                                         Row{IcmpError::too_big, Drop::too_big, 1446, 3, 4, 2, 0},
                                         Row{IcmpError::unreachable, Drop::no_route, 0, 3, 0, 1, 0}));

// Every length of the original, across the limits of what may be quoted; odd ones test the padding of the sum.
TEST_F(IcmpErrorTest, QuotesAsMuchAsTheLimitAllows) {
    for (std::size_t payload = 0; payload <= 1400; payload += payload < 500 || payload > 560 ? 37 : 1) {
        PacketSpec v4 = kV4;
        PacketSpec v6 = kV6;
        v4.payload = v6.payload = test::filler(payload);
        TestPacket& p = parsed(test::udp_packet(v4));
        TestPacket& q = parsed(test::udp_packet(v6));
        end(p, IcmpError::unreachable);
        end(q, IcmpError::unreachable);
        ASSERT_EQ(p.bytes(), error4(test::udp_packet(v4), 3, 0, 0)) << payload;
        ASSERT_EQ(q.bytes(), error6(test::udp_packet(v6), 1, 0, 0)) << payload;
        ASSERT_LE(p.bytes().size(), 576u);
        ASSERT_LE(q.bytes().size(), 1280u);
        ctx.generated.clear();
    }
}

TEST_F(IcmpErrorTest, NeverAboutErrors) {
    for (const unsigned type : {3u, 4u, 5u, 11u, 12u}) {
        expect_silence(parsed(test::icmp_error_packet(kV4, static_cast<std::uint8_t>(type), 0, test::udp_packet(kV4))),
                       "ICMP error");
    }
    for (const unsigned type : {1u, 2u, 3u, 4u, 100u, 127u, 137u}) {
        expect_silence(parsed(test::icmp_error_packet(kV6, static_cast<std::uint8_t>(type), 0, test::udp_packet(kV6))),
                       "ICMPv6 error");
    }
}

TEST_F(IcmpErrorTest, AboutEchoes) {
    TestPacket& p = parsed(test::echo_request(kV4));
    end(p, IcmpError::unreachable);
    TestPacket& q = parsed(test::echo_reply(kV6));
    end(q, IcmpError::unreachable);
    EXPECT_EQ(all(ctx.generated), (Packets{&p.mbuf, &q.mbuf}));
}

TEST_F(IcmpErrorTest, NotAboutWhatHasNoSingleSenderOrReceiver) {
    for (const char* src : {"0.0.0.0", "127.0.0.1", "224.0.0.5", "240.0.0.1", "255.255.255.255"}) {
        expect_silence(parsed(test::udp_packet({.src = src})), src);
    }
    for (const char* dst : {"224.0.0.5", "239.255.255.255", "255.255.255.255"}) {
        expect_silence(parsed(test::udp_packet({.dst = dst})), dst);
    }
    expect_silence(parsed(test::udp_packet({.src = "::", .dst = "fd10:20::1"})), "unspecified");
    expect_silence(parsed(test::udp_packet({.src = "ff02::1", .dst = "fd10:20::1"})), "from a group");
    expect_silence(parsed(test::udp_packet({.src = "fd10:10::10", .dst = "ff02::1"})), "to a group");
    TestPacket& p = parsed(test::udp_packet(kV4));
    p.meta().flags = meta_flag::kMulticast;
    expect_silence(p, "link-layer broadcast");
}

TEST_F(IcmpErrorTest, AboutFirstFragmentsOnly) {
    PacketSpec spec = kV4;
    spec.fragment = 0x0001;
    expect_silence(parsed(test::udp_packet(spec)), "later");
    spec.fragment = 0x2000;
    TestPacket& first = parsed(test::udp_packet(spec));
    clear_lists();
    end(first, IcmpError::unreachable);
    EXPECT_EQ(all(ctx.generated), Packets{&first.mbuf});
}

TEST_F(IcmpErrorTest, NotWithoutALegOrItsAddress) {
    expect_silence(parsed(test::udp_packet(kV4), Zone::self, kNone), "no leg");
    expect_silence(parsed(test::udp_packet(kV6), Zone::microsoft_peering, kMsftPri), "leg without IPv6");
    config.legs[kLan].address4 = {};
    expect_silence(parsed(test::udp_packet(kV4)), "leg without IPv4");
}

TEST_F(IcmpErrorTest, TokensEnd) {
    ctx.icmp_tokens = 2;
    for (unsigned i = 0; i < 5; ++i) {
        end(parsed(test::udp_packet(kV4)), IcmpError::unreachable);
    }
    EXPECT_EQ(ctx.icmp_tokens, 0u);
    EXPECT_EQ(ctx.generated.size(), 2);
    EXPECT_EQ(ctx.dropped.size(), 3);
    EXPECT_EQ(counters.generated.read(), 2u);
    EXPECT_EQ(drops(Drop::no_route), 5u);
}

TEST_F(IcmpErrorTest, AFullListDropsTheRest) {
    for (unsigned i = 0; i < kBurst + 1u; ++i) {
        end(parsed(test::udp_packet(kV4)), IcmpError::unreachable);
    }
    EXPECT_EQ(ctx.generated.size(), kBurst);
    EXPECT_EQ(ctx.dropped.size(), 1);
    EXPECT_EQ(ctx.icmp_tokens, 1000u - kBurst);
}

TEST_F(IcmpErrorTest, NoHeadroom) {
    TestPacket& p = parsed(test::udp_packet(kV4));
    p.mbuf.data_off = 27;
    end(p, IcmpError::unreachable);
    expect_dropped(p, Drop::no_route);
    EXPECT_EQ(counters.generated.read(), 0u);
    EXPECT_EQ(ctx.icmp_tokens, 1000u);
}

}  // namespace
}  // namespace twinspan
