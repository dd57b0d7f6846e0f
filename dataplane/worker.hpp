// The worker's loop: receive, walk the graph, transmit, free, be quiescent, keep house. What does not depend on the
// graph is in WorkerCore. No system calls under load; an idle worker may sleep.
#pragma once

#include "dataplane/config/snapshot_slot.hpp"
#include "dataplane/io/queue.hpp"
#include "dataplane/packet/batch.hpp"
#include "dataplane/state/lent_bursts.hpp"

#include <rte_pause.h>

#include <array>
#include <atomic>
#include <concepts>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

struct rte_ring;

namespace twinspan {

struct WorkerSetup {
    std::uint16_t index = 0;         // in SnapshotSlot
    std::vector<RxQueue> rx{};        // this worker's alone
    std::vector<TxQueue> tx{};        // by port index: every port that a snapshot may name
    rte_ring* punt = nullptr;        // to the punt thread; null: what is punted is dropped as punt_ring_full
    rte_ring* inject = nullptr;      // from the punt thread; null: none
    std::vector<SharedRing<rte_mbuf>*>
        owners{};  // by worker: to the one that owns a tunnel, this one's among them; empty: alone
    BurstOffers* offers = nullptr; // of bursts to decrypt, for all workers; null: this one lends and helps nobody
    SnapshotSlot* snapshots = nullptr;
    WorkerCounters* counters = nullptr;
    Engine* crypto = nullptr;
    NatTable* nat = nullptr;  // null: no NAT and nothing to age
    Reassembly* reassembly = nullptr;  // shared by all workers; null: fragments for us are dropped
    BufferSource buffers{};  // for the pieces of packets that are cut
    BufferSource large_buffers{};  // for packets made whole or linear
    std::uint32_t nat_ageing_steps = 256;  // each millisecond; see nat_ageing_steps()
    bool sleep_when_idle = false;
    std::uint32_t icmp_errors_per_second = 1'000;  // RFC 1812 section 4.3.2.8: the rate of ICMP errors is limited
    std::uint32_t punts_per_second = 20'000;  // of each PuntClass
};

// All records of a NAT table are looked at in two seconds.
constexpr std::uint32_t nat_ageing_steps(std::uint32_t records, std::size_t workers) noexcept {
    return static_cast<std::uint32_t>(records / (2'000 * workers)) + 32;
}

// Tokens by time: `rate` a second, at most a quarter of a second's worth at once.
class TokenRate {
public:
    TokenRate(std::uint32_t rate, std::uint64_t tsc_hz) noexcept : rate_(rate), tsc_hz_(tsc_hz) {}
    void refill(std::uint64_t& tokens, std::uint64_t now_tsc) noexcept;
    std::uint64_t most() const noexcept { return rate_ == 0 ? 0 : rate_ < 4 ? 1 : rate_ / 4; }

private:
    std::uint64_t rate_;
    std::uint64_t tsc_hz_;
    std::uint64_t last_tsc_ = 0;
};

class WorkerCore {
public:
    explicit WorkerCore(WorkerSetup setup);

    void join() noexcept;
    void leave() noexcept;
    void begin_loop() noexcept;
    std::uint16_t receive(const RxQueue& queue, Batch& batch) noexcept;  // counted
    std::uint16_t take_injected(Batch& batch) noexcept;
    std::uint16_t take_handed(Batch& batch) noexcept;
    void take_generated(Batch& batch) noexcept;
    void take_aside(Batch& batch) noexcept;
    void flush() noexcept;  // empties the context's lists
    void end_loop(bool busy) noexcept;
    bool help() noexcept;  // opens a burst of another worker's
    // The burst's own snapshot is the context's until end_finish.
    void begin_finish(LentBurst& burst) noexcept;
    void end_finish() noexcept;
    bool is_awaited() const noexcept { return setup_.snapshots->awaited(setup_.index); }
    void idle() noexcept;  // after a loop without work: waits a little, longer each time
    void wake() noexcept { empty_loops_ = 0; }

    Context& context() noexcept { return context_; }
    const std::vector<RxQueue>& rx() const noexcept { return setup_.rx; }
    std::size_t workers() const noexcept { return setup_.owners.size(); }
    LentBursts* lent() noexcept { return lent_.get(); }

private:
    void transmit(std::uint16_t port) noexcept;
    void punt() noexcept;
    void hand_over() noexcept;
    void keep_house() noexcept;
    void age_nat(bool busy) noexcept;

    WorkerSetup setup_;
    Context context_{};
    std::unique_ptr<LentBursts> lent_;
    std::uint64_t tsc_hz_;
    std::uint64_t next_tick_tsc_ = 0;
    std::uint32_t ageing_due_ = 0;  // steps
    TokenRate icmp_rate_;
    std::array<TokenRate, kPuntClasses> punt_rates_;
    unsigned empty_loops_ = 0;
    long sleep_ns_ = 0;
};

template <class G>
concept PacketGraph = requires(G& graph, Context& ctx, Batch& batch) {
    { graph.from_wire(ctx, batch) } noexcept -> std::same_as<void>;  // raw frames, m->port says where from
    { graph.from_linux(ctx, batch) } noexcept -> std::same_as<void>;  // meta.netdev says where from
    { graph.from_self(ctx, batch) } noexcept -> std::same_as<void>;  // ICMP errors
    { graph.from_worker(ctx, batch) } noexcept -> std::same_as<void>;  // from other workers' Context::handed
    { graph.from_tunnel(ctx, batch) } noexcept -> std::same_as<void>;  // decrypted, perhaps by another worker
    { graph.from_aside(ctx, batch) } noexcept -> std::same_as<void>;  // what NAT set aside
    { graph.from_oversize(ctx, batch) } noexcept -> std::same_as<void>;  // packets to be cut
    { graph.from_fragments(ctx, batch) } noexcept -> std::same_as<void>;  // their pieces
};

template <PacketGraph G>
class Worker {
public:
    explicit Worker(WorkerSetup setup, G graph = {}) : core_(std::move(setup)), graph_(std::move(graph)) {}

    // Until `stop`; the caller's thread is the worker.
    void run(const std::atomic<bool>& stop) noexcept {
        join();
        while (!stop.load(std::memory_order_relaxed)) {
            if (loop()) [[likely]] {
                core_.wake();
            } else {
                core_.idle();
            }
        }
        leave();
    }

    // For callers that drive the loop themselves: join once, loop as often as wanted, leave once.
    void join() noexcept { core_.join(); }
    void leave() noexcept {
        finish_all_lent();
        core_.leave();
    }
    // One turn; says whether there was work.
    bool loop() noexcept {
        Context& ctx = core_.context();
        bool busy = false;
        core_.begin_loop();
        for (const RxQueue& queue : core_.rx()) {
            make_room_to_lend();
            if (core_.receive(queue, batch_) != 0) {
                busy = true;
                graph_.from_wire(ctx, batch_);
                end_walk();
            }
        }
        if (core_.take_injected(batch_) != 0) {
            busy = true;
            graph_.from_linux(ctx, batch_);
            end_walk();
        }
        // As much as all others may have received meanwhile.
        for (std::size_t others = core_.workers(); others > 1 && core_.take_handed(batch_) != 0; --others) {
            busy = true;
            graph_.from_worker(ctx, batch_);
            end_walk();
        }
        if (core_.lent() != nullptr) {
            busy = lend_and_help(busy);
        }
        core_.end_loop(busy);
        return busy;
    }

    Context& context() noexcept { return core_.context(); }
    const G& graph() const noexcept { return graph_; }

private:
    // One step on with what is lent: the oldest burst goes on its way, or one more is opened; false when all are in the
    // hands of others.
    bool finish_lent() noexcept {
        LentBurst* oldest = core_.lent()->opened();
        if (oldest == nullptr) {
            return core_.lent()->open_one(core_.context());
        }
        core_.begin_finish(*oldest);
        graph_.from_tunnel(core_.context(), oldest->batch);
        end_walk();
        core_.end_finish();
        return true;
    }
    void make_room_to_lend() noexcept {
        while (core_.lent() != nullptr && !core_.lent()->has_room()) [[unlikely]] {
            if (!finish_lent()) {
                rte_pause();
            }
        }
    }
    void finish_all_lent() noexcept {
        while (core_.lent() != nullptr && !core_.lent()->empty()) {
            if (!finish_lent()) {
                rte_pause();
            }
        }
    }
    // What is opened goes on at once. A worker with nothing else to do opens its own bursts, or those of others.
    bool lend_and_help(bool busy) noexcept {
        if (core_.lent()->empty()) {
            return busy || core_.help();
        }
        while (core_.lent()->opened() != nullptr) {
            finish_lent();
        }
        if (core_.is_awaited()) [[unlikely]] {
            finish_all_lent();
        } else if (!busy && !core_.lent()->empty()) {
            finish_lent();
        }
        return true;
    }

    void end_walk() noexcept {
        flush();
        while (!core_.context().oversize.empty()) [[unlikely]] {
            cut_oversize();
        }
    }

    // Brings what a walk has left beside its lists to them, and empties them.
    void flush() noexcept {
        take_aside();
        if (!core_.context().generated.empty()) [[unlikely]] {
            core_.take_generated(batch_);
            graph_.from_self(core_.context(), batch_);
            take_aside();
        }
        core_.flush();
    }

    // What was a fragment may be set aside once more, when it is whole.
    void take_aside() noexcept {
        while (!core_.context().aside.empty()) [[unlikely]] {
            core_.take_aside(batch_);
            graph_.from_aside(core_.context(), batch_);
        }
    }

    // A few packets at a time, so that their pieces fit the list; the lists are emptied after every walk. One of them
    // may get no session, which its sender is told, or be a fragment to be made whole, and then too long again.
    [[gnu::noinline]] void cut_oversize() noexcept {
        Context& ctx = core_.context();
        const PacketList<kBurst> waiting = ctx.oversize;
        ctx.oversize.clear();
        for (std::uint16_t next = 0; next < waiting.size();) {
            batch_.clear();
            while (next < waiting.size() && batch_.size() < kFragmentedAtOnce) {
                batch_.push(waiting[next++]);
            }
            graph_.from_oversize(ctx, batch_);
            flush();
            for (std::uint16_t piece = 0; piece < ctx.fragments.size();) {
                batch_.clear();
                while (piece < ctx.fragments.size() && !batch_.full()) {
                    batch_.push(ctx.fragments[piece++]);
                }
                graph_.from_fragments(ctx, batch_);
                core_.flush();
            }
            ctx.fragments.clear();
        }
    }

    WorkerCore core_;
    G graph_;
    Batch batch_;
};

}  // namespace twinspan
