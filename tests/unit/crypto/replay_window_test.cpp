#include "crypto/replay_window.hpp"

#include "tests/unit/crypto/test_keys.hpp"

#include <atomic>
#include <random>
#include <set>
#include <thread>

namespace twinspan {
namespace {

using test::value;

// RFC 4303 section 3.4.3 in its plainest words, one number at a time.
class NaiveWindow {
public:
    explicit NaiveWindow(std::uint64_t bits) : bits_(bits) {}
    ReplayVerdict check(std::uint64_t seq) const {
        if (seq == 0 || seq + bits_ <= highest_) {
            return ReplayVerdict::too_old;
        }
        return seen_.contains(seq) ? ReplayVerdict::seen : ReplayVerdict::fresh;
    }
    bool accept(std::uint64_t seq) {
        if (check(seq) != ReplayVerdict::fresh) {
            return false;
        }
        seen_.insert(seq);
        highest_ = std::max(highest_, seq);
        return true;
    }

private:
    std::uint64_t bits_;
    std::uint64_t highest_ = 0;
    std::set<std::uint64_t> seen_;
};

class ReplayWindowTest : public testing::TestWithParam<std::uint32_t> {};
INSTANTIATE_TEST_SUITE_P(, ReplayWindowTest, testing::Values(32u, 64u, 1024u, 65536u),
                         testing::PrintToStringParamName());

// Mostly near the front, some anywhere in and behind the window, now and then a leap ahead.
std::uint64_t next_number(std::mt19937_64& random, std::uint64_t front, std::uint64_t bits) {
    switch (random() % 16) {
        case 0:
            return front + random() % (3 * bits);
        case 1:
        case 2:
        case 3:
            return front - std::min(front, random() % (2 * bits + 40));
        case 4:
            return random() % 100 == 0 ? front + (bits << random() % 20) : front;
        default:
            return front + 5 - std::min(front, random() % 10);
    }
}

TEST_P(ReplayWindowTest, AgreesWithTheNaiveWindowOnRandomBursts) {
    for (std::uint64_t seed = 0; seed < 8; ++seed) {
        std::mt19937_64 random{seed};
        ReplayWindow window = value(ReplayWindow::create(GetParam()));
        NaiveWindow naive{GetParam()};
        std::uint64_t front = seed == 0 ? 1 : random() % 1000;
        for (int round = 0; round < 3000; ++round) {
            std::vector<std::uint64_t> burst(1 + random() % 64);
            for (std::uint64_t& seq : burst) {
                seq = next_number(random, front, GetParam());
                front = std::max(front, seq);
                ASSERT_EQ(window.check(seq), naive.check(seq)) << "seed " << seed << " number " << seq;
            }
            std::uint64_t expected = 0;
            for (std::size_t i = 0; i < burst.size(); ++i) {
                expected |= std::uint64_t{naive.accept(burst[i])} << i;
            }
            ASSERT_EQ(window.accept_burst(burst), expected) << "seed " << seed << " round " << round;
        }
    }
}

TEST_P(ReplayWindowTest, ItsEdgesAreExact) {
    const std::uint64_t bits = GetParam();
    ReplayWindow window = value(ReplayWindow::create(GetParam()));
    EXPECT_EQ(window.check(0), ReplayVerdict::too_old);
    EXPECT_FALSE(window.accept(0));
    EXPECT_TRUE(window.accept(10 * bits));
    EXPECT_EQ(window.check(9 * bits), ReplayVerdict::too_old);
    EXPECT_FALSE(window.accept(9 * bits));
    EXPECT_EQ(window.check(9 * bits + 1), ReplayVerdict::fresh);
    EXPECT_TRUE(window.accept(9 * bits + 1));
    EXPECT_EQ(window.check(9 * bits + 1), ReplayVerdict::seen);
    EXPECT_FALSE(window.accept(9 * bits + 1));
}

TEST_P(ReplayWindowTest, CatchesAReplayInsideOneBurst) {
    ReplayWindow window = value(ReplayWindow::create(GetParam()));
    EXPECT_EQ(window.accept_burst(std::array<std::uint64_t, 6>{1, 2, 2, 3, 1, 33}), 0b101011u);
}

TEST_P(ReplayWindowTest, AfterARestartEverythingUpToTheLastKnownNumberIsAReplay) {
    for (const std::uint64_t last : {1ull, 31ull, 32ull, 100'000ull, 0x12'3456'789aull}) {
        ReplayWindow window = value(ReplayWindow::create(GetParam(), last));
        for (std::uint64_t back = 0; back < std::min<std::uint64_t>(last, 2 * GetParam() + 64); ++back) {
            ASSERT_NE(window.check(last - back), ReplayVerdict::fresh);
            ASSERT_FALSE(window.accept(last - back));
        }
        for (std::uint64_t ahead = 1; ahead < 200; ++ahead) {
            ASSERT_TRUE(window.accept(last + ahead));
        }
    }
}

// Far more than 2^32 blocks: the shortened block numbers in the slots come round.
TEST_P(ReplayWindowTest, AWindowWrittenDownAndReadBackDecidesTheSame) {
    const std::uint32_t bits = GetParam();
    std::mt19937_64 random{bits};
    for (const std::uint64_t top : {std::uint64_t{3}, std::uint64_t{bits} - 1, std::uint64_t{bits} + 7,
                                    std::uint64_t{5} * bits + 31, std::uint64_t{9} << 32}) {
        ReplayWindow window = value(ReplayWindow::create(bits));
        NaiveWindow naive{bits};
        const std::uint64_t oldest = top > bits ? top - bits + 1 : 1;
        for (std::uint64_t seq = oldest; seq <= top; ++seq) {
            if (random() % 3 != 0) {
                ASSERT_EQ(window.accept(seq), naive.accept(seq));
            }
        }
        const ReplayState state = window.state();
        EXPECT_EQ(state.highest, window.highest());
        ReplayWindow copy = value(ReplayWindow::create(bits, state));
        EXPECT_EQ(copy.highest(), window.highest());
        for (std::uint64_t seq = oldest - std::min<std::uint64_t>(oldest, 40); seq <= top + 2; ++seq) {
            ASSERT_EQ(copy.check(seq), naive.check(seq)) << seq << " below " << top;
        }
        for (std::uint64_t seq = oldest; seq <= top + 2; ++seq) {
            ASSERT_EQ(copy.accept(seq), naive.accept(seq)) << seq << " below " << top;
        }
    }
}

TEST_P(ReplayWindowTest, WhatAStateDoesNotTellOfCountsAsSeen) {
    const std::uint32_t bits = GetParam();
    const std::uint64_t top = std::uint64_t{3} * bits;
    ReplayWindow window = value(ReplayWindow::create(bits, ReplayState{top, {0x00000005}}));  // top and top - 2
    EXPECT_FALSE(window.accept(top));
    EXPECT_TRUE(window.accept(top - 1));
    EXPECT_FALSE(window.accept(top - 2));
    EXPECT_TRUE(window.accept(top - 31));
    for (std::uint64_t back = 32; back < bits; ++back) {
        ASSERT_FALSE(window.accept(top - back)) << back;
    }
    // A state of a larger window than ours, and one of nothing.
    EXPECT_EQ(value(ReplayWindow::create(bits, ReplayState{9, std::vector<std::uint32_t>(5000)})).highest(), 9u);
    ReplayWindow fresh = value(ReplayWindow::create(bits, ReplayState{}));
    EXPECT_TRUE(fresh.accept(1));
}

TEST_P(ReplayWindowTest, LeapsOfAnySizeLeaveAUsableWindow) {
    ReplayWindow window = value(ReplayWindow::create(GetParam()));
    std::uint64_t front = 1;
    for (const std::uint64_t leap : {1ull << 36, 1ull << 37, 1ull << 38, (1ull << 41) + 12345, 1ull << 60}) {
        ASSERT_TRUE(window.accept(front));
        front += leap;
        for (std::uint64_t i = 1; i < 3 * GetParam(); ++i) {
            ASSERT_TRUE(window.accept(front + 32 + i));
            ASSERT_FALSE(window.accept(front + 32 + i));
        }
        front += 4 * std::uint64_t{GetParam()} + 64;
    }
}

TEST_P(ReplayWindowTest, WorkersTogetherAcceptEachNumberOnce) {
    constexpr int kWorkers = 4;
    constexpr std::uint64_t kNumbers = 60'000;
    ReplayWindow window = value(ReplayWindow::create(GetParam()));
    std::vector<std::atomic<std::uint32_t>> accepted(kNumbers + 64);
    std::atomic<int> ready{0};
    std::atomic<std::uint64_t> front{1};  // keeps the workers near one another, so that they meet in the same slots
    std::vector<std::thread> workers;
    for (int w = 0; w < kWorkers; ++w) {
        workers.emplace_back([&, w] {
            std::mt19937_64 random{static_cast<std::uint64_t>(w)};
            ready.fetch_add(1);
            while (ready.load() != kWorkers) {
                std::this_thread::yield();
            }
            for (std::uint64_t base = 1; base < kNumbers; base = front.load()) {
                std::array<std::uint64_t, 32> burst;
                for (std::uint64_t& seq : burst) {
                    seq = base + random() % 64;
                }
                const std::uint64_t won = window.accept_burst(burst);
                for (std::size_t i = 0; i < burst.size(); ++i) {
                    if ((won >> i & 1) != 0 && burst[i] < accepted.size()) {
                        accepted[burst[i]].fetch_add(1);
                    }
                }
                if (random() % 4 == 0) {
                    front.fetch_add(random() % 16);
                }
            }
        });
    }
    for (auto& w : workers) {
        w.join();
    }
    std::uint64_t once = 0;
    for (const auto& n : accepted) {
        ASSERT_LE(n.load(), 1u);
        once += n.load();
    }
    EXPECT_GT(once, kNumbers / 2);
}

// All workers offer all numbers of the same two blocks at the same time, in small bursts: each number is taken by one
// of them, and none is lost.
TEST(ReplayWindowThreadsTest, NothingInsideTheWindowIsLost) {
    constexpr std::uint64_t kNumbers = 400'000;
    ReplayWindow window = value(ReplayWindow::create(65536));
    std::vector<std::atomic<std::uint32_t>> accepted(kNumbers + 64);
    std::atomic<std::uint64_t> front{1};
    std::vector<std::thread> workers;
    for (std::uint64_t w = 0; w < 4; ++w) {
        workers.emplace_back([&, w] {
            for (std::uint64_t base = front.load(); base <= kNumbers; base = front.load()) {
                for (std::uint64_t i = 0; i < 32; i += 4) {
                    const std::uint64_t at = base + (i + 8 * w) % 32;
                    const std::array<std::uint64_t, 4> burst{at, at + 1, at + 2, at + 3};
                    const std::uint64_t won = window.accept_burst(burst);
                    for (std::size_t k = 0; k < burst.size(); ++k) {
                        accepted[burst[k]].fetch_add(static_cast<std::uint32_t>(won >> k & 1));
                    }
                }
                front.compare_exchange_strong(base, base + 32);
            }
        });
    }
    for (auto& w : workers) {
        w.join();
    }
    for (std::uint64_t seq = 1; seq <= kNumbers; ++seq) {
        ASSERT_EQ(accepted[seq].load(), 1u) << seq;
    }
}

TEST(ReplayWindowCreateTest, RefusesSizesOutsideItsRange) {
    EXPECT_FALSE(ReplayWindow::create(31));
    EXPECT_FALSE(ReplayWindow::create(65537));
    EXPECT_EQ(value(ReplayWindow::create(33)).bits(), 64u);
}

}  // namespace
}  // namespace twinspan
