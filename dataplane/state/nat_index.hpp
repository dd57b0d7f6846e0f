// Hash index from a key to a session number: buckets of one cache line, chained when they overflow.
// Lookups take no lock and never miss an entry that stays: entries do not move. Inserts and deletes lock one bucket.
// Emptied overflow buckets and erased sessions may still be read by others until a grace period has passed.
#pragma once

#include "dataplane/state/nat_key.hpp"
#include "dataplane/state/nat_memory.hpp"
#include "dataplane/state/spin_lock.hpp"

#include <emmintrin.h>

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <mutex>

namespace twinspan {

class NatIndex {
public:
    static constexpr unsigned kEntries = 8;

    NatIndex(const NatMemory& memory, std::uint32_t sessions);

    void prefetch(std::uint64_t hash) const noexcept { __builtin_prefetch(&buckets_[home(hash)]); }

    // The first session of the home bucket whose tag fits, or 0. The caller compares keys, and calls find() if they
    // differ.
    std::uint32_t guess(std::uint64_t hash) const noexcept {
        const Bucket& bucket = buckets_[home(hash)];
        const unsigned fits = bucket.fits(tag(hash));
        return fits == 0 ? 0 : bucket.sessions[slot(fits)].load(std::memory_order_acquire);
    }

    // The session for which match(number) holds, or 0.
    template <class Match>
    std::uint32_t find(std::uint64_t hash, Match&& match) const noexcept {
        for (std::uint32_t b = home(hash);;) {
            const Bucket& bucket = buckets_[b];
            for (unsigned fits = bucket.fits(tag(hash)); fits != 0; fits = without_lowest(fits)) {
                const std::uint32_t number = bucket.sessions[slot(fits)].load(std::memory_order_acquire);
                if (number != 0 && match(number)) {
                    return number;
                }
            }
            b = bucket.next.load(std::memory_order_acquire);
            if (b == 0) {
                return 0;
            }
        }
    }

    enum class Insert : std::uint8_t { done, exists, full };
    struct Inserted {
        Insert result;
        std::uint32_t session;  // the one that is in the index now
    };
    // Unless there is one already for which match(number) holds. What `session` stands for is complete before.
    template <class Match>
    Inserted insert(std::uint64_t hash, std::uint32_t session, Match&& match) noexcept {
        const std::uint32_t first = home(hash);
        const std::lock_guard guard{buckets_[first].lock};
        if (const std::uint32_t other = find(hash, match); other != 0) {
            return {Insert::exists, other};
        }
        return {put(first, tag(hash), session) ? Insert::done : Insert::full, session};
    }

    // Returns an overflow bucket that became empty, to be given to release() after a grace period; or 0.
    std::uint32_t erase(std::uint64_t hash, std::uint32_t session) noexcept;
    void release(std::uint32_t overflow_bucket) noexcept;

    // Chains retired buckets; the retiring worker's alone.
    std::uint32_t& retired_link(std::uint32_t overflow_bucket) noexcept {
        return buckets_[overflow_bucket].retired_link;
    }

    std::size_t memory_bytes() const noexcept { return buckets_.bytes(); }
    std::uint32_t overflow_buckets_in_use() const noexcept { return overflow_in_use_.load(std::memory_order_relaxed); }

private:
    struct alignas(64) Bucket {
        std::array<std::atomic<std::uint64_t>, 2> tags;  // four of 16 bits each; 0: empty
        std::array<std::atomic<std::uint32_t>, kEntries> sessions;
        SpinLock lock;  // home buckets only; guards writes to the chain
        std::atomic<std::uint32_t> next;
        std::uint32_t retired_link;
        std::uint32_t spare;

        // Two bits per entry whose tag it is.
        unsigned fits(std::uint16_t wanted) const noexcept {
            const auto low = static_cast<long long>(tags[0].load(std::memory_order_acquire));
            const auto high = static_cast<long long>(tags[1].load(std::memory_order_acquire));
            const __m128i equal =
                _mm_cmpeq_epi16(_mm_set_epi64x(high, low), _mm_set1_epi16(static_cast<short>(wanted)));
            return static_cast<unsigned>(_mm_movemask_epi8(equal));
        }
        void set_tag(unsigned entry, std::uint16_t value) noexcept;
    };
    static_assert(sizeof(Bucket) == 64);

    static unsigned slot(unsigned fits) noexcept { return static_cast<unsigned>(std::countr_zero(fits)) / 2; }
    static unsigned without_lowest(unsigned fits) noexcept { return fits & ~(3u << std::countr_zero(fits)); }
    static std::uint16_t tag(std::uint64_t hash) noexcept { return static_cast<std::uint16_t>(hash | 1); }
    // Bucket 0 is nobody's home: 0 ends a chain.
    std::uint32_t home(std::uint64_t hash) const noexcept { return 1 + scale_hash(hash, homes_); }
    bool put(std::uint32_t first, std::uint16_t tag, std::uint32_t session) noexcept;
    std::uint32_t take_overflow() noexcept;

    std::uint32_t homes_;
    std::uint32_t end_;
    NatArray<Bucket> buckets_;  // 0, homes, overflow
    SpinLock overflow_lock_;
    std::uint32_t free_overflow_ = 0;  // under overflow_lock_: a chain of released ones
    std::uint32_t fresh_overflow_;  // under overflow_lock_: never used from here on
    std::atomic<std::uint32_t> overflow_in_use_{0};
};

}  // namespace twinspan
