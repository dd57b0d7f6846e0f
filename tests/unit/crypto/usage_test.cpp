#include "crypto/usage.hpp"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

namespace twinspan {
namespace {

TEST(UsageCounter, AddsUpWhatWorkersCountedAtTheSameTime) {
    constexpr unsigned kWorkers = 4;
    constexpr std::uint64_t kRounds = 50'000;
    std::array<UsageCounter, 3> counters;
    std::vector<std::thread> workers;
    for (unsigned w = 0; w < kWorkers; ++w) {
        workers.emplace_back([&counters, w] {
            for (std::uint64_t i = 0; i < kRounds; ++i) {
                counters[0].add(w, 1, w);
                counters[2].add(w, 2, 3);
            }
        });
    }
    std::uint64_t before = 0;
    while (before < kWorkers * kRounds / 2) {  // read while they write: never backwards
        const std::uint64_t seen = counters[0].sum().packets;
        ASSERT_GE(seen, before);
        before = seen;
    }
    for (std::thread& worker : workers) {
        worker.join();
    }
    EXPECT_EQ(counters[0].sum(), (SaUsage{kWorkers * kRounds, (0 + 1 + 2 + 3) * kRounds}));
    EXPECT_EQ(counters[1].sum(), SaUsage{});
    EXPECT_EQ(counters[2].sum(), (SaUsage{2 * kWorkers * kRounds, 3 * kWorkers * kRounds}));
}

TEST(UsageCounter, TheLastWorkersCellsAreItsOwn) {
    UsageCounter counter;
    counter.add(UsageCounter::kMostWorkers - 1, 5, 500);
    counter.add(0, 1, 60);
    EXPECT_EQ(counter.sum(), (SaUsage{6, 560}));
}

// More than one piece of memory holds; none begins with what another one left.
TEST(UsageCounter, BeginsAtZeroWhoeverHadTheCells) {
    for (int round = 0; round < 3; ++round) {
        std::vector<std::unique_ptr<UsageCounter>> counters;
        for (std::size_t i = 0; i < 2 * UsageCounter::kStride + 1; ++i) {
            counters.push_back(std::make_unique<UsageCounter>());
            ASSERT_EQ(counters.back()->sum(), SaUsage{}) << round << ' ' << i;
            counters.back()->add(i % UsageCounter::kMostWorkers, i + 1, i + 2);
        }
        for (std::size_t i = 0; i < counters.size(); ++i) {
            ASSERT_EQ(counters[i]->sum(), (SaUsage{i + 1, i + 2})) << "cells that two counters have";
        }
    }
}

TEST(UsageCounter, TakesNoMoreWorkersThanCellsWereMadeFor) {
    const UsageCounter counter;
    EXPECT_THROW(UsageCounter::set_workers(UsageCounter::kMostWorkers + 1), std::logic_error);
    EXPECT_NO_THROW(UsageCounter::set_workers(UsageCounter::kMostWorkers));
}

}  // namespace
}  // namespace twinspan
