// A bounded queue of pointers that any thread may put into and take from, in bursts and without a lock. DPDK's rings
// with several producers order what is handed over by what x86 promises; here each place says by itself whether it is
// filled, which the language promises, and ThreadSanitizer follows.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace twinspan {

template <class T>
class SharedRing {
public:
    // `size` is a power of two.
    explicit SharedRing(std::size_t size) : mask_(size - 1), places_(std::make_unique<Place[]>(size)) {
        for (std::size_t i = 0; i < size; ++i) {
            places_[i].turn.store(i, std::memory_order_relaxed);
        }
    }

    // Puts in the first of the n items, as many as there is room for, side by side, and returns how many.
    std::size_t put(T* const* items, std::size_t n) noexcept {
        const auto [mine, count] = claim(tail_, n, 0);
        for (std::size_t i = 0; i < count; ++i) {
            Place& place = places_[(mine + i) & mask_];
            place.item = items[i];
            place.turn.store(mine + i + 1, std::memory_order_release);
        }
        return count;
    }
    bool put(T* item) noexcept { return put(&item, 1) == 1; }

    // Takes at most n out, in the order in which they were put in, and returns how many.
    std::size_t take(T** items, std::size_t n) noexcept {
        const auto [mine, count] = claim(head_, n, 1);
        for (std::size_t i = 0; i < count; ++i) {
            Place& place = places_[(mine + i) & mask_];
            items[i] = place.item;
            place.turn.store(mine + i + mask_ + 1, std::memory_order_release);
        }
        return count;
    }
    T* take() noexcept {
        T* item = nullptr;
        return take(&item, 1) == 1 ? item : nullptr;
    }

private:
    // Place i of round r may be filled when its turn is i + r * size, and emptied when it is one more.
    struct Place {
        std::atomic<std::size_t> turn;
        T* item;
    };
    struct Claim {
        std::size_t first, count;
    };
    // At most n places from `end` on whose turn it is, the caller's alone.
    Claim claim(std::atomic<std::size_t>& end, std::size_t n, std::size_t filled) noexcept {
        std::size_t first = end.load(std::memory_order_relaxed);
        for (;;) {
            std::size_t count = 0;
            while (count < n &&
                   places_[(first + count) & mask_].turn.load(std::memory_order_acquire) == first + count + filled) {
                ++count;
            }
            if (count == 0) {
                const std::size_t now = end.load(std::memory_order_relaxed);
                if (now == first) {
                    return {first, 0};
                }
                first = now;
            } else if (end.compare_exchange_weak(first, first + count, std::memory_order_relaxed)) {
                return {first, count};
            }
        }
    }

    std::size_t mask_;
    std::unique_ptr<Place[]> places_;
    alignas(64) std::atomic<std::size_t> tail_{0};
    alignas(64) std::atomic<std::size_t> head_{0};
};

}  // namespace twinspan
