// Which session records are free. Each worker keeps a few of its own; whole chunks go through a shared stack.
// The lists run through the free records themselves and cost no memory.
#pragma once

#include "dataplane/state/nat_session.hpp"
#include "dataplane/state/spin_lock.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <mutex>

namespace twinspan {

class NatNumbers {
public:
    static constexpr std::uint32_t kChunk = 64;
    static constexpr std::uint32_t kReserve = 2048;  // what all workers open while a grace period lasts

    struct Cache {  // one worker's
        std::uint32_t head = 0;
        std::uint32_t count = 0;
    };

    // Numbers 1..capacity of `sessions`; 0 means none.
    NatNumbers(NatSession* sessions, std::uint32_t capacity) noexcept
        : sessions_(sessions), capacity_(capacity), reserve_(std::min(capacity / 32, kReserve)) {}

    std::uint32_t take(Cache& cache) noexcept {
        if (cache.count == 0 && !refill(cache)) {
            return 0;
        }
        const std::uint32_t number = cache.head;
        cache.head = sessions_[number].next;
        --cache.count;
        return number;
    }
    // No other thread may still read the record.
    void give(Cache& cache, std::uint32_t number) noexcept {
        push(cache, number);
        if (cache.count == 2 * kChunk) {
            spill(cache);
        }
    }
    // So few are free that some should be freed; other workers' caches do not count.
    bool scarce(const Cache& cache) const noexcept {
        return high_water_.load(std::memory_order_relaxed) == capacity_ &&
               free_chunks_.load(std::memory_order_relaxed) * kChunk + cache.count < reserve_;
    }
    // Records above this have never been used.
    std::uint32_t high_water() const noexcept { return high_water_.load(std::memory_order_acquire); }

private:
    void push(Cache& cache, std::uint32_t number) noexcept {
        sessions_[number].next = cache.head;
        cache.head = number;
        ++cache.count;
    }
    bool refill(Cache& cache) noexcept {
        std::uint32_t first = 0;
        std::uint32_t end = 0;
        {
            const std::lock_guard guard{lock_};
            if (chunks_ != 0) {
                cache = {chunks_, kChunk};
                chunks_ = sessions_[chunks_].next_chunk;
                free_chunks_.store(free_chunks_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
                return true;
            }
            first = high_water_.load(std::memory_order_relaxed) + 1;
            end = first + std::min(kChunk, capacity_ + 1 - first);
            high_water_.store(end - 1, std::memory_order_release);
        }
        for (std::uint32_t number = end; number > first;) {
            push(cache, --number);
        }
        return cache.count != 0;
    }
    // Half of a full cache, so that a worker that frees and takes by turns does not come back at once.
    void spill(Cache& cache) noexcept {
        const std::uint32_t chunk = cache.head;
        std::uint32_t last = chunk;
        for (std::uint32_t i = 1; i < kChunk; ++i) {
            last = sessions_[last].next;
        }
        cache = {sessions_[last].next, cache.count - kChunk};
        const std::lock_guard guard{lock_};
        sessions_[chunk].next_chunk = chunks_;
        chunks_ = chunk;
        free_chunks_.store(free_chunks_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }

    NatSession* sessions_;
    std::uint32_t capacity_;
    std::uint32_t reserve_;
    SpinLock lock_;
    std::uint32_t chunks_ = 0;                   // under lock_
    std::atomic<std::uint32_t> free_chunks_{0};  // written under lock_
    std::atomic<std::uint32_t> high_water_{0};   // written under lock_
};

}  // namespace twinspan
