// What has passed by an SA, counted by each worker in a cell of its own, so that nobody locks anything.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace twinspan {

// As the kernel counts it for an SA: packets, and bytes of the packets inside.
struct SaUsage {
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
    friend bool operator==(const SaUsage&, const SaUsage&) = default;
};

// One worker's part. One writer at a time.
class UsageCell {
public:
    void add(std::uint64_t n_packets, std::uint64_t n_bytes) noexcept {
        packets_.store(packets_.load(std::memory_order_relaxed) + n_packets, std::memory_order_relaxed);
        bytes_.store(bytes_.load(std::memory_order_relaxed) + n_bytes, std::memory_order_relaxed);
    }
    SaUsage read() const noexcept {
        return {packets_.load(std::memory_order_relaxed), bytes_.load(std::memory_order_relaxed)};
    }

private:
    std::atomic<std::uint64_t> packets_{0};
    std::atomic<std::uint64_t> bytes_{0};
};

class UsageCounter {
public:
    static constexpr unsigned kMostWorkers = 64;
    // Cells of one worker lie side by side, four SAs to a cache line, and those of two workers this many apart.
    static constexpr std::size_t kStride = 1024;

    // Control, before the first SA: workers are numbered below `n`, and not only below kMostWorkers, so that no one
    // looks for more. Throws where counters have been made for fewer.
    static void set_workers(unsigned n);

    // Control. The destructor when no worker holds the SA any more: another SA gets the cells.
    UsageCounter();
    ~UsageCounter();
    UsageCounter(const UsageCounter&) = delete;
    UsageCounter& operator=(const UsageCounter&) = delete;

    // Worker, by its own number.
    void add(unsigned worker, std::uint64_t n_packets, std::uint64_t n_bytes) noexcept {
        cells_[worker * kStride].add(n_packets, n_bytes);
    }
    void prefetch(unsigned worker) const noexcept { __builtin_prefetch(&cells_[worker * kStride], 1); }

    SaUsage sum() const noexcept;  // any thread

private:
    UsageCell* cells_;  // worker 0's
};

}  // namespace twinspan
