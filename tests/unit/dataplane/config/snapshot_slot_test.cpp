#include "dataplane/config/snapshot_slot.hpp"

#include "dataplane/config/snapshot.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace twinspan {
namespace {

// Every bucket holds the generation: a torn or freed snapshot shows.
std::unique_ptr<const Snapshot> snapshot(std::uint64_t generation) {
    auto s = std::make_unique<Snapshot>();
    s->generation = generation;
    s->buckets.assign(64, static_cast<std::uint16_t>(generation));
    return s;
}

TEST(SnapshotSlotTest, WorkersSeeWholeSnapshotsInOrderAndAllAreFreed) {
    constexpr unsigned kWorkers = 3;
    constexpr std::uint64_t kLast = 5'000;
    SnapshotSlot slot{kWorkers, snapshot(0)};
    std::atomic<unsigned> joined{0};
    std::atomic<std::uint64_t> torn{0};
    std::atomic<std::uint64_t> backwards{0};
    std::vector<std::thread> workers;
    for (unsigned w = 0; w < kWorkers; ++w) {
        workers.emplace_back([&, w] {
            slot.join(w);
            joined.fetch_add(1);
            std::uint64_t seen = 0;
            for (unsigned loop = 0; seen < kLast; ++loop) {
                const Snapshot& s = slot.read();
                backwards += s.generation < seen ? 1 : 0;
                seen = s.generation;
                for (std::uint16_t word : s.buckets) {
                    torn += word != static_cast<std::uint16_t>(seen) ? 1 : 0;
                }
                slot.quiescent(w);
                if (loop % 64 == w) {  // a short sleep: nothing is held, and nobody waits for it
                    slot.offline(w);
                    std::this_thread::yield();
                    slot.online(w);
                }
            }
            slot.leave(w);
        });
    }
    while (joined.load() != kWorkers) {
        std::this_thread::yield();
    }
    for (std::uint64_t g = 1; g <= kLast; ++g) {
        slot.publish(snapshot(g));
        if (g % 500 == 0) {
            slot.synchronize();
            EXPECT_EQ(slot.reclaim(), 0u) << "a grace period has passed since the last publication";
        } else {
            slot.reclaim();
        }
    }
    for (std::thread& t : workers) {
        t.join();
    }
    EXPECT_EQ(slot.reclaim(), 0u);
    EXPECT_EQ(torn.load(), 0u);
    EXPECT_EQ(backwards.load(), 0u);
}

TEST(SnapshotSlotTest, RetiredSnapshotWaitsForTheReader) {
    SnapshotSlot slot{1, snapshot(1)};
    slot.join(0);
    const Snapshot& held = slot.read();
    slot.publish(snapshot(2));
    EXPECT_EQ(slot.reclaim(), 1u);
    EXPECT_EQ(held.generation, 1u);
    slot.quiescent(0);
    EXPECT_EQ(slot.reclaim(), 0u);
    EXPECT_EQ(slot.read().generation, 2u);
    slot.leave(0);
}

TEST(SnapshotSlotTest, NobodyWaitsForASleeper) {
    SnapshotSlot slot{1, snapshot(1)};
    slot.join(0);
    slot.offline(0);
    slot.publish(snapshot(2));
    EXPECT_EQ(slot.reclaim(), 0u);
    slot.synchronize();  // returns
    slot.online(0);
    EXPECT_EQ(slot.read().generation, 2u);
    slot.leave(0);
}

TEST(SnapshotSlotTest, SynchronizeWaitsForTheReader) {
    SnapshotSlot slot{1, snapshot(1)};
    slot.join(0);
    std::atomic<bool> passed{false};
    std::thread control{[&] {
        slot.synchronize();
        passed = true;
    }};
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_FALSE(passed.load());
    while (!passed.load()) {
        slot.quiescent(0);
        std::this_thread::yield();
    }
    control.join();
    slot.leave(0);
}

}  // namespace
}  // namespace twinspan
