// Workers open, use and expire sessions of one table at once. Meant for ThreadSanitizer, and true without it.
#include "dataplane/state/nat_table.hpp"

#include "tests/support/nat_world.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <barrier>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace twinspan {
namespace {

using test::nat_pool;

constexpr std::uint16_t kWorkers = 4;
constexpr std::uint32_t kFlows = 600;

NatKey flow(std::uint32_t i) {
    return nat_key(to_be32(0x0a000000 + i % 40), to_be32(0x08080800 + i % 3),
                   to_be16(static_cast<std::uint16_t>(3000 + i)), to_be16(443),
                   i % 2 == 0 ? +IpProtocol::udp : +IpProtocol::tcp);
}

struct SharedTable {
    explicit SharedTable(std::uint32_t sessions = 900)
        : readers(kWorkers), table({.sessions = sessions, .workers = kWorkers, .seed = 3}, *readers) {}
    test::Readers readers;
    NatTable table;
    std::vector<NatPool> pools{nat_pool({"198.51.100.1", "198.51.100.2"}, 2000, 2255)};
    NatPool stand_ins = nat_pool({"10.9.0.1", "10.9.0.2"}, 3000, 3063);
    bool is_static = false;  // hosts outside begin sessions with some inside, too
    bool is_twice = false;   // and have another address there
    std::atomic<std::uint32_t> ticks{0};
    std::atomic<std::uint64_t> wrong{0};
    std::atomic<std::uint64_t> used{0};
    std::atomic<std::uint64_t> begun_outside{0};
};

// A stranger begins by the mapping that the session has.
void begin_by_mapping(SharedTable& shared, std::uint16_t worker, const NatKey& outside, std::uint32_t random,
                      std::uint32_t now) {
    const NatKey stranger = nat_key(outside.address(), to_be32(0x01020300 + random % 4), outside.port(),
                                    to_be16(static_cast<std::uint16_t>(1 + random / 4 % 3)), outside.protocol());
    const NatSession* session = shared.table.open_mapped(worker, stranger, shared.pools[0], now).session;
    shared.wrong += session != nullptr && session->outside() != stranger ? 1 : 0;
    shared.begun_outside.fetch_add(session != nullptr ? 1 : 0, std::memory_order_relaxed);
}

// Either end of a static mapping begins.
void begin_static(SharedTable& shared, std::uint16_t worker, std::uint32_t random, std::uint32_t now) {
    const auto n = static_cast<std::uint16_t>(random % 40);
    const be32 remote = to_be32(0x01020300 + random / 40 % 6);
    const be16 remote_port = to_be16(static_cast<std::uint16_t>(1100 + random / 240 % 3));
    const NatKey outside = nat_key(test::ip4("198.51.100.9"), remote, to_be16(static_cast<std::uint16_t>(7000 + n)),
                                   remote_port, +IpProtocol::tcp);
    const NatKey inside = nat_key(to_be32(0x0a000100 + n), remote, to_be16(443), remote_port, +IpProtocol::tcp);
    const NatPool* source = shared.is_twice && random / 720 % 4 != 0 ? &shared.stand_ins : nullptr;
    NatTable& table = shared.table;
    const NatTable::Opened opened = table.open_inbound(worker, outside, inside, shared.pools[0], now, source);
    if (opened.session == nullptr) {
        return;
    }
    shared.begun_outside.fetch_add(1, std::memory_order_relaxed);
    opened.session->seen(now);
    nat_tcp::track_inbound(opened.session->tcp, kTcpAck);
    const NatKey has = opened.session->inside();
    const NatSession* back = table.find_inside(has);
    shared.wrong += opened.session->outside() != outside || has.address() != inside.address() ? 1 : 0;
    shared.wrong += back != nullptr && back->inside() != has ? 1 : 0;
}

void work(SharedTable& shared, std::uint16_t worker) {
    std::mt19937 random{worker};
    NatTable& table = shared.table;
    for (int loop = 0; loop < 6000; ++loop) {
        const std::uint32_t tick = shared.ticks.fetch_add(1, std::memory_order_relaxed);
        const std::uint32_t now =
            1000 + tick / 16 + tick / 256 * 301;  // now and then a jump that lets unused ones expire
        for (int i = 0; i < 16; ++i) {
            // With every jump another part of the flows is in use.
            const NatKey key =
                flow((tick / 256 * (kFlows / 3) + static_cast<std::uint32_t>(random()) % (kFlows / 2)) % kFlows);
            const NatTable::Opened opened = table.open(worker, key, shared.pools[0], now);
            if (opened.session == nullptr) {
                continue;
            }
            // Whatever the others do, the record is ours to read until we are quiescent.
            const NatKey outside = opened.session->outside();
            if (opened.session->inside() != key || outside.remote() != key.remote()) {
                ++shared.wrong;
            }
            opened.session->seen(now);
            nat_tcp::track_outbound(opened.session->tcp, kTcpAck);
            NatSession* back = table.find_outside(outside);
            if (back != nullptr && back->outside() != outside) {
                ++shared.wrong;
            }
            shared.used.fetch_add(back != nullptr ? 1 : 0, std::memory_order_relaxed);
            if (shared.pools[0].open_filter && i % 4 == 0) {
                begin_by_mapping(shared, worker, outside, static_cast<std::uint32_t>(random()), now);
            }
            if (shared.is_static && i % 2 == 0) {
                begin_static(shared, worker, static_cast<std::uint32_t>(random()), now);
            }
        }
        table.age(worker, now, shared.pools, 64);
        shared.readers.quiescent(worker);
    }
}

// All workers see the first packets of the same flows at the same moment, and there are few ports.
TEST(NatTableConcurrency, FlowThatAllWorkersOpenIsOneSession) {
    constexpr std::uint32_t kSame = 512;
    for (std::uint32_t round = 0; round < 40; ++round) {
        SharedTable shared{8000};
        shared.pools = {nat_pool({"198.51.100.1", "198.51.100.2", "198.51.100.3"}, 2000, 2099)};
        std::barrier start{kWorkers};
        std::array<std::vector<NatSession*>, kWorkers> got;
        std::vector<std::thread> workers;
        for (std::uint16_t w = 0; w < kWorkers; ++w) {
            workers.emplace_back([&, w] {
                start.arrive_and_wait();
                for (std::uint32_t i = 0; i < kSame; ++i) {
                    got[w].push_back(shared.table.open(w, flow(i), shared.pools[0], 1000).session);
                }
            });
        }
        for (std::thread& worker : workers) {
            worker.join();
        }
        std::set<std::pair<std::uint64_t, std::uint64_t>> outsides;
        for (std::uint32_t i = 0; i < kSame; ++i) {
            ASSERT_NE(got[0][i], nullptr);
            for (std::uint16_t w = 1; w < kWorkers; ++w) {
                ASSERT_EQ(got[w][i], got[0][i]) << "two sessions for one flow";
            }
            const NatKey outside = got[0][i]->outside();
            ASSERT_TRUE(outsides.emplace(outside.addresses, outside.rest).second) << "one outside tuple for two flows";
            ASSERT_EQ(shared.table.find_outside(outside), got[0][i]);
        }
        ASSERT_EQ(shared.table.usage(0).sessions, kSame);
        // Those that came second have given their tuple back: all 3 * 100 of one remote and protocol are in use or
        // free.
        std::uint32_t in_use = 0;
        for (std::uint32_t i = 0; i < kSame; ++i) {
            in_use += flow(i).remote() == flow(0).remote() && flow(i).protocol() == flow(0).protocol() ? 1 : 0;
        }
        for (std::uint32_t i = in_use; i < 300; ++i) {
            const NatKey key =
                nat_key(to_be32(0x0a010000 + i), flow(0).remote(), to_be16(1), to_be16(443), flow(0).protocol());
            ASSERT_NE(shared.table.open(0, key, shared.pools[0], 1000).session, nullptr) << i;
        }
    }
}

// Who comes second gives its port and its block back: the log has a beginning for each end.
TEST(NatTableConcurrency, WhatEndsHasBegunInTheLog) {
    constexpr std::uint32_t kSame = 256;
    constexpr NatEventMask kWanted =
        nat_event_bit(NatEventKind::mapping_created) | nat_event_bit(NatEventKind::mapping_ended) |
        nat_event_bit(NatEventKind::block_allocated) | nat_event_bit(NatEventKind::block_freed);
    for (std::uint32_t round = 0; round < 20; ++round) {
        SharedTable shared{8000};
        NatPool& pool = shared.pools[0];
        pool = nat_pool({"198.51.100.1", "198.51.100.2", "198.51.100.3"}, 2000, 9999);
        pool.mapping = NatMapping::endpoint_independent;
        pool.block_ports = 16;
        pool.host_blocks = 2;
        std::barrier start{kWorkers};
        std::vector<std::unique_ptr<NatEventRing>> rings;
        std::vector<std::thread> workers;
        for (std::uint16_t w = 0; w < kWorkers; ++w) {
            rings.push_back(std::make_unique<NatEventRing>(4096, kWanted, 1'000'000'000));
            shared.table.tell(w, *rings[w]);
            workers.emplace_back([&, w] {
                start.arrive_and_wait();
                for (std::uint32_t i = 0; i < kSame; ++i) {
                    shared.wrong += shared.table.open(w, flow(i), pool, 1000).session == nullptr ? 1 : 0;
                }
            });
        }
        for (std::thread& worker : workers) {
            worker.join();
        }
        ASSERT_EQ(shared.wrong, 0u);
        std::map<std::pair<std::uint64_t, std::uint64_t>, int> live;  // by outside key
        for (const auto& ring : rings) {
            ring->take(4096, [&live](const NatEvent& event) {
                const bool begins =
                    event.kind == NatEventKind::mapping_created || event.kind == NatEventKind::block_allocated;
                live[{event.outside.addresses, event.outside.rest}] += begins ? 1 : -1;
            });
            ASSERT_EQ(ring->lost(), 0u);
        }
        int all = 0;
        for (const auto& [outside, n] : live) {
            ASSERT_TRUE(n == 0 || n == 1) << n;
            all += n;
        }
        ASSERT_EQ(all, static_cast<int>(kSame) + 40) << "a mapping for each, and a block for each of 40 hosts";
    }
}

struct Settings {
    const char* name;
    NatMapping mapping;
    std::uint32_t host_sessions;
    std::uint16_t block_ports;
    std::uint32_t records;  // few: sessions end for others to have room
    bool is_static = false;
    bool is_twice = false;
};

class NatSharedTable : public testing::TestWithParam<Settings> {};

INSTANTIATE_TEST_SUITE_P(NatTableConcurrency, NatSharedTable,
                         testing::Values(Settings{"Dependent", NatMapping::endpoint_dependent, 0, 0, 900},
                                         Settings{"Limited", NatMapping::endpoint_dependent, 12, 0, 900},
                                         Settings{"Crowded", NatMapping::endpoint_dependent, 0, 0, 256},
                                         Settings{"Independent", NatMapping::endpoint_independent, 0, 0, 1500},
                                         Settings{"Blocks", NatMapping::endpoint_independent, 0, 8, 1500},
                                         Settings{"BlocksDependent", NatMapping::endpoint_dependent, 20, 8, 1500},
                                         Settings{"Static", NatMapping::endpoint_dependent, 0, 0, 2500, true},
                                         Settings{"Twice", NatMapping::endpoint_dependent, 0, 0, 2500, true, true}),
                         [](const auto& row) { return std::string{row.param.name}; });

TEST_P(NatSharedTable, ServesFourWorkersAtOnce) {
    const std::uint32_t records = GetParam().records;
    SharedTable shared{records};
    shared.pools[0].mapping = GetParam().mapping;
    shared.pools[0].open_filter = GetParam().mapping == NatMapping::endpoint_independent;
    shared.is_static = GetParam().is_static;
    shared.is_twice = GetParam().is_twice;
    shared.pools[0].host_sessions = GetParam().host_sessions;
    shared.pools[0].block_ports = GetParam().block_ports;
    shared.pools[0].host_blocks = 2;
    std::atomic<bool> stop{false};
    std::uint64_t torn = 0;
    std::thread control([&] {
        while (!stop.load(std::memory_order_relaxed)) {
            shared.table.for_each(1000, [&](const NatSessionView& view) {
                const bool same = view.inside.remote() == view.outside.remote() || shared.is_twice;
                torn += same && view.inside.protocol() == view.outside.protocol() ? 0 : 1;
            });
            const NatUsage usage = shared.table.usage(0);
            torn += usage.expired <= usage.opened ? 0 : 1;
        }
    });
    std::vector<std::thread> workers;
    for (std::uint16_t w = 0; w < kWorkers; ++w) {
        workers.emplace_back(work, std::ref(shared), w);
    }
    for (std::thread& worker : workers) {
        worker.join();
    }
    stop = true;
    control.join();
    EXPECT_EQ(shared.wrong, 0u);
    EXPECT_EQ(torn, 0u);
    // Few where records are few and workers more than cores: one that does not run holds up all grace periods.
    EXPECT_GT(shared.used, 500u);
    EXPECT_GT(shared.table.usage(0).expired, 200u) << "too tame to prove anything";
    if (shared.pools[0].open_filter || shared.is_static) {
        EXPECT_GT(shared.begun_outside, 500u);
    }

    // At rest: every live session is in both indexes, and no two share an end.
    std::set<std::pair<std::uint64_t, std::uint64_t>> insides, outsides;
    std::uint64_t live = 0;
    shared.table.for_each(10'000, [&](const NatSessionView& view) {
        ++live;
        insides.emplace(view.inside.addresses, view.inside.rest);
        outsides.emplace(view.outside.addresses, view.outside.rest);
        ASSERT_NE(shared.table.find_inside(view.inside), nullptr);
        ASSERT_EQ(shared.table.find_outside(view.outside), shared.table.find_inside(view.inside));
    });
    EXPECT_EQ(live, shared.table.usage(0).sessions);
    EXPECT_EQ(insides.size(), live);
    EXPECT_EQ(outsides.size(), live);

    std::map<std::pair<std::uint32_t, NatProtocol>, std::set<std::uint16_t>> ports;
    shared.table.for_each(10'000, [&](const NatSessionView& view) {
        if (!shared.pools[0].holds(view.outside.address())) {
            return;  // static
        }
        ports[{view.outside.address().raw, nat_protocol(view.protocol())}].insert(view.outside.port().host());
    });
    for (const auto& [where, numbers] : ports) {
        EXPECT_EQ(shared.table.ports_in_use(be32{where.first}, where.second), numbers.size());
    }

    // And all of it can be had again: nothing leaked.
    constexpr std::uint32_t kLater = 1'000'000;
    for (std::uint32_t round = 0; round < 6; ++round) {
        for (std::uint16_t w = 0; w < kWorkers; ++w) {
            shared.table.age(w, kLater + round, shared.pools, 100'000);
            shared.readers.quiescent(w);
        }
    }
    EXPECT_EQ(shared.table.usage(0).sessions, 0u);
    shared.pools[0] = nat_pool({"198.51.100.1"});
    std::uint32_t opened = 0;
    for (std::uint32_t i = 0; i < records; ++i) {
        const NatKey key =
            nat_key(to_be32(0x0a010000 + i), to_be32(0x01010101 + i), to_be16(1), to_be16(2), +IpProtocol::udp);
        opened += shared.table.open(0, key, shared.pools[0], kLater).session != nullptr ? 1 : 0;
    }
    EXPECT_GE(opened, records - std::min(records, (kWorkers - 1) * 2 * NatNumbers::kChunk))
        << "more is missing than the other workers' caches hold";
}

}  // namespace
}  // namespace twinspan
