// One process after another: a table whose records a keeper has, and the next one that puts them back.
#include "dataplane/nat_restart.hpp"

#include "tests/support/nat_world.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <iostream>
#include <random>
#include <string>
#include <vector>

namespace twinspan {
namespace {

using test::ip4;
using test::nat_pool;

constexpr std::uint64_t kHz = 1'000'000'000;

class NatRestart : public testing::Test {
protected:
    NatRestart() {
        std::string name = "/dev/shm/twinspan-test-XXXXXX";
        folder_ = mkdtemp(name.data());
    }
    ~NatRestart() override { std::filesystem::remove_all(folder_); }

    struct Process {
        Process(const std::filesystem::path& folder, std::vector<NatPool> p, std::uint32_t sessions)
            : pools(std::move(p)),
              keeper(NatKeeper::open(
                  {.name = "nva", .sessions = sessions, .hugepages = false, .saved = {}, .shared_memory = folder})),
              readers(1),
              table({.sessions = sessions, .workers = 1, .seed = keeper.seed(), .records = keeper.records()}, *readers),
              kept(restore(keeper, table, pools, kHz)) {}
        std::vector<NatPool> pools;
        NatKeeper keeper;
        test::Readers readers;
        NatTable table;
        NatKept kept;
    };
    Process process(std::vector<NatPool> pools, std::uint32_t sessions = 1000) const {
        return {folder_, std::move(pools), sessions};
    }
    static NatPool pool(const std::string& address, Zone zone, Link link = Link::none) {
        NatPool made = nat_pool({address}, 1024, 65535, zone);
        made.link = link;
        return made;
    }
    static NatKey inside(std::uint16_t port, std::uint16_t pool) {
        return nat_key(ip4("10.0.0.1"), ip4("192.0.2.1"), to_be16(port), to_be16(443), +IpProtocol::udp, pool);
    }

    std::filesystem::path folder_;
};

TEST_F(NatRestart, NamesArePeeringAndLink) {
    const std::vector<NatPool> pools{pool("198.51.100.1", Zone::microsoft_peering),
                                     pool("198.51.100.2", Zone::internet, Link::primary),
                                     pool("198.51.100.3", Zone::public_peering, Link::secondary)};
    EXPECT_EQ(names_of(pools), (std::vector<std::string>{"microsoft", "internet primary", "public secondary"}));
}

TEST_F(NatRestart, PoolsMayComeInAnotherOrder) {
    const NatPool microsoft = pool("198.51.100.1", Zone::microsoft_peering);
    const NatPool publik = pool("198.51.100.2", Zone::public_peering);
    const NatPool internet = pool("198.51.100.3", Zone::internet);
    const std::uint32_t now = moment_now(kHz).table;
    {
        Process first = process({microsoft, publik, internet});
        EXPECT_EQ(first.kept.restored.restored, 0u);
        for (std::uint16_t i = 0; i < 3; ++i) {
            for (std::uint16_t port = 0; port <= i; ++port) {
                ASSERT_NE(first.table.open(0, inside(static_cast<std::uint16_t>(2000 + port), i), first.pools[i], now)
                              .session,
                          nullptr);
            }
        }
    }
    {
        Process second = process({internet, microsoft});
        EXPECT_EQ(second.kept.restored.restored, 4u);
        EXPECT_EQ(second.kept.restored[NatLeftOut::no_pool], 2u);
        EXPECT_EQ(second.table.usage(0).sessions, 3u);
        EXPECT_EQ(second.table.usage(1).sessions, 1u);
        const NatSession* session = second.table.find_inside(inside(2000, 0));
        ASSERT_NE(session, nullptr);
        EXPECT_EQ(session->outside().address(), ip4("198.51.100.3"));
        EXPECT_EQ(second.kept.file, nat_file_in(folder_, "nva"));
        EXPECT_LE(session->last_seen + 1 - now, 4u);  // clocks of whole seconds differ by one
    }
    Process third = process({microsoft, publik, internet});
    EXPECT_EQ(third.kept.restored.restored, 4u) << "numbered anew in between";
    EXPECT_EQ(third.table.usage(2).sessions, 3u);
}

TEST_F(NatRestart, EndedSessionsDoNotComeBack) {
    const NatPool only = pool("198.51.100.1", Zone::microsoft_peering);
    {
        Process first = process({only});
        const std::uint32_t now = moment_now(kHz).table;
        first.table.open(0, inside(2000, 0), only, now - 400);
        first.table.open(0, inside(2001, 0), only, now);
        first.table.age(0, now, first.pools, 1u << 20);
        EXPECT_EQ(first.table.usage(0).sessions, 1u);
    }
    const Process second = process({only});
    EXPECT_EQ(second.kept.restored.restored, 1u);
    EXPECT_EQ(second.kept.restored[NatLeftOut::expired], 0u);
}

// The figure of docs/nat.md: from opening the file to a table that is ready for packets.
TEST_F(NatRestart, MillionSessions) {
    constexpr std::uint32_t kSessions = 1'000'000;
    const NatPool only = pool("198.51.100.1", Zone::microsoft_peering);
    {
        Process first = process({only}, kSessions);
        const std::uint32_t now = moment_now(kHz).table;
        std::vector<NatSessionView> saved;
        for (std::uint32_t i = 0; i < kSessions; ++i) {
            const NatKey key =
                nat_key(to_be32(0x0a000000 + i % 5000), to_be32(0x0d6b0601 + i / 60000),
                        to_be16(static_cast<std::uint16_t>(1024 + i % 60000)), to_be16(443), +IpProtocol::tcp);
            const NatKey outside =
                nat_key(ip4("198.51.100.1"), key.remote(), key.port(), key.remote_port(), +IpProtocol::tcp);
            saved.push_back({key, outside, now, now, nat_tcp::kAckOut | nat_tcp::kAckIn});
        }
        std::ranges::shuffle(saved, std::mt19937{1});
        ASSERT_EQ(first.table.restore(saved, first.pools, now).restored, kSessions);
    }
    const auto began = std::chrono::steady_clock::now();
    const std::clock_t cpu_began = std::clock();
    const Process second = process({only}, kSessions);
    const std::clock_t cpu = std::clock() - cpu_began;
    const auto took = std::chrono::steady_clock::now() - began;
    EXPECT_EQ(second.kept.restored.restored, kSessions);
    std::cout << kSessions << " sessions put back in "
              << std::chrono::duration_cast<std::chrono::milliseconds>(took).count() << " ms, "
              << cpu * 1000 / CLOCKS_PER_SEC << " ms of them on a CPU\n";
}

}  // namespace
}  // namespace twinspan
