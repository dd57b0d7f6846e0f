// Several workers with the real graph over one small site, each in a thread of its own. What they receive is laid out
// before they start, what they send is kept until they have ended: no buffer is used twice meanwhile, because
// ThreadSanitizer cannot see that DPDK's mempool hands buffers from thread to thread.
#pragma once

#include "dataplane/graph.hpp"
#include "dataplane/io/buffers.hpp"
#include "dataplane/worker.hpp"
#include "tests/support/small_world.hpp"

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

namespace twinspan::test {

struct Member {
    std::deque<rte_mbuf*> wire;   // what it is going to receive, in bursts of changing size
    std::vector<rte_mbuf*> sent;  // whole frames, in order
    std::unique_ptr<Engine> engine;
    std::unique_ptr<WorkerCounters> counters = std::make_unique<WorkerCounters>();
    std::unique_ptr<Worker<Graph>> worker;
    unsigned turn = 0;

    std::uint64_t drops() const;
    bool exact() const;  // at rest
};

class WorkerTeam {
public:
    // Each worker's ring for other workers' packets has `ring_size` places.
    explicit WorkerTeam(std::uint16_t workers, unsigned ring_size = 4096);
    ~WorkerTeam();  // frees what was sent and what is left in rings
    WorkerTeam(const WorkerTeam&) = delete;
    WorkerTeam& operator=(const WorkerTeam&) = delete;

    // A frame that `worker` receives at `port`.
    void receives(std::size_t worker, std::span<const std::uint8_t> frame, std::uint16_t port);
    // A UDP packet of the LAN host; the payload begins with `flow` and `number`.
    void receives_from_lan(std::size_t worker, const std::string& destination, std::uint32_t flow,
                           std::uint32_t number);
    // Publishes the world's configuration as it is.
    void publish();
    // Until all that was to be received has ended, as the counters say; `meanwhile` is called over and over by the
    // caller's thread. A deadline makes it a failure.
    void run(const std::function<void()>& meanwhile = [] {});
    // The same in the caller's thread, worker after worker.
    void run_in_turns();

    // Snapshots that were replaced and are not freed yet.
    std::size_t retired() { return slot_->reclaim(); }
    // What the next worker with time would be given; null: nothing is on offer.
    LentBurst* next_offer() { return offers_.take(); }

    std::uint64_t total(Counter WorkerCounters::* counter) const;
    std::uint64_t drops(Drop reason) const;

    SmallWorld world;
    std::deque<Member> members;  // their places in memory are handed out

private:
    bool at_rest() const;
    std::unique_ptr<SnapshotSlot> slot_;
    std::vector<std::unique_ptr<SharedRing<rte_mbuf>>> rings_;
    BurstOffers offers_;
};

}  // namespace twinspan::test
