#include "dataplane/state/nat_index.hpp"

#include <algorithm>

namespace twinspan {
namespace {

// Three entries for eight places on average: one bucket in 260 overflows, and the table keeps within its memory.
constexpr std::uint32_t kSessionsPerBucket = 3;
constexpr std::uint32_t kOverflowShare = 16;

std::uint32_t home_count(std::uint32_t sessions) { return std::max(sessions / kSessionsPerBucket, 16u); }
std::uint32_t overflow_count(std::uint32_t homes) { return homes / kOverflowShare + 64; }

}  // namespace

NatIndex::NatIndex(const NatMemory& memory, std::uint32_t sessions)
    : homes_(home_count(sessions)),
      end_(1 + homes_ + overflow_count(homes_)),
      buckets_(memory, end_),
      fresh_overflow_(1 + homes_) {}

void NatIndex::Bucket::set_tag(unsigned entry, std::uint16_t value) noexcept {
    std::atomic<std::uint64_t>& word = tags[entry / 4];
    const unsigned shift = entry % 4 * 16;
    const std::uint64_t kept = word.load(std::memory_order_relaxed) & ~(std::uint64_t{0xffff} << shift);
    word.store(kept | static_cast<std::uint64_t>(value) << shift, std::memory_order_release);
}

// Under the lock of `first`.
bool NatIndex::put(std::uint32_t first, std::uint16_t tag, std::uint32_t session) noexcept {
    std::uint32_t last = first;
    for (std::uint32_t b = first; b != 0; b = buckets_[b].next.load(std::memory_order_relaxed)) {
        Bucket& bucket = buckets_[b];
        for (unsigned i = 0; i < kEntries; ++i) {
            if (bucket.sessions[i].load(std::memory_order_relaxed) == 0) {
                bucket.sessions[i].store(session, std::memory_order_release);
                bucket.set_tag(i, tag);
                return true;
            }
        }
        last = b;
    }
    const std::uint32_t added = take_overflow();
    if (added == 0) {
        return false;
    }
    buckets_[added].sessions[0].store(session, std::memory_order_release);
    buckets_[added].set_tag(0, tag);
    buckets_[last].next.store(added, std::memory_order_release);
    return true;
}

std::uint32_t NatIndex::erase(std::uint64_t hash, std::uint32_t session) noexcept {
    const std::uint32_t first = home(hash);
    const std::lock_guard guard{buckets_[first].lock};
    std::uint32_t previous = 0;
    for (std::uint32_t b = first; b != 0; previous = b, b = buckets_[b].next.load(std::memory_order_relaxed)) {
        Bucket& bucket = buckets_[b];
        const auto* const at =
            std::ranges::find_if(bucket.sessions, [session](const std::atomic<std::uint32_t>& number) {
            return number.load(std::memory_order_relaxed) == session;
        });
        if (at == bucket.sessions.end()) {
            continue;
        }
        const auto entry = static_cast<unsigned>(at - bucket.sessions.begin());
        bucket.set_tag(entry, 0);
        bucket.sessions[entry].store(0, std::memory_order_relaxed);
        const bool empty = std::ranges::all_of(bucket.sessions, [](const std::atomic<std::uint32_t>& number) {
            return number.load(std::memory_order_relaxed) == 0;
        });
        if (previous == 0 || !empty) {
            return 0;
        }
        // A reader that stands in this bucket goes on along its `next`, which stays.
        buckets_[previous].next.store(bucket.next.load(std::memory_order_relaxed), std::memory_order_release);
        return b;
    }
    return 0;
}

std::uint32_t NatIndex::take_overflow() noexcept {
    const std::lock_guard guard{overflow_lock_};
    std::uint32_t taken = free_overflow_;
    if (taken != 0) {
        free_overflow_ = buckets_[taken].retired_link;
    } else if (fresh_overflow_ < end_) {
        taken = fresh_overflow_++;
    } else {
        return 0;
    }
    buckets_[taken].next.store(0, std::memory_order_relaxed);
    overflow_in_use_.fetch_add(1, std::memory_order_relaxed);
    return taken;
}

void NatIndex::release(std::uint32_t overflow_bucket) noexcept {
    const std::lock_guard guard{overflow_lock_};
    buckets_[overflow_bucket].retired_link = free_overflow_;
    free_overflow_ = overflow_bucket;
    overflow_in_use_.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace twinspan
