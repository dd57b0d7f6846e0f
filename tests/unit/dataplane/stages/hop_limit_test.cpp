#include "dataplane/stages/hop_limit.hpp"

#include "dataplane/packet/pipeline.hpp"
#include "tests/support/checksum.hpp"
#include "tests/support/stage_test.hpp"

namespace twinspan {
namespace {

using test::Bytes;
using test::PacketSpec;
using test::TestPacket;

static_assert(Stage<HopLimit>);

struct HopLimitTest : test::StageTest {
    TestPacket& ready(const Bytes& packet, Zone zone = Zone::lan, std::uint16_t egress = kToLanHost) {
        TestPacket& p = parsed(packet, zone);
        p.meta().egress = egress;
        return p;
    }
    static Bytes v4(unsigned ttl, unsigned id = 7, std::size_t payload = 4, std::uint16_t fragment = 0x4000) {
        return test::udp_packet({.payload = test::filler(payload),
                                 .ttl = static_cast<std::uint8_t>(ttl),
                                 .id = static_cast<std::uint16_t>(id),
                                 .fragment = fragment});
    }
    static Bytes v6(unsigned hops) {
        return test::udp_packet({.src = "fd10:10::10", .dst = "fd10:20::1", .ttl = static_cast<std::uint8_t>(hops)});
    }
    HopLimit stage;
};

// Sweeping the ID sweeps the checksum space, the end-around carry included.
TEST_F(HopLimitTest, KeepsTheChecksumRightForEveryId) {
    TestPacket& p = ready(v4(64));
    Bytes in = v4(64);
    Bytes out = v4(63);
    auto with_id = [](Bytes& packet, unsigned id) {
        packet[4] = static_cast<std::uint8_t>(id >> 8);
        packet[5] = static_cast<std::uint8_t>(id);
        test::set_ipv4_checksum(packet);
    };
    auto* bytes = rte_pktmbuf_mtod(&p.mbuf, std::uint8_t*);
    for (const unsigned ttl : {2u, 3u, 64u, 128u, 255u}) {
        in[8] = static_cast<std::uint8_t>(ttl);
        out[8] = static_cast<std::uint8_t>(ttl - 1);
        for (unsigned id = 0; id <= 0xffff; ++id) {
            with_id(in, id);
            with_id(out, id);
            std::ranges::copy(in, bytes);
            run(stage, {&p});
            ASSERT_TRUE(std::equal(out.begin(), out.end(), bytes)) << "id " << id << " ttl " << ttl;
        }
    }
    EXPECT_EQ(all_drops(), 0u);
}

TEST_F(HopLimitTest, EveryTtl) {
    for (unsigned ttl = 0; ttl <= 255; ++ttl) {
        for (const unsigned id : {0u, 0x1234u, 0xffffu}) {
            TestPacket& p = ready(v4(ttl, id));
            TestPacket& q = ready(v6(ttl));
            run(stage, {&p, &q});
            ASSERT_EQ(batch.size(), ttl > 1 ? 2 : 0) << ttl;
            if (ttl > 1) {
                ASSERT_EQ(p.bytes(), v4(ttl - 1, id));
                ASSERT_EQ(q.bytes(), v6(ttl - 1));
            }
            clear_lists();
        }
    }
    EXPECT_EQ(drops(Drop::hop_limit_expired), 2u * 2 * 3);
    EXPECT_EQ(all_drops(), 2u * 2 * 3);
}

TEST_F(HopLimitTest, TheLastHopIsToldToTheSender) {
    TestPacket& p = ready(v4(1));
    TestPacket& q = ready(v6(1));
    run(stage, {&p, &q});
    EXPECT_EQ(all(ctx.generated), (Packets{&p.mbuf, &q.mbuf}));
    const Bytes error4 = p.bytes();
    EXPECT_EQ(error4[20], 11);
    EXPECT_EQ(error4[21], 0);
    EXPECT_EQ(Bytes(error4.begin() + 28, error4.end()), v4(1)) << "the packet is quoted as it came";
    const Bytes error6 = q.bytes();
    EXPECT_EQ(error6[40], 3);
    EXPECT_EQ(Bytes(error6.begin() + 48, error6.end()), v6(1));
}

TEST_F(HopLimitTest, WhatIsMadeHereKeepsItsHops) {
    TestPacket& p = ready(v4(1), Zone::self);
    run(stage, {&p});
    expect_kept(p);
    EXPECT_EQ(p.bytes(), v4(1));
}

TEST_F(HopLimitTest, TheMtuIsInclusive) {
    config.egresses[kToLanHost].mtu = 1400;
    TestPacket& fits = ready(v4(64, 7, 1400 - 28));
    TestPacket& too_long = ready(v4(64, 7, 1401 - 28));
    run(stage, {&too_long, &fits});
    EXPECT_EQ(all(batch), Packets{&fits.mbuf});
    EXPECT_EQ(all(ctx.generated), Packets{&too_long.mbuf});
    EXPECT_EQ(drops(Drop::too_big), 1u);
    EXPECT_EQ(counters.generated.read(), 1u);
    const Bytes error = too_long.bytes();
    EXPECT_EQ(error[20], 3);
    EXPECT_EQ(error[21], 4);
    EXPECT_EQ(error[26] << 8 | error[27], 1400) << "RFC 1191: the next hop's MTU";
    const Bytes original = v4(64, 7, 1401 - 28);
    EXPECT_TRUE(std::equal(error.begin() + 28, error.end(), original.begin()));
}

TEST_F(HopLimitTest, TooBigComesBeforeExpired) {
    config.egresses[kToLanHost].mtu = 100;
    TestPacket& p = ready(v4(1, 7, 100));
    run(stage, {&p});
    EXPECT_EQ(drops(Drop::too_big), 1u);
    EXPECT_EQ(all_drops(), 1u);
}

TEST_F(HopLimitTest, Ipv6IsToldTheMtuToo) {
    config.egresses[kToLanHost].mtu = 1338;
    config.legs[kLan].address6 = test::ip6("fd10:10::1");
    const Bytes in =
        test::udp_packet({.src = "fd10:10::10", .dst = "fd10:20::1", .payload = test::filler(1338 - 47), .ttl = 9});
    TestPacket& p = ready(in);
    run(stage, {&p});
    EXPECT_EQ(all(ctx.generated), Packets{&p.mbuf});
    EXPECT_EQ(drops(Drop::too_big), 1u);
    const Bytes error = p.bytes();
    EXPECT_EQ(error[40], 2) << "RFC 4443 section 3.2";
    EXPECT_EQ(error[44] << 24 | error[45] << 16 | error[46] << 8 | error[47], 1338);
}

TEST_F(HopLimitTest, WhatMayBeCutIsPutAsideWithAHopLess) {
    config.egresses[kToLanHost].mtu = 1400;
    TestPacket& fits = ready(v4(64, 7, 1400 - 28, 0));
    TestPacket& cut = ready(v4(64, 7, 1401 - 28, 0));
    TestPacket& middle = ready(v4(64, 7, 1401 - 28, 0x2010));
    TestPacket& spent = ready(v4(1, 7, 1401 - 28, 0));
    TestPacket& own = ready(v4(1, 7, 1401 - 28, 0), Zone::self);
    run(stage, {&cut, &fits, &middle, &spent, &own});
    EXPECT_EQ(all(batch), Packets{&fits.mbuf});
    EXPECT_EQ(all(ctx.oversize), (Packets{&cut.mbuf, &middle.mbuf, &own.mbuf}));
    EXPECT_EQ(cut.bytes(), v4(63, 7, 1401 - 28, 0));
    EXPECT_EQ(own.bytes(), v4(1, 7, 1401 - 28, 0));
    EXPECT_EQ(all(ctx.generated), Packets{&spent.mbuf});
    EXPECT_EQ(drops(Drop::hop_limit_expired), 1u);
    EXPECT_EQ(all_drops(), 1u);
}

TEST_F(HopLimitTest, AListThatIsFullDropsByName) {
    config.egresses[kToLanHost].mtu = 1400;
    TestPacket& other = ready(v4(64));
    while (!ctx.oversize.full()) {
        ctx.oversize.push(&other.mbuf);
    }
    TestPacket& p = ready(v4(64, 7, 1401 - 28, 0));
    run(stage, {&p});
    expect_dropped(p, Drop::too_big);
}

TEST_F(HopLimitTest, WithoutTokensThePacketIsDropped) {
    ctx.icmp_tokens = 0;
    TestPacket& p = ready(v4(1));
    run(stage, {&p});
    expect_dropped(p, Drop::hop_limit_expired);
    EXPECT_TRUE(ctx.generated.empty());
}

TEST_F(HopLimitTest, OthersCloseRanksInOrder) {
    TestPacket& a = ready(v4(9));
    TestPacket& dead = ready(v4(1));
    TestPacket& b = ready(v6(9));
    TestPacket& dead6 = ready(v6(0));
    TestPacket& c = ready(v4(2));
    run(stage, {&a, &dead, &b, &dead6, &c});
    EXPECT_EQ(all(batch), (Packets{&a.mbuf, &b.mbuf, &c.mbuf}));
    EXPECT_EQ(all(ctx.generated), (Packets{&dead.mbuf, &dead6.mbuf}));
}

}  // namespace
}  // namespace twinspan
