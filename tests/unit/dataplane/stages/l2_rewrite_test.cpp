#include "dataplane/stages/l2_rewrite.hpp"

#include "dataplane/packet/pipeline.hpp"
#include "tests/support/stage_test.hpp"

namespace twinspan {
namespace {

using test::Bytes;
using test::TestPacket;

static_assert(Stage<L2Rewrite>);

struct L2RewriteTest : test::StageTest {
    L2RewriteTest() {
        // A leg with two tags, as the public peering on the primary link.
        Egress e = config.egresses[kToMsftPri];
        const Bytes header = test::ethernet_frame(kMsee1Mac, kOurPriMac, kQinQ, {});
        std::copy_n(header.begin(), 20, e.rewrite.begin());
        e.rewrite_length = 20;
        e.leg = kPubPri;
        config.egresses.push_back(e);
    }
    TestPacket& to(std::uint16_t egress, const Bytes& packet) {
        TestPacket& p = parsed(packet);
        p.meta().egress = egress;
        return p;
    }
    void expect_sent(TestPacket& p, std::uint16_t port, std::uint16_t leg, const Bytes& frame) {
        run(stage, {&p});
        EXPECT_TRUE(batch.empty());
        EXPECT_EQ(all(ctx.transmit[port]), Packets{&p.mbuf});
        EXPECT_EQ(p.bytes(), frame);
        EXPECT_EQ(p.mbuf.pkt_len, frame.size());
        EXPECT_EQ(counters.leg_tx[leg].packets.read(), 1u);
        EXPECT_EQ(counters.leg_tx[leg].bytes.read(), frame.size());
        EXPECT_EQ(all_drops(), 0u);
    }
    static constexpr std::array<VlanTag, 2> kQinQ{VlanTag{kEtherTypeQinQ, to_be16(100)},
                                                  VlanTag{kEtherTypeVlan, to_be16(300)}};
    static constexpr std::array<VlanTag, 1> kTag{VlanTag{kEtherTypeVlan, to_be16(300)}};
    const Bytes v4 = test::udp_packet({.payload = test::filler(20)});
    const Bytes v6 = test::udp_packet({.src = "fd10:10::10", .dst = "fd10:20::1", .payload = test::filler(20)});
    L2Rewrite stage;
};

TEST_F(L2RewriteTest, Untagged4) {
    expect_sent(to(kToLanHost, v4), kLanPort, kLan, test::ethernet_frame(kHostMac, kOurLanMac, {}, v4));
}
TEST_F(L2RewriteTest, Untagged6) {
    expect_sent(to(kToLanHost, v6), kLanPort, kLan, test::ethernet_frame(kHostMac, kOurLanMac, {}, v6));
}
TEST_F(L2RewriteTest, OneTag4) {
    expect_sent(to(kToMsftPri, v4), kPriPort, kMsftPri, test::ethernet_frame(kMsee1Mac, kOurPriMac, kTag, v4));
}
TEST_F(L2RewriteTest, OneTag6) {
    expect_sent(to(kToMsftSec, v6), kSecPort, kMsftSec, test::ethernet_frame(kMsee2Mac, kOurSecMac, kTag, v6));
}
TEST_F(L2RewriteTest, TwoTags4) {
    expect_sent(to(9, v4), kPriPort, kPubPri, test::ethernet_frame(kMsee1Mac, kOurPriMac, kQinQ, v4));
}
TEST_F(L2RewriteTest, TwoTags6) {
    expect_sent(to(9, v6), kPriPort, kPubPri, test::ethernet_frame(kMsee1Mac, kOurPriMac, kQinQ, v6));
}

TEST_F(L2RewriteTest, HeadroomToTheLastByte) {
    TestPacket& enough = to(9, v4);
    enough.mbuf.data_off = 22;
    std::ranges::copy(v4, rte_pktmbuf_mtod(&enough.mbuf, std::uint8_t*));
    TestPacket& short_of_one = to(9, v4);
    short_of_one.mbuf.data_off = 21;
    run(stage, {&short_of_one, &enough});
    EXPECT_EQ(all(ctx.transmit[kPriPort]), Packets{&enough.mbuf});
    EXPECT_EQ(enough.bytes(), test::ethernet_frame(kMsee1Mac, kOurPriMac, kQinQ, v4));
    expect_dropped(short_of_one, Drop::no_headroom);
}

TEST_F(L2RewriteTest, PortsKeepTheOrderOfArrival) {
    TestPacket& a = to(kToMsftPri, v4);
    TestPacket& b = to(kToLanHost, v4);
    TestPacket& c = to(kToMsftPri, v6);
    run(stage, {&a, &b, &c});
    EXPECT_EQ(all(ctx.transmit[kPriPort]), (Packets{&a.mbuf, &c.mbuf}));
    EXPECT_EQ(all(ctx.transmit[kLanPort]), Packets{&b.mbuf});
    EXPECT_EQ(counters.leg_tx[kMsftPri].packets.read(), 2u);
}

}  // namespace
}  // namespace twinspan
