// A worker's surroundings for NAT tests: a snapshot with pools and their egresses, the session table and a Context.
#pragma once

#include "dataplane/config/snapshot.hpp"
#include "dataplane/packet/batch.hpp"
#include "dataplane/state/nat_table.hpp"
#include "tests/support/packet_builder.hpp"
#include "tests/support/test_packet.hpp"

#include <rte_rcu_qsbr.h>

#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

namespace twinspan::test {

// Workers that read, as SnapshotSlot keeps them.
class Readers {
public:
    explicit Readers(unsigned workers)
        : qsbr_(
              static_cast<rte_rcu_qsbr*>(std::aligned_alloc(RTE_CACHE_LINE_SIZE, rte_rcu_qsbr_get_memsize(workers)))) {
        if (qsbr_ == nullptr || rte_rcu_qsbr_init(qsbr_.get(), workers) != 0) {
            throw std::bad_alloc();
        }
        for (unsigned w = 0; w < workers; ++w) {
            rte_rcu_qsbr_thread_register(qsbr_.get(), w);
            rte_rcu_qsbr_thread_online(qsbr_.get(), w);
        }
    }
    void quiescent(unsigned worker) { rte_rcu_qsbr_quiescent(qsbr_.get(), worker); }
    rte_rcu_qsbr& operator*() { return *qsbr_; }

private:
    struct Free {
        void operator()(rte_rcu_qsbr* q) const noexcept { std::free(q); }
    };
    std::unique_ptr<rte_rcu_qsbr, Free> qsbr_;
};

inline NatPool nat_pool(std::initializer_list<std::string> addresses, std::uint16_t first_port = 1024,
                        std::uint16_t last_port = 65535, Zone zone = Zone::microsoft_peering) {
    NatPool pool;
    pool.zone = zone;
    for (const std::string& address : addresses) {
        pool.addresses.push_back({ip4(address), ip4(address)});
    }
    pool.address_count = static_cast<std::uint32_t>(addresses.size());
    pool.first_port = first_port;
    pool.last_port = last_port;
    return pool;
}

// Pool i is used by egress i. One worker.
struct NatWorld {
    explicit NatWorld(std::vector<NatPool> pools, std::uint32_t sessions = 1024)
        : readers(1), table({.sessions = sessions, .workers = 1, .seed = 1}, *readers) {
        snapshot.pools = std::move(pools);
        for (std::uint16_t i = 0; i < snapshot.pools.size(); ++i) {
            Egress egress;
            egress.kind = EgressKind::nat;
            egress.zone = snapshot.pools[i].zone;
            egress.pool = i;
            snapshot.egresses.push_back(egress);
        }
        context->config = &snapshot;
        context->now_seconds = 1000;
        context->counters = &counters;
        context->nat = &table;
    }

    std::uint64_t drops(Drop reason) const { return counters[reason].read(); }

    // Housekeeping until nothing is left to do at this time: two rounds, for unlinking and for freeing.
    void age() {
        for (int i = 0; i < 3; ++i) {
            table.age(0, context->now_seconds, snapshot.pools, 1u << 20);
            readers.quiescent(0);
        }
    }

    Readers readers;
    Snapshot snapshot;
    NatTable table;
    WorkerCounters counters;
    std::unique_ptr<Context> context = std::make_unique<Context>();
};

}  // namespace twinspan::test
