#include "dataplane/stages/route.hpp"

#include "dataplane/packet/pipeline.hpp"
#include "tests/support/stage_test.hpp"

namespace twinspan {
namespace {

using test::TestPacket;

static_assert(Stage<Route>);

struct RouteTest : test::StageTest {
    TestPacket& to(const char* dst) {
        const bool v6 = std::string{dst}.contains(':');
        return parsed(test::udp_packet({.src = v6 ? "fd10:10::10" : "10.10.0.10", .dst = dst}));
    }
    static RouteResult found(TestPacket& p) { return RouteResult::from_raw(p.meta().route); }
    Route stage;
};

TEST_F(RouteTest, AnswersEachPacketOfAMixedBurst) {
    TestPacket& tunnel4 = to("10.20.3.4");
    TestPacket& tunnel6 = to("fd10:20::5");
    TestPacket& microsoft = to("13.107.6.9");
    TestPacket& nowhere6 = to("2001:db8::1");
    TestPacket& ours6 = to("fd10:10::1");
    TestPacket& pool = to("198.51.100.17");
    TestPacket& host = to("10.10.0.10");
    TestPacket& subnet = to("10.10.0.11");
    TestPacket& blackhole = to("192.0.2.200");
    const auto before = microsoft.bytes();
    run(stage, {&tunnel4, &tunnel6, &microsoft, &nowhere6, &ours6, &pool, &host, &subnet, &blackhole});
    EXPECT_EQ(batch.size(), 9);
    EXPECT_EQ(found(tunnel4), (RouteResult{RouteKind::forward, kTunnel0Only, true}));
    EXPECT_EQ(found(tunnel6), (RouteResult{RouteKind::forward, kTunnel0Only, true}));
    EXPECT_EQ(found(microsoft), (RouteResult{RouteKind::forward, kMsftBoth}));
    EXPECT_EQ(found(nowhere6), RouteResult::dropped(Drop::no_route));
    EXPECT_EQ(found(ours6), (RouteResult{RouteKind::local, 0}));
    EXPECT_EQ(found(pool), (RouteResult{RouteKind::pool, 1}));
    EXPECT_EQ(found(host), (RouteResult{RouteKind::forward, kLanHost}));
    EXPECT_EQ(found(subnet), (RouteResult{RouteKind::connected, kLan}));
    EXPECT_EQ(found(blackhole), RouteResult::dropped(Drop::route_blackhole));
    EXPECT_EQ(microsoft.bytes(), before);
    EXPECT_EQ(all_drops(), 0u);
}

TEST_F(RouteTest, AWholeBurstOfEitherFamily) {
    for (const char* dst : {"10.20.3.4", "fd10:20::5"}) {
        batch.clear();
        for (unsigned i = 0; i < kBurst; ++i) {
            batch.push(&to(dst).mbuf);
        }
        stage.process(ctx, batch);
        for (rte_mbuf* m : batch) {
            EXPECT_EQ(RouteResult::from_raw(meta(*m).route), (RouteResult{RouteKind::forward, kTunnel0Only, true}));
        }
    }
}

}  // namespace
}  // namespace twinspan
