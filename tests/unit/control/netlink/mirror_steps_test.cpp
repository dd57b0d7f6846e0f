// What concerns much of a large table is done in steps: none of them is long, and events in between are later than it.
#include "control/netlink/mirror_state.hpp"

#include "tests/unit/control/netlink/message_builder.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace twinspan::netlink {
namespace {

using test::ip;

constexpr std::size_t kPrefixes = 3 * RouteTable::kStep;
constexpr std::uint32_t kObject = 100;

IpPrefix nth(std::size_t i) {
    return {IpAddress::from(to_be32(0x0a00'0000u + (static_cast<std::uint32_t>(i) << 8))), 24};
}

class Steps : public testing::Test {
protected:
    void SetUp() override {
        for (const IfIndex ifindex : {6u, 7u}) {
            apply(link(ifindex, true));
        }
        apply(object());
        for (std::size_t i = 0; i < kPrefixes; ++i) {
            apply(through(i, 6));
        }
        ASSERT_FALSE(state.busy());
    }
    static LinkEvent link(IfIndex ifindex, bool up) {
        return {ifindex, "port" + std::to_string(ifindex), up, up, {}, 1500, false};
    }
    static NexthopEvent object() {
        NexthopEvent event;
        event.id = kObject;
        event.hop = {ip("172.16.0.2"), 6, 1, false, false};
        return event;
    }
    static RouteEvent through(std::size_t i, IfIndex ifindex) {
        RouteEvent event;
        event.prefix = nth(i);
        event.placement = RoutePlacement::replace;
        event.nexthops = {{ip(ifindex == 6 ? "172.16.0.2" : "172.16.0.6"), ifindex, 1, false, false}};
        return event;
    }
    static RouteEvent through_object(std::size_t i) {
        RouteEvent event = through(i, 6);
        event.nexthop_id = kObject;
        return event;
    }
    static RouteEvent deleted(RouteEvent event) {
        event.deleted = true;
        return event;
    }
    std::size_t apply(const Event& event) {
        Changes changes;
        static_cast<void>(state.apply(event, changes));
        return changes.prefixes.size();
    }
    // To the end. Returns the most prefixes that one step has changed.
    std::size_t work() {
        std::size_t most = 0;
        while (state.busy()) {
            Changes changes;
            static_cast<void>(state.work(changes));
            most = std::max(most, changes.prefixes.size());
            changed.insert(changed.end(), changes.prefixes.begin(), changes.prefixes.end());
        }
        return most;
    }
    std::size_t unique_changes() {
        std::ranges::sort(changed);
        return static_cast<std::size_t>(std::ranges::unique(changed).begin() - changed.begin());
    }
    KernelState state;
    std::vector<IpPrefix> changed;
};

TEST_F(Steps, ALinkThatGoesDownTakesItsRoutesAFewAtATime) {
    apply(through(0, 7));
    EXPECT_EQ(apply(link(6, false)), 0u);
    EXPECT_TRUE(state.busy());
    EXPECT_EQ(work(), RouteTable::kStep);
    EXPECT_EQ(state.routes().prefixes(), 1u);
    EXPECT_EQ(unique_changes(), kPrefixes - 1);
}

// The link comes back, and the routes with it, before the removal has come to them.
TEST_F(Steps, WhatIsAddedMeanwhileStays) {
    apply(link(6, false));
    apply(link(6, true));
    for (std::size_t i = 0; i < kPrefixes; i += 3) {
        apply(through(i, 6));
    }
    work();
    EXPECT_EQ(state.routes().prefixes(), kPrefixes / 3);
    EXPECT_NE(state.best_route(nth(3)), std::nullopt);
    EXPECT_EQ(state.best_route(nth(4)), std::nullopt);
}

// An object's number may be used again at once.
TEST_F(Steps, RoutesThroughAnObjectWithTheNumberOfADeletedOneStay) {
    for (std::size_t i = 0; i < kPrefixes; ++i) {
        apply(deleted(through(i, 6)));
        apply(through_object(i));
    }
    NexthopEvent gone = object();
    gone.deleted = true;
    apply(gone);
    apply(object());
    apply(through_object(5));
    apply(through_object(5));
    work();
    EXPECT_EQ(state.routes().prefixes(), 1u);
    EXPECT_NE(state.best_route(nth(5)), std::nullopt);
}

TEST_F(Steps, WhatADumpHasNotShownGoesAFewAtATimeAndNotWhatEventsSayMeanwhile) {
    Changes changes;
    state.begin_resync(Part::routes4);
    state.apply_dumped(through(0, 6), changes);
    apply(through(1, 7));  // the dump has passed it
    EXPECT_TRUE(state.end_resync(changes).empty());
    EXPECT_TRUE(state.busy());
    apply(through(2, 7));
    apply(through(kPrefixes + 1, 7));
    apply(deleted(through(0, 6)));
    EXPECT_LT(work(), RouteTable::kStep + 10) << "some twice, by an event too";
    EXPECT_EQ(state.routes().prefixes(), 3u);
    for (const std::size_t i : {std::size_t{1}, std::size_t{2}, kPrefixes + 1}) {
        ASSERT_NE(state.best_route(nth(i)), std::nullopt) << i;
        EXPECT_EQ(state.best_route(nth(i))->nexthops.front().ifindex, 7u) << i;
    }
}

// What a resync that never ended has seen is nothing to the next one, however many there were.
TEST_F(Steps, ResyncsThatNeverEndLeaveNothingBehind) {
    for (const std::size_t abandoned : {1u, 2u, 126u, 127u, 128u, 129u, 300u}) {
        Changes changes;
        for (std::size_t n = 0; n < abandoned; ++n) {
            state.begin_resync(Part::routes4);
            state.apply_dumped(through(n, 6), changes);
            state.apply_dumped(through(1000, 6), changes);
            apply(through(2000 + n, 7));
        }
        state.begin_resync(Part::routes4);
        for (std::size_t i = 0; i < kPrefixes; ++i) {
            if (i != 1000) {
                state.apply_dumped(through(i, 6), changes);
            }
        }
        EXPECT_TRUE(state.end_resync(changes).empty());
        work();
        EXPECT_EQ(state.routes().prefixes(), kPrefixes - 1) << abandoned;
        EXPECT_EQ(state.routes().size(), kPrefixes - 1) << abandoned;
        EXPECT_EQ(state.best_route(nth(1000)), std::nullopt) << abandoned;
        apply(through(1000, 6));
    }
}

}  // namespace
}  // namespace twinspan::netlink
