// What translation costs with more and more sessions, and what a session takes of the memory.
#include "bench/nat_flows.hpp"
#include "bench/parts.hpp"

#include "dataplane/config/snapshot_slot.hpp"
#include "dataplane/io/eal_memory.hpp"
#include "dataplane/state/nat_table.hpp"

#include <rte_cycles.h>
#include <rte_malloc.h>

#include <algorithm>
#include <cstdio>
#include <new>
#include <random>

namespace twinspan::bench {
namespace {

using nlohmann::json;

// Beyond the caches a busy neighbour costs as much as the path: of several rounds the least counts.
Result<Row> least(Site& site, rte_mempool* pool, Engine& engine, const Effort& effort, unsigned rounds) {
    Result<Row> best = measure(site, fixed_size(64), pool, engine, effort);
    for (unsigned round = 1; best && round < rounds; ++round) {
        Result<Row> row = measure(site, fixed_size(64), pool, engine, effort);
        if (!row || row->cycles_per_packet < best->cycles_per_packet) {
            best = std::move(row);
        }
    }
    return best;
}

double eal_bytes() {
    rte_malloc_socket_stats stats{};
    rte_malloc_get_socket_stats(0, &stats);
    return static_cast<double>(stats.heap_allocsz_bytes);
}

NatPool pool_of(NatMapping mapping) {
    NatPool pool;
    pool.addresses = {{to_be32(0xc6336400), to_be32(0xc6336400 + 255)}};
    pool.address_count = 256;
    pool.mapping = mapping;
    return pool;
}

// As many as the table takes before it ends one to make room for another.
std::uint64_t fill(NatTable& table, const NatPool& pool, unsigned remotes) {
    NatFlows flows{remotes};
    while (table.usage(0).evicted == 0) {
        for (unsigned i = 0; i < 1'000; ++i) {
            if (table.open(0, flows.next(), pool, 1).session == nullptr) {
                return table.usage(0).sessions;
            }
        }
    }
    return table.usage(0).sessions;
}

}  // namespace

Result<json> Bench::nat() {
    json list = json::array();
    std::vector<unsigned> counts{1'000, 100'000, 1'000'000};
    if (!quick_) {
        counts.push_back(10'000'000);
    }
    for (const unsigned sessions : counts) {
        Result<std::unique_ptr<Site>> site{};
        try {
            site = Site::create(Path::nat_out, nat_scale(sessions), engine_, now_seconds());
        } catch (const std::bad_alloc&) {
            std::printf("nat %u sessions: skipped, too few hugepages for their table\n", sessions);
            list.push_back({{"sessions", sessions}, {"skipped", "too few hugepages for their table"}});
            continue;
        }
        if (!site) {
            return std::unexpected(site.error());
        }
        for (const Path path : {Path::nat_out, Path::nat_in}) {
            if (path == Path::nat_in) {
                if (const Result<void> turned = (*site)->turn_round(); !turned) {
                    return std::unexpected(turned.error());
                }
            }
            const Result<Row> row = least(**site, pool_, engine_, effort_, quick_ ? 2 : 5);
            if (!row) {
                return std::unexpected(row.error());
            }
            append(list, {{"name", name_of(path)}, {"sessions", sessions}}, *row);
        }
    }
    return list;
}

// A full table's memory over its sessions: records, indexes, the ports' meter and the workers' own.
Result<json> Bench::nat_memory() {
    json list = json::array();
    struct Case {
        const char* mapping;
        NatMapping mode;
        unsigned remotes;
    };
    for (const auto& [mapping, mode, remotes] : {Case{"endpoint-dependent", NatMapping::endpoint_dependent, 4},
                                                 Case{"endpoint-independent", NatMapping::endpoint_independent, 1},
                                                 Case{"endpoint-independent", NatMapping::endpoint_independent, 4},
                                                 Case{"endpoint-independent", NatMapping::endpoint_independent, 32}}) {
        SnapshotSlot slot{1, std::make_unique<Snapshot>()};
        const double before = eal_bytes();
        const auto table = std::make_unique<NatTable>(
            NatTableOptions{.sessions = 1'000'000, .workers = 1, .seed = 1, .memory = eal_memory()}, slot.readers());
        const double taken = eal_bytes() - before;
        const auto counted = static_cast<double>(table->memory_bytes());
        if (taken > counted) {
            return std::unexpected(Error{"the NAT table counts " + std::to_string(counted) +
                                         " bytes as its own, and took " + std::to_string(taken)});
        }
        const std::uint64_t sessions = fill(*table, pool_of(mode), remotes);
        const double each = counted / static_cast<double>(sessions);
        std::printf("memory of a NAT session, %s, %u sessions of a port: %.1f bytes, %llu sessions\n", mapping, remotes,
                    each, static_cast<unsigned long long>(sessions));
        list.push_back(
            {{"mapping", mapping}, {"sessions_of_a_port", remotes}, {"sessions", sessions}, {"bytes", each}});
    }
    return list;
}

}  // namespace twinspan::bench
