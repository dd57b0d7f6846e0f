#include "control/nat/nat_kept.hpp"

#include <gtest/gtest.h>

namespace twinspan {
namespace {

TEST(NatKept, IsToldInOneLine) {
    NatKept kept;
    kept.took = std::chrono::milliseconds{31};
    EXPECT_EQ(text_of(kept), "");
    kept.restored.restored = 1500;
    EXPECT_EQ(text_of(kept), "1500 sessions of an earlier run go on; 31 ms");
    kept.restored.leave_out(NatLeftOut::expired, 10);
    kept.restored.leave_out(NatLeftOut::no_address, 2);
    EXPECT_EQ(text_of(kept), "1500 sessions of an earlier run go on, 12 do not (10 expired, 2 no address); 31 ms");
}

TEST(NatKept, EveryReasonHasItsMetric) {
    NatKept kept;
    kept.restored.restored = 100;
    for (std::size_t i = 0; i < kNatLeftOutNames.size(); ++i) {
        kept.restored.leave_out(static_cast<NatLeftOut>(i), i + 1);
    }
    Metrics metrics;
    tell_nat_kept(kept, true, metrics);
    EXPECT_EQ(metrics[Metric::nat_restored], 100u);
    EXPECT_EQ(metrics[Metric::nat_left_out_expired], 1u);
    EXPECT_EQ(metrics[Metric::nat_left_out_no_pool], 2u);
    EXPECT_EQ(metrics[Metric::nat_left_out_no_address], 3u);
    EXPECT_EQ(metrics[Metric::nat_left_out_taken], 4u);
    EXPECT_EQ(metrics[Metric::nat_left_out_host_limit], 5u);
    EXPECT_EQ(metrics[Metric::nat_left_out_no_room], 6u);
    EXPECT_EQ(metrics[Metric::nat_left_out_nonsense], 7u);
}

}  // namespace
}  // namespace twinspan
