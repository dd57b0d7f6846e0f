// ESP bursts whose decryption any worker may do, so that one SA's packets use several cores. The worker that received
// them offers them, whoever has time opens them, and the receiver takes them back strictly in the order in which
// they came: nothing that follows decryption sees another order than without.
#pragma once

#include "dataplane/base/shared_ring.hpp"
#include "dataplane/packet/batch.hpp"
#include "dataplane/stages/esp_open.hpp"

#include <atomic>
#include <cstdint>
#include <memory>

namespace twinspan {

// Who may touch the rest follows from the state: the receiver while it is `kept`, and whoever has turned `offered` into
// `taken` until it is `opened`, which only the receiver ends.
struct alignas(RTE_CACHE_LINE_SIZE) LentBurst {
    enum State : std::uint8_t { kept, offered, taken, opened };
    std::atomic<std::uint8_t> state{kept};
    const Snapshot* config = nullptr;  // the one under which it was received, and under which it goes on
    Batch batch;
    EspArrivals in;

    bool take() noexcept {
        std::uint8_t expected = offered;
        return state.compare_exchange_strong(expected, taken, std::memory_order_acquire, std::memory_order_relaxed);
    }
    // By who took it.
    void open(Context& ctx) noexcept {
        decrypt_esp(ctx, batch, in);
        state.store(opened, std::memory_order_release);
    }
};

using BurstOffers = SharedRing<LentBurst>;

// One worker's bursts on loan, oldest first. Thread: that worker.
class LentBursts {
public:
    // The ways to EspIn in a walk of the graph, each of which may lend: bare ESP and ESP in UDP, whole and reassembled.
    static constexpr std::uint32_t kMostPerWalk = 4;

    // `offers` is shared with the workers that may help. Two bursts for each
    // worker, one in work and one that waits: more would only make packets late.
    LentBursts(BurstOffers* offers, std::uint32_t workers);

    bool empty() const noexcept { return head_ == tail_; }
    bool has_room() const noexcept { return tail_ - head_ + kMostPerWalk <= size_; }

    // The batch is empty afterwards. There has to be room.
    void offer(const Snapshot* config, Batch& batch, const EspArrivals& in) noexcept;
    // The oldest one when it is opened, for the caller to finish and then release(); else null.
    LentBurst* opened() noexcept;
    void release() noexcept;
    // Opens the oldest one that nobody has taken; false when there is none.
    bool open_one(Context& ctx) noexcept;

private:
    LentBurst& at(std::uint32_t i) noexcept { return bursts_[i % size_]; }
    BurstOffers* offers_;
    std::uint32_t size_;
    std::unique_ptr<LentBurst[]> bursts_;
    std::uint32_t head_ = 0;  // oldest on loan
    std::uint32_t tail_ = 0;
};

// Any worker with time: opens one burst of another worker's; false when none is offered.
bool help_to_open(BurstOffers& offers, Context& ctx) noexcept;

}  // namespace twinspan
