// How a session ends, when its record is free again, and what control sees of it all.
#include "dataplane/state/nat_grace.hpp"
#include "dataplane/state/nat_table.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace twinspan {
namespace {

constexpr std::size_t kEndingTogether = 16;
constexpr std::uint64_t kSweptAhead = 8;  // records

}  // namespace

void NatTable::unlink_inside(Worker& worker, std::uint32_t number) noexcept {
    if (const std::uint32_t bucket = inside_.erase(hash_(sessions_[number].inside()), number); bucket != 0) {
        inside_.retired_link(bucket) = std::exchange(worker.gathering.inside_buckets, bucket);
    }
}

// And retires it: the last index that a record leaves.
void NatTable::unlink_outside(Worker& worker, std::uint32_t number) noexcept {
    if (const std::uint32_t bucket = outside_.erase(hash_(sessions_[number].outside()), number); bucket != 0) {
        outside_.retired_link(bucket) = std::exchange(worker.gathering.outside_buckets, bucket);
    }
    unmeter(sessions_[number]);
    retire(worker, number);
}

void NatTable::retire(Worker& worker, std::uint32_t number) noexcept {
    sessions_[number].next = std::exchange(worker.gathering.sessions, number);
}

void NatTable::end(Worker& worker, std::uint32_t number) noexcept {
    NatSession& session = sessions_[number];
    std::uint8_t live = 1;  // two workers may want to end it
    if (!session.live.compare_exchange_strong(live, 0, std::memory_order_acq_rel, std::memory_order_relaxed)) {
        return;
    }
    const NatKey inside = session.inside();
    const std::uint32_t parent = session.parent();
    unlink_inside(worker, number);
    unlink_outside(worker, number);
    worker.tell(NatEventKind::session_ended, inside, session.outside());
    release(worker, parent);  // which may tell of its own end
    release(worker, session.host());
    NatPoolCounters& counters = worker.counters(inside.pool());
    counters.ended[static_cast<std::size_t>(nat_protocol(inside.protocol()))].add(1);
    counters.address_ended[NatPoolCounters::slot(session.outside().address())].add(1);
}

// Returns the steps that are left.
std::uint32_t NatTable::release_retired(Worker& worker, std::uint32_t steps) noexcept {
    Retired& waiting = worker.waiting;
    if (!waiting.empty() && grace_passed(readers_, worker.grace)) {
        while (waiting.inside_buckets != 0) {
            const std::uint32_t bucket = waiting.inside_buckets;
            waiting.inside_buckets = inside_.retired_link(bucket);
            inside_.release(bucket);
        }
        while (waiting.outside_buckets != 0) {
            const std::uint32_t bucket = waiting.outside_buckets;
            waiting.outside_buckets = outside_.retired_link(bucket);
            outside_.release(bucket);
        }
        for (; waiting.sessions != 0 && steps != 0; --steps) {
            const std::uint32_t number = waiting.sessions;
            waiting.sessions = sessions_[number].next;
            numbers_.give(worker.numbers, number);
        }
    }
    if (waiting.empty() && !worker.gathering.empty()) {
        waiting = std::exchange(worker.gathering, {});
        worker.grace = rte_rcu_qsbr_start(&readers_);
    }
    return steps;
}

void NatTable::age(std::uint16_t worker, std::uint32_t now_seconds, std::span<const NatPool> pools,
                   std::uint32_t max_steps) noexcept {
    sweep(worker, now_seconds, pools, release_retired(workers_[worker], max_steps));
}

// Chunks of numbers go to workers in turn, so that all have work when only low numbers are in use.
void NatTable::sweep(std::uint16_t index, std::uint32_t now_seconds, std::span<const NatPool> pools,
                     std::uint32_t steps) noexcept {
    Worker& worker = workers_[index];
    if (worker.cursor == 0 && worker.swept_at == now_seconds) {
        return;
    }
    const auto stride = static_cast<std::uint64_t>(workers_.size());
    const std::uint32_t high_water = numbers_.high_water();
    const auto number_at = [&](std::uint32_t position) {
        return 1 + (position / NatNumbers::kChunk * stride + index) * NatNumbers::kChunk +
               position % NatNumbers::kChunk;
    };
    // Those that end do so together, after their buckets were asked for.
    std::array<std::uint32_t, kEndingTogether> ending;
    std::size_t n = 0;
    const auto end_them = [&]() noexcept {
        for (std::size_t i = 0; i < n; ++i) {
            end(worker, ending[i]);
        }
        n = 0;
    };
    for (; steps != 0; --steps) {
        const std::uint64_t at = number_at(worker.cursor);
        if (at > high_water) {
            worker.cursor = 0;
            worker.swept_at = now_seconds;
            break;
        }
        ++worker.cursor;
        __builtin_prefetch(&sessions_[std::min<std::uint64_t>(at + kSweptAhead, high_water)]);
        const auto number = static_cast<std::uint32_t>(at);
        const NatSession& session = sessions_[number];
        if (session.live.load(std::memory_order_acquire) == 0) {
            continue;
        }
        const NatKey key = session.inside();
        const bool ends = key.pool() >= pools.size() || pools[key.pool()].down ||
                          nat_expired(session.last_seen.load(std::memory_order_relaxed), now_seconds,
                                      nat_timeout(key.protocol(), session.tcp.load(std::memory_order_relaxed),
                                                  pools[key.pool()].timeouts));
        if (ends) {
            inside_.prefetch(hash_(key));
            outside_.prefetch(hash_(session.outside()));
            ending[n++] = number;
            if (n == ending.size()) {
                end_them();
            }
            steps -= std::min(steps - 1, kEndingSteps - 1);
        }
    }
    end_them();
}

void NatTable::for_each(std::size_t limit, const std::function<void(const NatSessionView&)>& fn) const {
    for (std::uint32_t next = 1; next != 0 && limit != 0;) {
        next = walk(next, 1, [&](const NatSessionView& view) {
            fn(view);
            --limit;
        });
    }
}

std::uint32_t NatTable::walk(std::uint32_t first, std::uint32_t records,
                             const std::function<void(const NatSessionView&)>& fn) const {
    const std::uint32_t high_water = numbers_.high_water();
    std::uint32_t number = first;
    for (; number <= high_water && records != 0; ++number, --records) {
        if (const auto view = view_of(sessions_[number])) {
            fn(*view);
        }
    }
    return number <= high_water ? number : 0;
}

NatUsage NatTable::usage(std::uint16_t pool) const noexcept {
    NatUsage sum;
    for (const Worker& worker : workers_) {
        const NatPoolCounters& counters = worker.pools[pool % kMaxNatPools];
        for (std::size_t p = 0; p < kNatProtocols; ++p) {
            sum.expired += counters.ended[p].read();
            sum.in_use[p] -= counters.ended[p].read();
        }
        sum.evicted += counters.evicted.read();
        sum.ports_exhausted += counters.ports_exhausted.read();
        sum.sessions_exhausted += counters.sessions_exhausted.read();
        sum.blocks_exhausted += counters.blocks_exhausted.read();
        sum.host_limited += counters.host_limited.read();
        sum.host_rate_limited += counters.host_rate_limited.read();
    }
    for (const Worker& worker : workers_) {  // after the ends, so that none is seen without its beginning
        const NatPoolCounters& counters = worker.pools[pool % kMaxNatPools];
        sum.restored += counters.restored.read();
        for (std::size_t p = 0; p < kNatProtocols; ++p) {
            sum.opened += counters.opened[p].read();
            sum.in_use[p] += counters.opened[p].read();
        }
    }
    sum.sessions = sum.opened - sum.expired;
    sum.opened -= sum.restored;
    return sum;
}

std::uint64_t NatTable::sessions_on(std::uint16_t pool, be32 address) const noexcept {
    std::uint64_t sum = 0;
    const std::size_t slot = NatPoolCounters::slot(address);
    for (const Worker& worker : workers_) {
        sum -= worker.pools[pool % kMaxNatPools].address_ended[slot].read();
    }
    for (const Worker& worker : workers_) {
        sum += worker.pools[pool % kMaxNatPools].address_opened[slot].read();
    }
    return sum;
}

}  // namespace twinspan
