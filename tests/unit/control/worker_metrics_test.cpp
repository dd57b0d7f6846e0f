#include "control/worker_metrics.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace twinspan {
namespace {

TEST(WorkerMetrics, AreSumsAndFewerThanNoneHeldAreNone) {
    WorkerCounters a, b;
    const std::vector<const WorkerCounters*> threads{&a, &b};
    a.ecn_dangerous.add(1);
    b.ecn_dangerous.add(2);
    b.ecn_unused.add(4);
    a.fragmented.add(8);
    b.fragmented.add(16);
    a.merged.add(32);
    a.held.add(3);
    b.held.add(-std::uint64_t{1});  // one that the other put in
    Metrics metrics;
    set_worker_metrics(metrics, threads);
    EXPECT_EQ(metrics[Metric::ecn_dangerous], 3u);
    EXPECT_EQ(metrics[Metric::ecn_unused], 4u);
    EXPECT_EQ(metrics[Metric::packets_fragmented], 24u);
    EXPECT_EQ(metrics[Metric::fragments_merged], 32u);
    EXPECT_EQ(metrics[Metric::fragments_held], 2u);
    b.held.add(-std::uint64_t{4});
    set_worker_metrics(metrics, threads);
    EXPECT_EQ(metrics[Metric::fragments_held], 0u);
}

}  // namespace
}  // namespace twinspan
