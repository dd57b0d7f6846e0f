#include "dataplane/stages/esp_out.hpp"

#include "dataplane/packet/pipeline.hpp"
#include "tests/support/checksum.hpp"
#include "tests/support/stage_test.hpp"

namespace twinspan {
namespace {

using test::Bytes;
using test::kLayout;
using test::kPayloadOffset;
using test::TestPacket;

static_assert(Stage<EspOut>);

struct EspOutTest : test::StageTest {
    static Bytes sized(std::size_t bytes, bool v6 = false) {
        test::PacketSpec spec{.src = "10.10.0.10", .dst = "10.20.0.1"};
        if (v6) {
            spec.src = "fd10:10::10";
            spec.dst = "fd10:20::1";
        }
        return test::ip_packet(spec, 253, test::filler(bytes - (v6 ? 40 : 20)));
    }
    TestPacket& into(std::uint16_t tunnel, const Bytes& inner) {
        TestPacket& p = parsed(inner);
        p.meta().tunnel = tunnel;
        return p;
    }
    // Opens what tunnel 0 made as the far end does.
    Bytes opened(const Bytes& outer, std::uint8_t next_header) {
        Bytes esp(outer.begin() + 20, outer.end());
        const std::uint64_t seq = peer_in0->sequence_of(esp.data());
        EXPECT_TRUE(peer_in0->replay().accept(seq));
        const Opened got = peer_in0->open_in_place(engine, seq, esp.data(), esp.size());
        EXPECT_EQ(got.status, OpenStatus::ok);
        EXPECT_EQ(got.next_header, next_header);
        return {esp.begin() + kPayloadOffset,
                esp.begin() + static_cast<std::ptrdiff_t>(kPayloadOffset + got.payload_len)};
    }
    static std::uint32_t sequence(TestPacket& p) { return esp_sequence_low(p.bytes().data() + 20); }
    EspOut stage;
};

TEST_F(EspOutTest, EverySizeOpensAtTheFarEnd) {
    std::uint64_t number = 0;
    std::uint64_t bytes = 0;
    for (const bool v6 : {false, true}) {
        for (std::size_t size = v6 ? 40 : 20; size <= 1446; ++size) {
            const Bytes inner = sized(size, v6);
            TestPacket p{inner};
            test::fill_meta(p.mbuf);
            p.meta().tunnel = 0;
            run(stage, {&p});
            ASSERT_EQ(batch.size(), 1);
            const Bytes outer = p.bytes();
            const Bytes header =
                test::ip_packet({.src = "203.0.113.1", .dst = "20.51.0.4", .id = 0, .fragment = 0x4000}, 50,
                                Bytes(outer.begin() + 20, outer.end()));
            ASSERT_EQ(outer, header) << "outer header from scratch";
            ASSERT_EQ(outer.size(), 20 + sealed_len(kLayout, size));
            ASSERT_LE(outer.size(), 1500u);
            ASSERT_EQ(esp_spi(outer.data() + 20), 0x1001u);
            ASSERT_EQ(sequence(p), ++number);
            ASSERT_EQ(p.meta().ip, IpVersion::v4);
            ASSERT_EQ(p.meta().l3_length, outer.size());
            ASSERT_EQ(p.meta().egress, kOuterPri);
            ASSERT_EQ(p.mbuf.pkt_len, outer.size());
            ASSERT_EQ(opened(outer, v6 ? kNextHeaderIpv6 : kNextHeaderIpv4), inner);
            bytes += size;
        }
    }
    EXPECT_EQ(all_drops(), 0u);
    EXPECT_EQ((*counters.tunnel_tx)[0].packets.read(), number);
    EXPECT_EQ((*counters.tunnel_tx)[0].bytes.read(), bytes);
    EXPECT_EQ(out0->usage(), (SaUsage{number, bytes}));
}

TEST_F(EspOutTest, EverySizeInUdpOpensAtTheFarEnd) {
    encapsulate(0, 4501, 61234);
    std::uint64_t number = 0;
    for (std::size_t size = 20; size <= 1438; ++size) {
        const Bytes inner = sized(size);
        TestPacket p{inner};
        test::fill_meta(p.mbuf);
        p.meta().tunnel = 0;
        run(stage, {&p});
        ASSERT_EQ(batch.size(), 1);
        const Bytes outer = p.bytes();
        ASSERT_EQ(outer, test::udp_packet({.src = "203.0.113.1",
                                           .dst = "20.51.0.4",
                                           .src_port = 4501,
                                           .dst_port = 61234,
                                           .payload = Bytes(outer.begin() + 28, outer.end()),
                                           .id = 0,
                                           .fragment = 0x4000,
                                           .udp_checksum = false}))
            << "outer headers from scratch";
        ASSERT_EQ(outer.size(), 28 + sealed_len(kLayout, size));
        ASSERT_LE(outer.size(), 1500u);
        ASSERT_EQ(p.meta().l3_length, outer.size());
        ASSERT_EQ(p.mbuf.pkt_len, outer.size());
        ASSERT_EQ(esp_sequence_low(outer.data() + 28), ++number);
        ASSERT_EQ(opened(Bytes(outer.begin() + 8, outer.end()), kNextHeaderIpv4), inner);
    }
    EXPECT_EQ(out0->usage().packets, number);
}

TEST_F(EspOutTest, OneTunnelInUdpAndOneBare) {
    encapsulate(1);
    TestPacket& a = into(0, sized(100));
    TestPacket& b = into(1, sized(100));
    TestPacket& c = into(0, sized(100));
    run(stage, {&a, &b, &c});
    EXPECT_EQ(all(batch), (Packets{&a.mbuf, &b.mbuf, &c.mbuf}));
    EXPECT_EQ(a.bytes()[9], 50);
    EXPECT_EQ(b.bytes()[9], 17);
    EXPECT_EQ(c.bytes()[9], 50);
    EXPECT_EQ(a.bytes().size() + 8, b.bytes().size());
    EXPECT_EQ(opened(c.bytes(), kNextHeaderIpv4), sized(100));
}

TEST_F(EspOutTest, MixedTunnelsKeepTheirOrder) {
    std::vector<TestPacket*> in;
    batch.clear();
    Packets wanted;
    for (const unsigned tunnel : {0u, 0u, 1u, 0u, 1u, 1u, 0u}) {
        in.push_back(&into(static_cast<std::uint16_t>(tunnel), sized(100)));
        batch.push(&in.back()->mbuf);
        wanted.push_back(&in.back()->mbuf);
    }
    stage.process(ctx, batch);
    EXPECT_EQ(all(batch), wanted);
    const std::uint32_t numbers[] = {1, 2, 1, 3, 2, 3, 4};
    for (std::size_t i = 0; i < in.size(); ++i) {
        EXPECT_EQ(sequence(*in[i]), numbers[i]) << i;
        EXPECT_EQ(in[i]->meta().egress, in[i]->meta().tunnel == 0 ? kOuterPri : kOuterSec);
        EXPECT_EQ(esp_spi(in[i]->bytes().data() + 20), 0x1001u + in[i]->meta().tunnel);
    }
    EXPECT_EQ((*counters.tunnel_tx)[0].packets.read(), 4u);
    EXPECT_EQ((*counters.tunnel_tx)[1].packets.read(), 3u);
}

TEST_F(EspOutTest, AFailingTunnelInBetween) {
    config.tunnels[1].up = false;
    TestPacket& a = into(0, sized(60));
    TestPacket& down1 = into(1, sized(60));
    TestPacket& down2 = into(1, sized(60));
    TestPacket& b = into(0, sized(61));
    run(stage, {&a, &down1, &down2, &b});
    EXPECT_EQ(all(batch), (Packets{&a.mbuf, &b.mbuf}));
    EXPECT_EQ(all(ctx.dropped), (Packets{&down1.mbuf, &down2.mbuf}));
    EXPECT_EQ(drops(Drop::tunnel_down), 2u);
    EXPECT_EQ(down1.bytes(), sized(60)) << "not touched";
    EXPECT_EQ(opened(a.bytes(), 4), sized(60));
    EXPECT_EQ(opened(b.bytes(), 4), sized(61));
    EXPECT_EQ(out1->next_seq(), 1u);
}

TEST_F(EspOutTest, EveryReasonForATunnelToBeDown) {
    TestPacket& no_sa = into(0, sized(60));
    config.tunnels[0].out = nullptr;
    run(stage, {&no_sa});
    config.tunnels[0].out = out0.get();
    config.tunnels[0].outer_egress = kNone;
    run(stage, {&into(0, sized(60))});
    config.tunnels[0].outer_egress = kOuterPri;
    config.tunnels[0].up = false;
    run(stage, {&into(0, sized(60))});
    EXPECT_EQ(drops(Drop::tunnel_down), 3u);
    EXPECT_EQ(all_drops(), 3u);
    EXPECT_EQ(out0->next_seq(), 1u);
}

TEST_F(EspOutTest, TheReservationIsUsedUpInsideABurst) {
    out1->reserve_burst((1u << 20) - 3);  // leaves two numbers
    TestPacket& a = into(1, sized(60));
    TestPacket& b = into(1, sized(60));
    TestPacket& c = into(1, sized(60));
    TestPacket& other = into(0, sized(60));
    TestPacket& d = into(1, sized(60));
    run(stage, {&a, &b, &c, &other, &d});
    EXPECT_EQ(all(batch), (Packets{&a.mbuf, &b.mbuf, &other.mbuf}));
    EXPECT_EQ(sequence(a), (1u << 20) - 2);
    EXPECT_EQ(sequence(b), (1u << 20) - 1);
    EXPECT_EQ(all(ctx.dropped), (Packets{&c.mbuf, &d.mbuf}));
    EXPECT_EQ(drops(Drop::esp_unreserved), 2u);
    EXPECT_EQ(all_drops(), 2u);
    EXPECT_EQ(c.bytes(), sized(60)) << "not touched";
    EXPECT_EQ((*counters.tunnel_tx)[1].packets.read(), 2u);
}

TEST_F(EspOutTest, TheNumbersOfTheSaEnd) {
    SaConfig config_end;
    config_end.spi = 0x7777;
    config_end.suite = Suite::aes_256_gcm;
    config_end.keymat = SecretBytes(keymat_len(Suite::aes_256_gcm));
    auto ending = OutboundSa::create(engine, config_end, 0xffffffffu);
    ASSERT_TRUE(ending);
    (*ending)->raise_limit(std::uint64_t{1} << 40);
    config.tunnels[0].out = ending->get();
    TestPacket& last = into(0, sized(60));
    TestPacket& none = into(0, sized(60));
    run(stage, {&last, &none});
    EXPECT_EQ(all(batch), Packets{&last.mbuf});
    EXPECT_EQ(sequence(last), 0xffffffffu);
    expect_dropped(none, Drop::esp_sequence_exhausted);
    TestPacket& later = into(0, sized(60));
    run(stage, {&later});
    EXPECT_EQ(drops(Drop::esp_sequence_exhausted), 2u);
}

TEST_F(EspOutTest, RoomIsNeededAtBothEnds) {
    constexpr std::uint16_t kHeaders = 40 + 8 + kEspMaxPayloadOffset;  // the most, whatever the tunnel needs
    TestPacket& no_head = into(0, sized(60));
    no_head.mbuf.data_off = kHeaders - 1;
    TestPacket& no_tail = into(0, sized(60));
    no_tail.mbuf.buf_len = static_cast<std::uint16_t>(no_tail.mbuf.data_off + 60 + kEspMaxRoom - 1);
    TestPacket& fits = into(0, sized(60));
    fits.mbuf.data_off = kHeaders;
    fits.mbuf.buf_len = kHeaders + 60 + kEspMaxRoom;
    const Bytes inner = sized(60);
    std::ranges::copy(inner, rte_pktmbuf_mtod(&fits.mbuf, std::uint8_t*));
    run(stage, {&no_head, &fits, &no_tail});
    EXPECT_EQ(all(batch), Packets{&fits.mbuf});
    EXPECT_EQ(all(ctx.dropped), (Packets{&no_head.mbuf, &no_tail.mbuf}));
    EXPECT_EQ(drops(Drop::no_headroom), 2u);
    EXPECT_EQ(sequence(fits), 1u) << "refused packets take no number";
    EXPECT_EQ(opened(fits.bytes(), 4), inner);
}

TEST_F(EspOutTest, AWholeBurstTakesItsNumbersInOrder) {
    std::vector<TestPacket*> in;
    batch.clear();
    for (unsigned i = 0; i < kBurst; ++i) {
        in.push_back(&into(0, sized(20 + i)));
        batch.push(&in.back()->mbuf);
    }
    stage.process(ctx, batch);
    ASSERT_EQ(batch.size(), kBurst);
    for (unsigned i = 0; i < kBurst; ++i) {
        EXPECT_EQ(sequence(*in[i]), i + 1);
        EXPECT_EQ(opened(in[i]->bytes(), 4), sized(20 + i));
    }
}

}  // namespace
}  // namespace twinspan
