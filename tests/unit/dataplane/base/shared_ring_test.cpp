#include "dataplane/base/shared_ring.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <thread>
#include <vector>

namespace twinspan {
namespace {

TEST(SharedRingTest, GivesBackInOrderAndTakesAsMuchAsFits) {
    std::array<int, 20> items{};
    std::array<int*, 20> in;
    for (std::size_t i = 0; i < items.size(); ++i) {
        in[i] = &items[i];
    }
    SharedRing<int> ring{8};
    std::array<int*, 20> out;
    for (unsigned round = 0; round < 10; ++round) {
        EXPECT_EQ(ring.put(in.data(), 20), 8u);
        EXPECT_FALSE(ring.put(in[0]));
        EXPECT_EQ(ring.take(out.data(), 3), 3u);
        EXPECT_EQ(ring.put(in.data() + 8, 5), 3u);
        EXPECT_EQ(ring.take(out.data() + 3, 20), 8u);
        EXPECT_TRUE(std::equal(out.begin(), out.begin() + 11, in.begin()));
        EXPECT_EQ(ring.take(), nullptr);
    }
}

// Each item comes out once, and what one thread has put in comes out in its order.
TEST(SharedRingTest, ManyPutInAndManyTakeOut) {
    constexpr std::size_t kEach = 20'000;
    constexpr std::size_t kThreads = 3;
    struct Item {
        std::size_t from, number;
    };
    std::vector<std::vector<Item>> items(kThreads);
    std::vector<std::vector<Item*>> got(kThreads);
    SharedRing<Item> ring{64};
    std::atomic<std::size_t> taken{0};
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] {
            for (std::size_t i = 0; i < kEach; ++i) {
                items[t].push_back({t, i});
            }
            for (std::size_t next = 0; next < kEach;) {
                std::array<Item*, 7> burst;
                std::size_t n = 0;
                for (; n < burst.size() && next + n < kEach; ++n) {
                    burst[n] = &items[t][next + n];
                }
                next += ring.put(burst.data(), n);
                std::this_thread::yield();
            }
        });
        threads.emplace_back([&, t] {
            while (taken.load() < kThreads * kEach) {
                std::array<Item*, 5> burst;
                const std::size_t n = ring.take(burst.data(), burst.size());
                got[t].insert(got[t].end(), burst.begin(), burst.begin() + static_cast<std::ptrdiff_t>(n));
                taken += n;
                if (n == 0) {
                    std::this_thread::yield();
                }
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    std::vector<Item*> all;
    for (const auto& mine : got) {
        std::array<std::size_t, kThreads> next{};
        for (Item* item : mine) {
            EXPECT_GE(item->number, next[item->from]);
            next[item->from] = item->number + 1;
            all.push_back(item);
        }
    }
    std::ranges::sort(all);
    EXPECT_EQ(all.size(), kThreads * kEach);
    EXPECT_TRUE(std::ranges::adjacent_find(all) == all.end());
}

}  // namespace
}  // namespace twinspan
