#include "dataplane/stages/hand_over.hpp"

#include "tests/support/stage_test.hpp"

namespace twinspan::test {
namespace {

class HandOverTest : public StageTest {
protected:
    TestPacket& into(std::uint16_t tunnel) {
        TestPacket& p = parsed(udp_packet({}));
        p.meta().tunnel = tunnel;
        return p;
    }
    void owned_by(std::uint16_t tunnel, std::uint16_t worker) {
        config.tunnels[tunnel].owner = worker;
        config.has_owners = true;
    }
    HandOver stage;
};

TEST_F(HandOverTest, WithoutOwnersEveryWorkerEncrypts) {
    TestPacket& a = into(0);
    TestPacket& b = into(1);
    run(stage, {&a, &b});
    EXPECT_EQ(all(batch), (Packets{&a.mbuf, &b.mbuf}));
    EXPECT_TRUE(ctx.handed.empty());
}

TEST_F(HandOverTest, TheOwnerKeepsItsTunnel) {
    owned_by(0, ctx.worker);
    TestPacket& a = into(0);
    run(stage, {&a});
    expect_kept(a);
    EXPECT_TRUE(ctx.handed.empty());
}

TEST_F(HandOverTest, OthersPacketsLeaveInTheirOrderAndUntouched) {
    owned_by(1, static_cast<std::uint16_t>(ctx.worker + 1));
    TestPacket& a = into(1);
    TestPacket& b = into(0);
    TestPacket& c = into(1);
    TestPacket& d = into(0);
    const Bytes before = c.bytes();
    run(stage, {&a, &b, &c, &d});
    EXPECT_EQ(all(batch), (Packets{&b.mbuf, &d.mbuf}));
    EXPECT_EQ(all(ctx.handed), (Packets{&a.mbuf, &c.mbuf}));
    EXPECT_EQ(c.bytes(), before);
    EXPECT_EQ(c.meta().tunnel, 1u);
    EXPECT_EQ(all_drops(), 0u);
}

TEST_F(HandOverTest, AWholeBurstFits) {
    owned_by(0, static_cast<std::uint16_t>(ctx.worker + 7));
    batch.clear();
    for (unsigned i = 0; i < kBurst; ++i) {
        batch.push(&into(0).mbuf);
    }
    stage.process(ctx, batch);
    EXPECT_TRUE(batch.empty());
    EXPECT_EQ(ctx.handed.size(), kBurst);
}

}  // namespace
}  // namespace twinspan::test
