// The walk over a real table, and what the status makes of its counters.
#include "control/nat/nat_survey.hpp"

#include "control/nat/nat_status.hpp"
#include "dataplane/state/nat_table.hpp"
#include "tests/support/nat_world.hpp"

#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace twinspan {
namespace {

using test::ip4;
using test::nat_pool;
using test::NatWorld;
using Time = std::chrono::steady_clock::time_point;

constexpr std::uint8_t kUdp = +IpProtocol::udp;
constexpr std::uint8_t kTcp = +IpProtocol::tcp;

class Surveyed {
public:
    explicit Surveyed(std::uint32_t sessions = 4096)
        : world({nat_pool({"198.51.100.1", "198.51.100.2"}), nat_pool({"192.0.2.200"}, 2000, 2009)}, sessions) {}
    // `n` sessions of one host towards ports from `remote_port` on.
    void open(const std::string& host, std::uint16_t n, const std::string& remote, std::uint8_t protocol = kUdp,
              std::uint16_t pool = 0, std::uint16_t remotes = 1) {
        for (std::uint16_t i = 0; i < n; ++i) {
            const NatKey key = nat_key(ip4(host), ip4(remote), to_be16(static_cast<std::uint16_t>(5000 + i)),
                                       to_be16(static_cast<std::uint16_t>(443 + i % remotes)), protocol, pool);
            ASSERT_NE(world.table.open(0, key, world.snapshot.pools[pool], world.context->now_seconds).session,
                      nullptr);
        }
    }
    NatSurveyResult all() {
        survey.ask(world.table, now);
        while (survey.under_way()) {
            survey.tick(world.table, now);
        }
        return survey.result();
    }

    NatWorld world;
    NatSurvey survey;
    Time now{std::chrono::hours{1}};
};

TEST(NatSurvey, FindsWhoHasMostAndTowardsWhom) {
    Surveyed s;
    s.open("10.0.0.1", 300, "13.107.6.1", kUdp, 0, 3);
    s.open("10.0.0.2", 500, "13.107.6.2");
    s.open("10.0.0.3", 7, "52.239.1.1", kTcp, 1);
    for (int i = 0; i < 40; ++i) {
        s.open("10.0.1." + std::to_string(i), 2, "13.107.6.3", kTcp);
    }
    const NatSurveyResult result = s.all();
    EXPECT_TRUE(result.complete);
    EXPECT_EQ(result.sessions, 887u);
    EXPECT_EQ(result.uncounted, 0u);
    ASSERT_EQ(result.talkers.size(), NatSurvey::kTop);
    EXPECT_EQ(result.talkers[0].host, ip4("10.0.0.2"));
    EXPECT_EQ(result.talkers[0].sessions, 500u);
    EXPECT_EQ(result.talkers[1].host, ip4("10.0.0.1"));
    EXPECT_EQ(result.talkers[1].sessions, 300u);
    EXPECT_EQ(result.talkers[2].pool, 1);
    EXPECT_EQ(result.talkers[3].sessions, 2u);
    ASSERT_EQ(result.remotes.size(), 6u);
    EXPECT_EQ(result.remotes[0].address, ip4("13.107.6.2"));
    EXPECT_EQ(result.remotes[0].port.host(), 443);
    EXPECT_EQ(result.remotes[0].sessions, 500u);
    EXPECT_EQ(result.remotes[1].sessions, 100u) << "three ports of one address are three ends";
    EXPECT_EQ(result.remotes[4].protocol, kTcp);
    EXPECT_EQ(result.remotes[4].sessions, 80u);
    EXPECT_EQ(result.remotes[5].pool, 1);
}

TEST(NatSurvey, CountsSessionsOfEachAddressAndProtocol) {
    Surveyed s;
    s.open("10.0.0.1", 200, "13.107.6.1", kUdp);
    s.open("10.0.0.1", 200, "13.107.6.2", kUdp);  // the same ports, preserved
    s.open("10.0.0.1", 50, "13.107.6.1", kTcp);
    s.open("10.0.0.9", 3, "52.239.1.1", kUdp, 1);
    const NatSurveyResult result = s.all();
    ASSERT_EQ(result.addresses.size(), 3u);
    EXPECT_EQ(result.addresses[0].protocol, kTcp);
    EXPECT_EQ(result.addresses[0].sessions, 50u);
    EXPECT_EQ(result.addresses[1].sessions, 400u);
    EXPECT_EQ(result.addresses[2].pool, 1);
    EXPECT_EQ(result.addresses[2].address, ip4("192.0.2.200"));
    EXPECT_EQ(result.addresses[2].sessions, 3u);
}

TEST(NatSurvey, ShowsTheSessionsThatWereUsedLast) {
    Surveyed s;
    s.open("10.0.0.1", 1500, "13.107.6.1");
    s.world.context->now_seconds += 10;
    s.open("10.0.0.2", 5, "13.107.6.1");
    const NatSurveyResult result = s.all();
    ASSERT_EQ(result.recent.size(), NatSurvey::kRecent);
    for (std::size_t i = 0; i < 5; ++i) {
        EXPECT_EQ(result.recent[i].inside.address(), ip4("10.0.0.2")) << i;
    }
    EXPECT_EQ(result.recent[5].inside.address(), ip4("10.0.0.1"));
}

TEST(NatSurvey, IsMadeAnewOnlyWhenItIsStale) {
    Surveyed s;
    s.open("10.0.0.1", 1, "13.107.6.1");
    EXPECT_EQ(s.all().sessions, 1u);
    s.open("10.0.0.2", 1, "13.107.6.1");
    EXPECT_EQ(s.all().sessions, 1u);
    s.now += NatSurvey::kFresh;
    EXPECT_EQ(s.all().sessions, 2u);
}

TEST(NatSurvey, GoesOverALargeTableInSteps) {
    Surveyed s{NatSurvey::kAtOnce + 3 * NatSurvey::kEachTick};
    for (std::uint32_t host = 0; s.world.table.usage(0).sessions < NatSurvey::kAtOnce + NatSurvey::kEachTick; ++host) {
        const NatKey key =
            nat_key(to_be32(0x0a000000 + host % 50), to_be32(0x0d6b0000 + host), to_be16(7), to_be16(443), kUdp);
        ASSERT_NE(s.world.table.open(0, key, s.world.snapshot.pools[0], 1).session, nullptr);
    }
    s.survey.ask(s.world.table, s.now);
    ASSERT_TRUE(s.survey.under_way());
    const NatSurveyResult part = s.survey.result();
    EXPECT_FALSE(part.complete);
    EXPECT_EQ(part.sessions, NatSurvey::kAtOnce);
    unsigned ticks = 0;
    for (; s.survey.under_way(); ++ticks) {
        s.survey.tick(s.world.table, s.now);
    }
    EXPECT_LE(ticks, 2u);
    EXPECT_TRUE(s.survey.result().complete);
    EXPECT_EQ(s.survey.result().sessions, NatSurvey::kAtOnce + NatSurvey::kEachTick);
    EXPECT_GT(s.survey.result().uncounted, 0u) << "more remotes than are told apart";
    s.now += NatSurvey::kFresh;
    s.survey.ask(s.world.table, s.now);
    EXPECT_TRUE(s.survey.under_way());
    EXPECT_TRUE(s.survey.result().complete) << "the last whole one, until the next is";
}

TEST(NatStatus, TellsHighAndLowWaterOfAPool) {
    Surveyed s;
    std::vector<PoolConfig> pools(2);
    pools[0].sessions = 100;
    std::vector<NatEvent> told;
    NatStatus status{pools, s.world.table, [&](const NatEvent& event) { told.push_back(event); }};
    const auto second = [&] {
        s.now += NatWatch::kInterval;
        status.tick(s.now);
    };
    s.open("10.0.0.1", 79, "13.107.6.1");
    second();
    EXPECT_TRUE(told.empty());
    s.open("10.0.0.2", 1, "13.107.6.1");
    status.tick(s.now);  // not yet: once a second
    EXPECT_TRUE(told.empty());
    second();
    ASSERT_EQ(told.size(), 1u);
    EXPECT_EQ(told[0].kind, NatEventKind::high_water);
    EXPECT_EQ(told[0].inside.pool(), 0);
    EXPECT_EQ(told[0].value, 80u);
    EXPECT_GT(told[0].time, 1'600'000'000'000u);
    EXPECT_TRUE(status.watch(0).water().is_high);
    EXPECT_FALSE(status.watch(1).water().is_high);
    s.world.context->now_seconds += 1000;
    s.world.age();
    second();
    ASSERT_EQ(told.size(), 2u);
    EXPECT_EQ(told[1].kind, NatEventKind::low_water);
    EXPECT_EQ(told[1].value, 60u);
}

TEST(NatStatus, LogsOnceAMinuteThatThereWasNoRoom) {
    std::ostringstream text;
    const auto before = spdlog::default_logger();
    spdlog::set_default_logger(
        std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_st>(text)));
    Surveyed s;
    NatPool pool = test::nat_pool({"198.51.100.1"}, 2048, 2063);
    pool.block_ports = 16;
    pool.host_blocks = 1;
    const auto open = [&](std::uint32_t host) {
        const NatKey key =
            nat_key(to_be32(0x0a000000 + host), to_be32(0x0d6b0601), to_be16(5000), to_be16(443), +IpProtocol::udp);
        return s.world.table.open(0, key, pool, s.world.context->now_seconds).reason;
    };
    NatStatus status{std::vector<PoolConfig>(1), s.world.table, [](const NatEvent&) {}};
    const auto pass = [&](std::chrono::seconds time) {
        s.now += time;
        status.tick(s.now);
    };
    open(1);
    EXPECT_EQ(open(2), Drop::nat_blocks_exhausted);
    pass(NatWatch::kInterval);
    EXPECT_NE(text.str().find("1 packets found no room for a session (0 without a port, 1 without a block"),
              std::string::npos)
        << text.str();
    const std::size_t once = text.str().size();
    open(3);
    pass(NatWatch::kInterval);
    EXPECT_EQ(text.str().size(), once);
    pass(NatStatus::kBetweenLines);
    EXPECT_NE(text.str().find("(0 without a port, 2 without a block"), std::string::npos);
    spdlog::set_default_logger(before);
}

}  // namespace
}  // namespace twinspan
