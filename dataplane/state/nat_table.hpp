// The NAT sessions of all peerings, in one table that every worker uses: any packet of a session may come to any
// worker. Lookups take no lock; opening and ageing take locks of one bucket, among workers only. Mapping is
// endpoint-dependent: an outside port serves as many sessions as there are remote endpoints.
#pragma once

#include "dataplane/base/drop.hpp"
#include "dataplane/config/snapshot.hpp"
#include "dataplane/state/nat_events.hpp"
#include "dataplane/state/nat_index.hpp"
#include "dataplane/state/nat_key.hpp"
#include "dataplane/state/nat_memory.hpp"
#include "dataplane/state/nat_numbers.hpp"
#include "dataplane/state/nat_session.hpp"
#include "dataplane/state/nat_usage.hpp"

#include <rte_rcu_qsbr.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace twinspan {

struct NatTableOptions {
    std::uint32_t sessions = 1u << 17;
    std::uint16_t workers = 1;
    std::uint64_t seed = 0;  // of the hashes; 0: from the system's entropy
    NatMemory memory = NatMemory::anonymous();
};

class NatTable {
public:
    struct Opened {
        NatSession* session;  // nullptr: `reason` says why
        Drop reason;
    };

    // `readers`: every worker is registered there and reports its quiescent states. Throws std::bad_alloc.
    NatTable(const NatTableOptions& options, rte_rcu_qsbr& readers);

    // Before the workers begin: what this one opens and ends is told there, too.
    void tell(std::uint16_t worker, NatEventRing& events) noexcept { workers_[worker].events = &events; }

    // worker: sessions[i] is the session of keys[i], or nullptr; keys whose `rest` is 0 have none. At most kBurst.
    void find_inside(std::span<const NatKey> keys, NatSession** sessions) noexcept;
    void find_outside(std::span<const NatKey> keys, NatSession** sessions) noexcept;
    NatSession* find_inside(const NatKey& key) noexcept;
    NatSession* find_outside(const NatKey& key) noexcept;

    // worker: the session of this inside key, made when there is none. `pool` is the one that the key names.
    Opened open(std::uint16_t worker, const NatKey& inside, const NatPool& pool, std::uint32_t now_seconds) noexcept;

    // worker, from its housekeeping: ends expired sessions of its share of the table and frees what no worker reads any
    // more. A step is about one cache line; a session that ends counts as kEndingSteps. Goes round at most once a
    // second.
    static constexpr std::uint32_t kEndingSteps = 8;
    void age(std::uint16_t worker, std::uint32_t now_seconds, std::span<const NatPool> pools,
             std::uint32_t max_steps) noexcept;

    // Any thread, while workers go on: copies of up to `limit` live sessions; a session that changes meanwhile may be
    // missed.
    void for_each(std::size_t limit, const std::function<void(const NatSessionView&)>& fn) const;
    // The same in steps: of `records` records from `first` on, the first of all being 1. Returns where to go on, or 0.
    std::uint32_t walk(std::uint32_t first, std::uint32_t records,
                       const std::function<void(const NatSessionView&)>& fn) const;
    NatUsage usage(std::uint16_t pool) const noexcept;
    std::uint64_t sessions_on(std::uint16_t pool, be32 address) const noexcept;
    std::uint32_t capacity() const noexcept { return capacity_; }
    std::size_t memory_bytes() const noexcept;

private:
    struct Retired {  // chains, through the things themselves
        std::uint32_t sessions = 0;
        std::uint32_t inside_buckets = 0;
        std::uint32_t outside_buckets = 0;
        bool empty() const noexcept { return (sessions | inside_buckets | outside_buckets) == 0; }
    };
    struct alignas(RTE_CACHE_LINE_SIZE) Worker {
        NatNumbers::Cache numbers;
        std::uint64_t random = 0;
        Retired gathering;  // unlinked since the last grace period began
        Retired waiting;  // free when `grace` has passed
        std::uint64_t grace = 0;
        std::uint32_t cursor = 0;  // of the sweep, in this worker's share
        std::uint32_t swept_at = 0;  // seconds
        NatEventRing* events = nullptr;  // null: nobody keeps a log
        std::array<NatPoolCounters, kMaxNatPools> pools;

        NatPoolCounters& counters(std::uint16_t pool) noexcept { return pools[pool % kMaxNatPools]; }
        void tell(NatEventKind kind, const NatKey& inside, const NatKey& outside = {},
                  std::uint32_t value = 0) const noexcept {
            if (events != nullptr) {
                events->push({.inside = inside, .outside = outside, .value = value, .kind = kind});
            }
        }
    };
    enum class Claim : std::uint8_t { done, ports_exhausted, index_full };

    auto inside_is(const NatKey& key) const noexcept {
        return [this, key](std::uint32_t number) noexcept { return sessions_[number].inside() == key; };
    }
    auto outside_is(const NatKey& key) const noexcept {
        return [this, key](std::uint32_t number) noexcept { return sessions_[number].outside() == key; };
    }
    template <auto KeyOf, class IsKey>
    void find_burst(const NatIndex& index, std::span<const NatKey> keys, NatSession** sessions, IsKey is_key) noexcept;

    void fill(NatSession& session, const NatKey& inside, std::uint32_t now_seconds) noexcept;
    Claim claim_outside(Worker& worker, std::uint32_t number, const NatPool& pool) noexcept;
    Claim claim_on_address(Worker& worker, std::uint32_t number, be32 address, const NatPool& pool,
                           unsigned& probes) noexcept;
    Claim claim_port(std::uint32_t number, be32 address, std::uint32_t port) noexcept;
    void unlink_outside(Worker& worker, std::uint32_t number) noexcept;
    void end(Worker& worker, std::uint32_t number) noexcept;
    std::uint32_t release_retired(Worker& worker, std::uint32_t steps) noexcept;
    void sweep(std::uint16_t index, std::uint32_t now_seconds, std::span<const NatPool> pools,
               std::uint32_t steps) noexcept;

    std::uint32_t capacity_;
    NatHash hash_;
    rte_rcu_qsbr& readers_;
    NatArray<NatSession> sessions_;  // 0 is never live
    NatIndex inside_;
    NatIndex outside_;
    NatNumbers numbers_;
    std::vector<Worker> workers_;
};

}  // namespace twinspan
