#include "dataplane/state/nat_events.hpp"

#include "tests/support/nat_world.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>
#include <vector>

namespace twinspan {
namespace {

using test::ip4;
using test::nat_pool;
using test::NatWorld;

constexpr NatEventMask kAll = kNatSessionEvents | kNatPoolEvents;
constexpr std::uint64_t kHz = 1000;

NatEvent numbered(std::uint32_t value, NatEventKind kind = NatEventKind::session_created) {
    return {.inside = nat_key(to_be32(value), {}, {}, {}, 17), .value = value, .kind = kind};
}

std::vector<NatEvent> taken(NatEventRing& ring, std::size_t most = 1000) {
    std::vector<NatEvent> events;
    ring.take(most, [&](const NatEvent& event) { events.push_back(event); });
    return events;
}

TEST(NatEventRing, KeepsTheOrderOverItsEnd) {
    NatEventRing ring{4, kAll, kHz};
    std::uint32_t next = 0, expected = 0;
    for (int round = 0; round < 10; ++round) {
        for (int i = 0; i < 3; ++i) {
            ring.push(numbered(next++), 77);
        }
        for (const NatEvent& event : taken(ring)) {
            EXPECT_EQ(event.value, expected++);
            EXPECT_EQ(event.time, 77u);
        }
    }
    EXPECT_EQ(expected, 30u);
    EXPECT_EQ(ring.lost(), 0u);
}

TEST(NatEventRing, FullCountsLossAndGoesOn) {
    NatEventRing ring{4, kAll, kHz};
    for (std::uint32_t i = 0; i < 7; ++i) {
        ring.push(numbered(i, NatEventKind::mapping_created), 1);
    }
    EXPECT_EQ(ring.lost(), 3u);
    const auto first = taken(ring, 1);
    ASSERT_EQ(first.size(), 1u);
    EXPECT_EQ(first[0].value, 0u);
    ring.push(numbered(9, NatEventKind::mapping_created), 1);
    const auto rest = taken(ring);
    ASSERT_EQ(rest.size(), 4u);
    EXPECT_EQ(rest[2].value, 3u);
    EXPECT_EQ(rest[3].value, 9u);
}

TEST(NatEventRing, SessionsLeaveRoomForWhatIsRarer) {
    NatEventRing ring{16, kAll, kHz};
    for (std::uint32_t i = 0; i < 20; ++i) {
        ring.push(numbered(i), 1);
    }
    EXPECT_EQ(ring.lost(), 6u);
    ring.push(numbered(100, NatEventKind::high_water), 1);
    EXPECT_EQ(ring.lost(), 6u);
    const auto events = taken(ring);
    ASSERT_EQ(events.size(), 15u);
    EXPECT_EQ(events.back().value, 100u);
}

TEST(NatEventRings, GiveWallClockTimeAndTheSumOfLosses) {
    const auto since_1970 = [] {
        return static_cast<std::uint64_t>(
            std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
                .count());
    };
    constexpr std::uint64_t kGigahertz = 1'000'000'000;
    NatEventRings rings{2, kAll, 4, kGigahertz};
    rings.of(0).push(numbered(1));
    rings.of(1).push(numbered(2), rte_rdtsc() - 5 * kGigahertz);
    rings.of(1).push(numbered(3), rte_rdtsc() + kGigahertz);  // a counter that is ahead
    rings.of(1).push(numbered(4));
    rings.of(1).push(numbered(5));
    const std::uint64_t before = since_1970();
    std::vector<NatEvent> events;
    EXPECT_EQ(rings.take(8, [&](const NatEvent& event) { events.push_back(event); }), 5u);
    ASSERT_EQ(events.size(), 5u);
    EXPECT_NEAR(static_cast<double>(events[0].time), static_cast<double>(before), 1000);
    EXPECT_NEAR(static_cast<double>(events[1].time), static_cast<double>(before - 5000), 1000);
    EXPECT_LE(events[2].time, since_1970());
    EXPECT_EQ(rings.lost(), 0u);
    for (std::uint32_t i = 0; i < 6; ++i) {
        rings.of(0).push(numbered(i));
        rings.of(1).push(numbered(i));
    }
    EXPECT_EQ(rings.lost(), 4u);
}

TEST(NatEventRing, TakesOnlyTheKindsThatAreWanted) {
    NatEventRing ring{4, kNatPoolEvents, kHz};
    ring.push(numbered(1, NatEventKind::session_created), 1);
    ring.push(numbered(2, NatEventKind::session_ended), 1);
    ring.push(numbered(3, NatEventKind::high_water), 1);
    const auto events = taken(ring);
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].value, 3u);
}

TEST(NatEventRing, ExhaustionIsSaidOnceASecond) {
    NatEventRing ring{16, kAll, kHz};
    const auto pool = [](std::uint16_t index) {
        return NatEvent{.inside = nat_key({}, {}, {}, {}, 6, index), .kind = NatEventKind::addresses_exhausted};
    };
    for (std::uint64_t now = 5000; now < 6000; ++now) {
        ring.push(pool(0), now);
    }
    EXPECT_EQ(taken(ring).size(), 1u);
    ring.push(pool(1), 5999);  // another pool speaks for itself
    EXPECT_EQ(taken(ring).size(), 1u);
    ring.push(pool(0), 6000);
    EXPECT_EQ(taken(ring).size(), 1u);
    for (int i = 0; i < 3; ++i) {  // sessions are each their own
        ring.push(numbered(1), 6000);
    }
    EXPECT_EQ(taken(ring).size(), 3u);
    EXPECT_EQ(ring.lost(), 0u);
}

TEST(NatEventRing, TwoThreadsSeeEveryEventOrItsLoss) {
    constexpr std::uint32_t kEvents = 200'000;
    NatEventRing ring{64, kAll, kHz};
    std::thread worker([&] {
        for (std::uint32_t i = 0; i < kEvents; ++i) {
            ring.push(numbered(i), i);
        }
    });
    std::uint64_t seen = 0, last = 0;
    bool ordered = true;
    const auto check = [&](const NatEvent& event) {
        ordered = ordered && (seen == 0 || event.value > last) && event.inside.address().host() == event.value;
        last = event.value;
        ++seen;
    };
    while (last != kEvents - 1 && seen + ring.lost() != kEvents) {
        ring.take(16, check);
    }
    worker.join();
    ring.take(kEvents, check);
    EXPECT_TRUE(ordered);
    EXPECT_EQ(seen + ring.lost(), kEvents);
}

struct Told {
    explicit Told(NatPool pool, std::uint32_t sessions = 1024) : world({std::move(pool)}, sessions) {
        world.table.tell(0, ring);
    }
    NatTable::Opened open(const NatKey& key) {
        return world.table.open(0, key, world.snapshot.pools[0], world.context->now_seconds);
    }
    NatEventRing ring{1024, kAll, std::uint64_t{1} << 62};
    NatWorld world;
};

NatKey inside(std::uint16_t port) {
    return nat_key(ip4("10.0.0.1"), ip4("13.107.6.1"), to_be16(port), to_be16(443), +IpProtocol::udp);
}

TEST(NatTableEvents, TellSessionsFromBeginningToEnd) {
    Told told{nat_pool({"198.51.100.1"})};
    const NatSession* session = told.open(inside(5000)).session;
    ASSERT_NE(session, nullptr);
    const NatKey outside = session->outside();
    told.open(inside(5000));  // there already
    auto events = taken(told.ring);
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].kind, NatEventKind::session_created);
    EXPECT_EQ(events[0].inside, inside(5000));
    EXPECT_EQ(events[0].outside, outside);
    EXPECT_NE(events[0].time, 0u);

    told.world.context->now_seconds += 1000;
    told.world.age();
    events = taken(told.ring);
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].kind, NatEventKind::session_ended);
    EXPECT_EQ(events[0].inside, inside(5000));
    EXPECT_EQ(events[0].outside, outside);
}

TEST(NatTableEvents, TellThatPortsRanOut) {
    Told told{nat_pool({"198.51.100.1"}, 2000, 2001)};
    told.open(inside(1));
    told.open(inside(2));
    taken(told.ring);
    EXPECT_EQ(told.open(inside(3)).session, nullptr);
    const auto events = taken(told.ring);
    ASSERT_EQ(events.size(), 2u);
    EXPECT_EQ(events[0].kind, NatEventKind::ports_exhausted);
    EXPECT_EQ(events[0].outside.address(), ip4("198.51.100.1"));
    EXPECT_EQ(events[0].outside.protocol(), +IpProtocol::udp);
    EXPECT_EQ(events[1].kind, NatEventKind::addresses_exhausted);
}

TEST(NatTableEvents, TellThatTheTableIsFull) {
    Told told{nat_pool({"198.51.100.1"}), 64};
    std::uint16_t port = 1;
    while (told.open(inside(port)).session != nullptr) {
        ++port;
    }
    const auto events = taken(told.ring);
    ASSERT_FALSE(events.empty());
    EXPECT_EQ(events.back().kind, NatEventKind::sessions_exhausted);
    EXPECT_EQ(events.back().value, 64u);
}

TEST(NatTableEvents, TellWhichPortsABlockHasAndHad) {
    NatPool pool = nat_pool({"198.51.100.1"});
    pool.block_ports = 64;
    Told told{pool};
    ASSERT_NE(told.open(inside(5000)).session, nullptr);
    auto events = taken(told.ring);
    ASSERT_EQ(events.size(), 2u);
    const NatEvent allocated = events[0];
    EXPECT_EQ(allocated.kind, NatEventKind::block_allocated);
    EXPECT_EQ(allocated.value, 64u);
    EXPECT_EQ(allocated.outside.address(), ip4("198.51.100.1"));
    EXPECT_EQ(allocated.inside.address(), inside(5000).address());

    told.world.context->now_seconds += 1000;
    told.world.age();
    events = taken(told.ring);
    ASSERT_EQ(events.size(), 2u);
    EXPECT_EQ(events[1].kind, NatEventKind::block_freed);
    EXPECT_EQ(events[1].value, 64u);
    EXPECT_EQ(events[1].outside, allocated.outside);
    EXPECT_EQ(events[1].inside, allocated.inside);
}

TEST(NatTableEvents, AWalkInStepsSeesEverySessionOnce) {
    Told told{nat_pool({"198.51.100.1"})};
    for (std::uint16_t port = 1; port <= 300; ++port) {
        ASSERT_NE(told.open(inside(port)).session, nullptr);
    }
    std::vector<int> seen(301);
    unsigned steps = 0;
    for (std::uint32_t next = 1; next != 0; ++steps) {
        next = told.world.table.walk(next, 50, [&](const NatSessionView& view) { ++seen[view.inside.port().host()]; });
    }
    EXPECT_GE(steps, 6u);
    for (std::uint16_t port = 1; port <= 300; ++port) {
        EXPECT_EQ(seen[port], 1) << port;
    }
}

}  // namespace
}  // namespace twinspan
