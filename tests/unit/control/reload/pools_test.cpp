// Pools over several readings of the configuration: their numbers, what drains, and what is refused.
#include "control/reload/pools.hpp"
#include "control/reload/plan.hpp"
#include "tests/unit/control/model/test_world.hpp"

#include <gtest/gtest.h>

#include <string>

namespace twinspan::test {
namespace {

Ipv4Range range(std::string_view first, std::string_view last) { return {ip(first).v4(), ip(last).v4()}; }
Ipv4Range one(std::string_view address) { return range(address, address); }

PoolConfig pool(Zone zone, Ranges ranges, Link link = Link::none) {
    PoolConfig result;
    result.zone = zone;
    result.link = link;
    result.ranges = std::move(ranges);
    return result;
}

using Pools = std::vector<PoolConfig>;
constexpr Zone kMicrosoft = Zone::microsoft_peering, kPublic = Zone::public_peering, kInternet = Zone::internet;

TEST(Pools, KeepTheirNumbersWhateverComesAndGoes) {
    Pools running{pool(kPublic, {one("198.51.100.1")}), pool(kMicrosoft, {one("198.51.100.2")})};
    const auto number = [&](Zone zone) {
        return std::ranges::find(running, zone, &PoolConfig::zone) - running.begin();
    };
    running = follow_pools(running, {pool(kMicrosoft, {one("198.51.100.2")}), pool(kInternet, {one("198.51.100.3")})});
    EXPECT_EQ((std::array{number(kPublic), number(kMicrosoft), number(kInternet)}),
              (std::array<std::ptrdiff_t, 3>{0, 1, 2}));
    EXPECT_TRUE(running[0].removed());
    running = follow_pools(running, {pool(kInternet, {one("198.51.100.3")})});
    running = follow_pools(running, {pool(kInternet, {one("198.51.100.3")}), pool(kMicrosoft, {one("198.51.100.4")}),
                                     pool(kPublic, {one("198.51.100.5")})});
    EXPECT_EQ((std::array{number(kPublic), number(kMicrosoft), number(kInternet)}),
              (std::array<std::ptrdiff_t, 3>{0, 1, 2}));
    EXPECT_EQ(to_string(running[0].draining), "198.51.100.1");
    EXPECT_EQ(to_string(running[1].draining), "198.51.100.2");
    EXPECT_EQ(running.size(), 3u);
}

TEST(Pools, AddressesThatAreTakenOutDrainUntilTheyComeBack) {
    Pools running{pool(kMicrosoft, {range("198.51.100.0", "198.51.100.15")})};
    running = follow_pools(running, {pool(kMicrosoft, {range("198.51.100.4", "198.51.100.20")})});
    EXPECT_EQ(to_string(running[0].ranges), "198.51.100.4-198.51.100.20");
    EXPECT_EQ(to_string(running[0].draining), "198.51.100.0-198.51.100.3");
    running = follow_pools(running, {pool(kMicrosoft, {range("198.51.100.2", "198.51.100.9")})});
    EXPECT_EQ(to_string(running[0].draining), "198.51.100.0-198.51.100.1, 198.51.100.10-198.51.100.20");
    running = follow_pools(running, {});
    EXPECT_EQ(to_string(running[0].draining), "198.51.100.0-198.51.100.20");
    running = follow_pools(running, {pool(kMicrosoft, {range("198.51.100.0", "198.51.100.20")})});
    EXPECT_TRUE(running[0].draining.empty());
    EXPECT_FALSE(running[0].removed());
}

std::string refusals(const Pools& running, const Pools& wanted, std::uint32_t room = 1u << 20, Pools had_blocks = {}) {
    note_blocks(had_blocks, running);
    std::string text;
    for (const PoolRefusal& refusal : refuse_pools(running, wanted, room, had_blocks)) {
        text += to_string(refusal.key) + ": " + refusal.why + '\n';
    }
    return text;
}

TEST(Pools, AnAddressChangesItsPoolOnlyWhenNothingIsLeftOnIt) {
    const Pools before{pool(kPublic, {one("198.51.100.1")}), pool(kMicrosoft, {one("198.51.100.2")})};
    const Pools moved{pool(kPublic, {one("198.51.100.3")}), pool(kMicrosoft, {range("198.51.100.1", "198.51.100.2")})};
    EXPECT_NE(refusals(before, moved).find("peerings.microsoft.nat.pool: found addresses of pool public"),
              std::string::npos);
    Pools running = follow_pools(before, {pool(kPublic, {one("198.51.100.3")}), before[1]});
    EXPECT_NE(refusals(running, moved).find("('show nat' tells)"), std::string::npos);
    running[0].draining.clear();
    EXPECT_EQ(refusals(running, moved), "");
}

TEST(Pools, AnAddressStandsForHostsOutsideOnlyWhenNothingIsLeftOnIt) {
    const Pools before{pool(kPublic, {range("198.51.100.1", "198.51.100.2")}),
                       pool(kMicrosoft, {range("198.51.100.4", "198.51.100.5")})};
    Pools wanted = before;
    wanted[0].ranges = {one("198.51.100.2")};
    wanted[1].from_microsoft = {one("198.51.100.1")};
    EXPECT_NE(refusals(before, wanted).find("found addresses of pool public"), std::string::npos);
    Pools running = follow_pools(before, {wanted[0], before[1]});
    EXPECT_NE(refusals(running, wanted), "") << "it still drains";
    running[0].draining.clear();
    EXPECT_EQ(refusals(running, wanted), "");

    Pools own = before;
    own[1].ranges = {one("198.51.100.5")};
    own[1].from_microsoft = {one("198.51.100.4")};
    EXPECT_NE(refusals(before, own).find("found addresses of pool microsoft"), std::string::npos);
}

TEST(Pools, OneListAndAPoolForEachLinkDoNotBecomeOneAnother) {
    const Pools list{pool(kMicrosoft, {range("198.51.100.0", "198.51.100.3")})};
    const Pools links{pool(kMicrosoft, {one("198.51.100.8")}, Link::primary),
                      pool(kMicrosoft, {one("198.51.100.9")}, Link::secondary)};
    EXPECT_NE(refusals(list, links).find("peerings.microsoft.nat.pool: found a pool for each link, expected one pool"),
              std::string::npos);
    EXPECT_NE(refusals(links, list).find("found one pool, expected a pool for each link"), std::string::npos);
    Pools running = follow_pools(list, {});
    EXPECT_NE(refusals(running, links), "") << "it still drains";
    running[0].draining.clear();
    EXPECT_EQ(refusals(running, links), "");
    EXPECT_EQ(refusals(links, {pool(kMicrosoft, {one("198.51.100.7")}, Link::primary), links[1]}), "");
}

TEST(Pools, BlocksKeepTheirSizeAndTheirBeginning) {
    Pools running{pool(kMicrosoft, {one("198.51.100.2")})};
    Pools wanted = running;
    wanted[0].block_ports = 64;
    EXPECT_EQ(refusals(running, wanted), "") << "there are none yet";
    running[0].block_ports = 128;
    EXPECT_NE(refusals(running, wanted)
                  .find("peerings.microsoft.nat.port-blocks.size: found blocks of 64 ports, expected 128"),
              std::string::npos);
    wanted[0].block_ports = 128;
    wanted[0].first_port = 2048;
    EXPECT_NE(refusals(running, wanted).find("peerings.microsoft.nat.ports: found ports from 2048 on, expected 1024"),
              std::string::npos);
    wanted[0].first_port = 1024;
    wanted[0].last_port = 2000;
    EXPECT_EQ(refusals(running, wanted), "");
}

// Sessions that last keep them while none are given, and the pool has none by its configuration.
TEST(Pools, BlocksAreRememberedWhileNoneAreGiven) {
    Pools blocks{pool(kMicrosoft, {one("198.51.100.2")})};
    blocks[0].block_ports = 128;
    Pools had;
    note_blocks(had, blocks);
    const Pools none{pool(kMicrosoft, {one("198.51.100.2")})};
    note_blocks(had, none);
    Pools wanted = blocks;
    EXPECT_EQ(refusals(none, wanted, 1u << 20, had), "");
    wanted[0].block_ports = 64;
    EXPECT_NE(refusals(none, wanted, 1u << 20, had).find("found blocks of 64 ports, expected 128"), std::string::npos);
    wanted[0].block_ports = 128;
    wanted[0].first_port = 2048;
    EXPECT_NE(refusals(none, wanted, 1u << 20, had).find("found ports from 2048 on, expected 1024"), std::string::npos);
    wanted[0].zone = kPublic;
    EXPECT_EQ(refusals(none, wanted, 1u << 20, had).find("found blocks"), std::string::npos);
}

TEST(Pools, TakenAwayTheyTakeNoSessionFromOutsideAndKeepTheWayBack) {
    Pools running{pool(kMicrosoft, {one("198.51.100.2")})};
    running[0].statics = {{ip("198.51.100.2").v4(), ip("10.0.0.1").v4(), 0, {}, {}}};
    running[0].from_microsoft = {range("10.66.255.0", "10.66.255.15")};
    Pools wanted = running;
    wanted[0].from_microsoft = {range("10.66.255.0", "10.66.255.7")};
    EXPECT_EQ(refusals(running, wanted),
              "peerings.microsoft.nat.from-microsoft: found no 10.66.255.8-10.66.255.15, expected all that are in use; "
              "to take addresses out takes a restart\n");
    running = follow_pools(running, {});
    EXPECT_TRUE(running[0].statics.empty());
    EXPECT_FALSE(running[0].from_microsoft.empty());
    give_up(running[0], {one("198.51.100.2")});
    EXPECT_TRUE(running[0].draining.empty());
    EXPECT_TRUE(running[0].from_microsoft.empty());
}

TEST(Pools, ShareTheTableThatWasMadeAtTheStart) {
    const Pools running{pool(kMicrosoft, {one("198.51.100.2")})};
    Pools wanted{running[0], pool(kPublic, {one("198.51.100.3")})};
    EXPECT_EQ(refusals(running, wanted, 65536),
              "peerings.public.nat.sessions: found room for 131072 sessions in all pools, expected 65536 at most: that "
              "is the "
              "table since the start; more take a restart\n");
    wanted[0].sessions = 40000;
    wanted[1].sessions = 25536;
    EXPECT_EQ(refusals(running, wanted, 65536), "");
}

// The compiler's half: what drains is the pool's in the FIB, and no session begins there.
class DrainingWorld : public testing::Test, public TestWorld {
protected:
    DrainingWorld() {
        both_msees();
        split_over_microsoft("13.107.6.0/24");
        compile();
    }
    void follow(const Pools& wanted) {
        world.config.pools = follow_pools(world.config.pools, wanted);
        planner->read_configuration();
        changes = planner->refresh();
        repair();
    }
};

TEST_F(DrainingWorld, WhatDrainsIsRoutedButNotGiven) {
    follow({pool(kMicrosoft, {range("198.51.100.8", "198.51.100.19")})});
    EXPECT_EQ(snapshot->pools[0].address_count, 12u);
    EXPECT_FALSE(snapshot->pools[0].holds(ip("198.51.100.3").v4()));
    EXPECT_TRUE(snapshot->pools[0].holds(ip("198.51.100.17").v4()));
    EXPECT_EQ(lookup("198.51.100.3"), (RouteResult{RouteKind::pool, 0}));
    EXPECT_EQ(lookup("198.51.100.17"), (RouteResult{RouteKind::pool, 0}));
    world.config.pools[0].draining.clear();
    follow({pool(kMicrosoft, {range("198.51.100.8", "198.51.100.19")})});
    EXPECT_EQ(lookup("198.51.100.3").kind(), RouteKind::drop);
    EXPECT_EQ(lookup("198.51.100.8"), (RouteResult{RouteKind::pool, 0}));
}

TEST_F(DrainingWorld, APoolThatIsTakenAwayTranslatesUntilItHasDrained) {
    follow({});
    EXPECT_EQ(egress("13.107.6.1").kind, EgressKind::drop) << "both links, of one kind";
    for (const std::uint16_t e : buckets("13.107.6.1")) {
        EXPECT_EQ(snapshot->egresses[e].kind, EgressKind::nat);
        EXPECT_EQ(snapshot->egresses[e].pool, 0);
    }
    EXPECT_EQ(snapshot->pools[0].address_count, 0u) << "no session begins";
    EXPECT_EQ(lookup("198.51.100.3"), (RouteResult{RouteKind::pool, 0}));
    world.config.pools[0].draining.clear();
    follow({});
    EXPECT_EQ(lookup("198.51.100.3").kind(), RouteKind::drop);
    for (const std::uint16_t e : buckets("13.107.6.1")) {
        EXPECT_EQ(snapshot->egresses[e].kind, EgressKind::drop) << "nothing leaves there untranslated";
    }
    follow({pool(kMicrosoft, {one("198.51.100.40")})});
    EXPECT_EQ(lookup("198.51.100.40"), (RouteResult{RouteKind::pool, 0})) << "the same number again";
    EXPECT_EQ(snapshot->egresses[buckets("13.107.6.1")[0]].kind, EgressKind::nat);
}

}  // namespace
}  // namespace twinspan::test
