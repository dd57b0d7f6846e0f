// The NAT sessions of all peerings, in one table that every worker uses: any packet of a session may come to any
// worker. Lookups take no lock; opening and ageing take locks of one bucket, among workers only. Where mapping is
// endpoint-dependent, an outside port serves as many sessions as there are remote endpoints; where it is not, sessions
// hang on mappings, which are records of the same table. What has room for neither is refused by name.
#pragma once

#include "dataplane/base/drop.hpp"
#include "dataplane/config/snapshot.hpp"
#include "dataplane/state/nat_events.hpp"
#include "dataplane/state/nat_index.hpp"
#include "dataplane/state/nat_key.hpp"
#include "dataplane/state/nat_memory.hpp"
#include "dataplane/state/nat_meter.hpp"
#include "dataplane/state/nat_numbers.hpp"
#include "dataplane/state/nat_restored.hpp"
#include "dataplane/state/nat_session.hpp"
#include "dataplane/state/nat_usage.hpp"

#include <rte_rcu_qsbr.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace twinspan {

struct NatTableOptions {
    std::uint32_t sessions = 1u << 17;
    std::uint16_t workers = 1;
    std::uint64_t seed = 0;  // of the hashes; 0: from the system's entropy
    NatMemory memory = NatMemory::anonymous();
    void* records = nullptr;  // for `sessions` + 1 NatSession, zeroed; it outlives the table. None: from `memory`
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
    // worker: the session of this outside key, made when there is none, with the inside key that the caller knows, too
    // (static mappings, in either direction). With `source`, the remote endpoint gets an address and port of that pool
    // inside in place of those of `inside` (kNatTwice). nat_endpoint_taken: one of the two ends has a session with this
    // remote endpoint already, and not with the other.
    Opened open_inbound(std::uint16_t worker, const NatKey& outside, const NatKey& inside, const NatPool& pool,
                        std::uint32_t now_seconds, const NatPool* source = nullptr) noexcept;
    // worker: the same by the mapping that has the outside port, if `pool` filters endpoint-independently; else
    // nat_no_session.
    Opened open_mapped(std::uint16_t worker, const NatKey& outside, const NatPool& pool,
                       std::uint32_t now_seconds) noexcept;

    // Control, before the workers begin: opens each of `sessions` again as it was, both ends given, with whatever it
    // hangs on. Who is at what end, and `pool` of the keys, is as in `pools`. No event is told, no limit of a rate
    // applies, and nothing makes room for another: what has no place is left out.
    NatRestored restore(std::span<const NatSessionView> sessions, std::span<const NatPool> pools,
                        std::uint32_t now_seconds) noexcept;

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
    // Of one address: ports (echo identifiers) that a session or mapping has, each counted once however many remote
    // endpoints it serves; static mappings are not counted. Nothing: the address is one too many to be metered.
    std::optional<std::uint32_t> ports_in_use(be32 address, NatProtocol protocol) const noexcept {
        return meter_.in_use(address, protocol);
    }
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
        std::uint32_t sampled = 0;  // the record that was looked at last for a victim
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
    enum class Outcome : std::uint8_t {
        done,
        exists,  // as Opening::other
        no_record,
        no_port,
        no_block,
        host_full,
        host_blocks_full,
        host_fast,
        pool_down,
        conflict,
    };
    enum class Held : std::uint8_t { yes, full, gone };
    struct Opening {  // of one session; what it holds is released when it fails
        Worker& worker;
        const NatPool& pool;
        NatKey inside;
        std::uint32_t now;  // seconds
        std::uint32_t session = 0;
        std::uint32_t host = 0;
        std::uint32_t other = 0;
        std::uint32_t victim = 0;  // whose port is next when all are taken
        std::uint32_t victim_idle = 0;
        unsigned probes = 1024;  // ports to look at in all
        bool restoring = false;
    };
    struct Ports;
    static constexpr std::uint32_t kGone = 0xffffffff;
    static constexpr std::uint32_t kMostUsers = kGone - 1;

    auto inside_is(const NatKey& key) const noexcept {
        return [this, key](std::uint32_t number) noexcept { return sessions_[number].inside() == key; };
    }
    auto outside_is(const NatKey& key) const noexcept {
        return [this, key](std::uint32_t number) noexcept { return sessions_[number].outside() == key; };
    }
    // A record that sessions hang on: one that does not end, and whose address the pool still has.
    bool lasts(std::uint32_t number) const noexcept {
        return sessions_[number].users.load(std::memory_order_acquire) != kGone;
    }
    auto mapping_of(const NatKey& inside, const NatPool& pool) const noexcept {
        return [this, inside, &pool](std::uint32_t number) noexcept {
            const NatSession& record = sessions_[number];
            return record.inside() == inside && lasts(number) && pool.holds(record.outside().address());
        };
    }
    auto mapping_to(const NatKey& outside, const NatPool& pool) const noexcept {
        return [this, outside, &pool](std::uint32_t number) noexcept {
            return sessions_[number].outside() == outside && lasts(number) && pool.holds(outside.address());
        };
    }
    template <auto KeyOf, class IsKey>
    void find_burst(const NatIndex& index, std::span<const NatKey> keys, NatSession** sessions, IsKey is_key) noexcept;

    Outcome begin(Opening& o) noexcept;
    std::uint32_t take(Opening& o) noexcept;
    void fill(std::uint32_t number, const NatKey& inside, std::uint32_t now_seconds) noexcept;
    static void set_outside(NatSession& session, const NatKey& outside) noexcept;
    static Opened only_if_to(const NatKey& outside, Opened opened) noexcept;
    Opened finish(Opening& o) noexcept;
    Opened publish(Opening& o) noexcept;
    void discard(Opening& o) noexcept;
    void give_up(Opening& o) noexcept;
    Opened refuse(Opening& o, Outcome why) noexcept;
    std::optional<NatLeftOut> restore_one(const NatSessionView& was, const NatPool& pool, std::uint32_t now) noexcept;
    Outcome claim_again(Opening& o, const NatKey& outside) noexcept;
    Outcome claim_again_at(Opening& o, std::uint32_t subject, const NatKey& outside) noexcept;

    // `subject`: the session or mapping that gets a port.
    Outcome claim(Opening& o, std::uint32_t subject) noexcept;
    Outcome claim_mapped(Opening& o) noexcept;
    Outcome claim_given(Opening& o, const NatKey& outside) noexcept;
    Outcome link_outside(Opening& o, const NatKey& outside) noexcept;
    Outcome claim_remote(Opening& o, const NatKey& outside, const NatPool& source) noexcept;
    Outcome claim_in_blocks(Opening& o, std::uint32_t subject) noexcept;
    Outcome claim_port_of(Opening& o, std::uint32_t subject, be32 address, const Ports& ports) noexcept;
    Outcome claim_anywhere(Opening& o, std::uint32_t subject) noexcept;
    Outcome claim_from_victim(Opening& o, std::uint32_t subject) noexcept;
    Outcome claim_port(Opening& o, std::uint32_t subject, be32 address, std::uint32_t port) noexcept;
    bool meter(NatSession& record, const NatKey& outside) noexcept;
    void unmeter(NatSession& record) noexcept;
    Outcome claim_block(Opening& o, std::uint32_t subject, be32 address) noexcept;
    std::uint32_t address_for(be32 host, const NatPool& pool) const noexcept;

    Held hold(std::uint32_t number, std::uint32_t most) noexcept;
    void release(Worker& worker, std::uint32_t number) noexcept;
    void end_parent(Worker& worker, std::uint32_t number) noexcept;
    template <class Is, class Make>
    Outcome hold_or_make(Opening& o, const NatKey& key, std::uint32_t most, Is is, Make make,
                         std::uint32_t& held) noexcept;
    void tell_begun(Opening& o, std::uint32_t number) noexcept;
    Outcome hold_host(Opening& o) noexcept;
    Outcome hold_mapping(Opening& o) noexcept;
    Outcome hold_block(Opening& o, std::uint16_t nth, bool may_make, std::uint32_t& block) noexcept;
    be32 paired_address(Opening& o) noexcept;
    static bool within_rate(NatSession& host, std::uint32_t rate, std::uint32_t now) noexcept;

    std::uint32_t evictable(std::uint32_t number, std::uint32_t now) const noexcept;
    void consider(Opening& o, std::uint32_t number) const noexcept;
    template <class Fits>
    void sample(Opening& o, std::uint32_t records, Fits fits) noexcept;
    void evict(Opening& o) noexcept;
    void make_room(Opening& o) noexcept;

    void unlink_inside(Worker& worker, std::uint32_t number) noexcept;
    void unlink_outside(Worker& worker, std::uint32_t number) noexcept;
    void retire(Worker& worker, std::uint32_t number) noexcept;
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
    NatMeter meter_;
    std::vector<Worker> workers_;
};

}  // namespace twinspan
