#include "dataplane/stages/fragment.hpp"

#include "dataplane/packet/pipeline.hpp"
#include "tests/support/stage_test.hpp"

namespace twinspan {
namespace {

static_assert(Stage<Fragment>);

struct FragmentTest : test::StageTest {
    test::TestPacket& ready(std::size_t bytes, std::uint16_t egress = kToLanHost) {
        test::TestPacket& p = parsed(test::udp_packet({.payload = test::filler(bytes - 28)}));
        p.meta().egress = egress;
        return p;
    }
    Fragment stage;
};

TEST_F(FragmentTest, EachToItsWaysMtuAndCounted) {
    config.egresses[kToLanHost].mtu = 1000;
    config.egresses[kIntoTunnel0].mtu = 600;
    test::TestPacket& a = ready(1500);
    test::TestPacket& b = ready(1500, kIntoTunnel0);
    run(stage, {&a, &b});
    EXPECT_TRUE(batch.empty());
    ASSERT_EQ(ctx.fragments.size(), 2 + 3);
    EXPECT_EQ(ctx.fragments[0], &a.mbuf);
    EXPECT_EQ(ctx.fragments[0]->data_len, 996);
    EXPECT_EQ(ctx.fragments[2], &b.mbuf);
    EXPECT_EQ(ctx.fragments[2]->data_len, 596);
    EXPECT_EQ(counters.fragmented.read(), 1u + 2u) << "more packets than there were";
    EXPECT_EQ(all_drops(), 0u);
}

TEST_F(FragmentTest, WithoutBuffersThePacketIsDropped) {
    config.egresses[kToLanHost].mtu = 1000;
    buffers_left = 0;
    test::TestPacket& p = ready(1500);
    run(stage, {&p});
    expect_dropped(p, Drop::no_mbuf);
    EXPECT_EQ(counters.fragmented.read(), 0u);
    EXPECT_TRUE(ctx.fragments.empty());
}

// The list holds whatever kFragmentedAtOnce packets become.
TEST_F(FragmentTest, TheMostPiecesFit) {
    config.egresses[kToLanHost].mtu = 48;  // 24 bytes each
    std::array<test::TestPacket*, kFragmentedAtOnce> packets{};
    batch.clear();
    for (auto& p : packets) {
        p = &ready(20 + kBurst * 24);
        batch.push(&p->mbuf);
    }
    stage.process(ctx, batch);
    EXPECT_TRUE(ctx.fragments.full());
    EXPECT_EQ(counters.fragmented.read(), kFragmentedAtOnce * (kBurst - 1u));
}

}  // namespace
}  // namespace twinspan
