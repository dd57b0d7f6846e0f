// Addresses that leave a pool, over a real table: what is there goes on, nothing begins, and the last one is noticed.
#include "control/nat/nat_drain.hpp"

#include "control/config/ranges.hpp"
#include "dataplane/state/nat_table.hpp"
#include "tests/support/nat_world.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

namespace twinspan {
namespace {

using test::ip4;
using test::nat_pool;
using test::NatWorld;
using Time = std::chrono::steady_clock::time_point;

constexpr std::uint8_t kUdp = +IpProtocol::udp;
constexpr const char* kLeaves = "198.51.100.1";
constexpr const char* kStays = "198.51.100.2";

Ipv4Range one(const char* address) { return {ip4(address), ip4(address)}; }

NatKey flow(unsigned host, std::uint16_t port, const char* remote = "13.107.6.1") {
    return nat_key(ip4("10.0.0." + std::to_string(host)), ip4(remote), to_be16(port), to_be16(443), kUdp);
}

class Draining {
public:
    explicit Draining(const std::function<void(NatPool&)>& with = [](NatPool&) {})
        : world({nat_pool({kLeaves, kStays})}, 40000) {
        with(world.snapshot.pools[0]);
        for (unsigned host = 1; host < 60; ++host) {
            const NatKey key = flow(host, 5000);
            (open(key).outside().address() == ip4(kLeaves) ? leaving : staying).push_back(key);
        }
        config.ranges = {one(kStays)};
        config.draining = {one(kLeaves)};
    }
    NatSession& open(const NatKey& key) {
        const NatTable::Opened opened = world.table.open(0, key, world.snapshot.pools[0], world.context->now_seconds);
        EXPECT_NE(opened.session, nullptr);
        return *opened.session;
    }
    // As a reload does it.
    void take_out() {
        world.snapshot.pools[0].addresses = config.ranges;
        world.snapshot.pools[0].address_count = 1;
        drain.watch({config});
    }
    std::vector<NatDrain::Drained> walk() {
        now += NatDrain::kBetween;
        std::vector<NatDrain::Drained> drained;
        for (int i = 0; i < 4; ++i) {  // steps of one walk
            for (NatDrain::Drained& done : drain.tick(world.table, now)) {
                drained.push_back(std::move(done));
            }
        }
        return drained;
    }

    NatWorld world;
    PoolConfig config;
    NatDrain drain;
    std::vector<NatKey> leaving, staying;
    Time now{std::chrono::hours{1}};
};

TEST(NatDrain, WhatIsThereGoesOnAndNothingBegins) {
    const std::function<void(NatPool&)> kinds[] = {
        [](NatPool&) {},
        [](NatPool& pool) { pool.host_sessions = 100; },
        [](NatPool& pool) { pool.block_ports = 64; },
        [](NatPool& pool) { pool.mapping = NatMapping::endpoint_independent; },
        [](NatPool& pool) {
        pool.mapping = NatMapping::endpoint_independent;
        pool.open_filter = true;
        pool.block_ports = 64;
    },
    };
    for (std::size_t kind = 0; kind < std::size(kinds); ++kind) {
        SCOPED_TRACE(kind);
        Draining d{kinds[kind]};
        ASSERT_GT(d.leaving.size(), 10u);
        ASSERT_GT(d.staying.size(), 10u);
        d.take_out();
        d.world.context->now_seconds += 100;
        d.world.age();
        for (const NatKey& key : d.leaving) {
            NatSession* session = d.world.table.find_inside(key);
            ASSERT_NE(session, nullptr);
            EXPECT_EQ(d.world.table.find_outside(session->outside()), session);
            EXPECT_EQ(&d.open(key), session) << "its packets find it";
        }
        for (unsigned host = 1; host < 60; ++host) {  // the same inside ends, and others
            EXPECT_EQ(d.open(flow(host, 5000, "13.107.6.2")).outside().address(), ip4(kStays));
            EXPECT_EQ(d.open(flow(host, 6000)).outside().address(), ip4(kStays));
        }
    }
}

TEST(NatDrain, NobodyOutsideBeginsOnAMappingThatDrains) {
    Draining d{[](NatPool& pool) {
        pool.mapping = NatMapping::endpoint_independent;
        pool.open_filter = true;
    }};
    const auto from_outside = [&](const NatKey& inside, const char* remote) {
        const NatKey own = d.world.table.find_inside(inside)->outside();
        const NatKey outside = nat_key(own.address(), ip4(remote), own.port(), to_be16(999), kUdp);
        return d.world.table.open_mapped(0, outside, d.world.snapshot.pools[0], d.world.context->now_seconds);
    };
    EXPECT_NE(from_outside(d.leaving[0], "13.107.6.7").session, nullptr);
    d.take_out();
    EXPECT_NE(from_outside(d.leaving[0], "13.107.6.7").session, nullptr) << "that one is there";
    const NatTable::Opened opened = from_outside(d.leaving[0], "13.107.6.8");
    EXPECT_EQ(opened.session, nullptr);
    EXPECT_EQ(opened.reason, Drop::nat_no_session);
    EXPECT_NE(from_outside(d.staying[0], "13.107.6.8").session, nullptr);
}

TEST(NatDrain, APoolWithoutAddressesKeepsItsSessionsAndGetsNoMore) {
    Draining d;
    d.world.snapshot.pools[0].addresses.clear();
    d.world.snapshot.pools[0].address_count = 0;
    d.world.age();
    EXPECT_NE(d.world.table.find_inside(d.leaving[0]), nullptr);
    const NatTable::Opened opened =
        d.world.table.open(0, flow(1, 7000), d.world.snapshot.pools[0], d.world.context->now_seconds);
    EXPECT_EQ(opened.session, nullptr);
    EXPECT_EQ(opened.reason, Drop::nat_pool_down);
    EXPECT_EQ(d.world.table.usage(0).ports_exhausted, 0u) << "none ran out";
}

TEST(NatDrain, TheLastSessionsEndIsNoticed) {
    Draining d;
    EXPECT_TRUE(d.walk().empty()) << "nothing drains";
    EXPECT_FALSE(d.drain.sessions_left(0));
    d.take_out();
    EXPECT_FALSE(d.drain.sessions_left(0)) << "nobody has looked yet";
    EXPECT_TRUE(d.walk().empty());
    EXPECT_EQ(d.drain.sessions_left(0), d.leaving.size());
    EXPECT_EQ(d.drain.addresses(), 1u);

    d.world.context->now_seconds += 200;
    d.world.table.find_inside(d.leaving[3])->seen(d.world.context->now_seconds);
    d.world.context->now_seconds += 200;  // 300 s idle end a session
    d.world.age();
    EXPECT_TRUE(d.walk().empty());
    EXPECT_EQ(d.drain.sessions_left(0), 1u);

    d.world.context->now_seconds += 400;
    d.world.age();
    const auto drained = d.walk();
    ASSERT_EQ(drained.size(), 1u);
    EXPECT_EQ(drained[0].pool, 0u);
    EXPECT_EQ(to_string(drained[0].addresses), kLeaves);
    d.config.draining.clear();
    d.drain.watch({d.config});
    EXPECT_TRUE(d.walk().empty());
    EXPECT_FALSE(d.drain.sessions_left(0));
    EXPECT_EQ(d.drain.addresses(), 0u);
}

// A session that began on the address while the first walk was behind it must not be missed.
TEST(NatDrain, AWalkBeginsAnewWhenMoreIsTakenOut) {
    Draining d;
    d.config.ranges = {one(kLeaves), one(kStays)};
    d.config.draining = {one("198.51.100.9")};
    d.drain.watch({d.config});
    d.now += NatDrain::kBetween;
    for (unsigned port = 0; port < 35000; ++port) {  // more than one step
        d.open(flow(1 + port % 50, static_cast<std::uint16_t>(10000 + port), "13.107.6.3"));
    }
    EXPECT_TRUE(d.drain.tick(d.world.table, d.now).empty());
    d.config.ranges = {one(kStays)};
    d.config.draining = {one(kLeaves), one("198.51.100.9")};
    d.take_out();
    std::vector<NatDrain::Drained> drained;
    for (int i = 0; i < 3 && drained.empty(); ++i) {
        drained = d.drain.tick(d.world.table, d.now);
    }
    ASSERT_EQ(drained.size(), 1u);
    EXPECT_EQ(to_string(drained[0].addresses), "198.51.100.9");
    EXPECT_EQ(d.drain.sessions_left(0), d.world.table.sessions_on(0, ip4(kLeaves)));
}

}  // namespace
}  // namespace twinspan
