#include "dataplane/state/nat_table.hpp"

#include "tests/support/nat_world.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <tuple>

namespace twinspan {
namespace {

using test::ip4;
using test::nat_pool;
using test::NatWorld;

constexpr std::uint8_t kUdp = +IpProtocol::udp;

NatKey inside(std::uint32_t host, std::uint16_t port, std::uint32_t remote = 0x0d6b0601,
              std::uint16_t remote_port = 443, std::uint8_t protocol = kUdp, std::uint16_t pool = 0) {
    return nat_key(to_be32(0x0a000000 + host), to_be32(remote), to_be16(port), to_be16(remote_port), protocol, pool);
}

class Table {
public:
    explicit Table(NatPool pool, std::uint32_t sessions = 1024) : world({std::move(pool)}, sessions) {}
    NatTable::Opened open(const NatKey& key) {
        const NatTable::Opened opened = world.table.open(0, key, world.snapshot.pools[key.pool()], now());
        if (opened.session != nullptr) {  // none that would make room for others
            opened.session->tcp = nat_tcp::kAckOut | nat_tcp::kAckIn;
        }
        return opened;
    }
    std::uint32_t& now() { return world.context->now_seconds; }
    NatTable* operator->() { return &world.table; }
    NatWorld world;
};

TEST(NatTable, OpenedSessionIsFoundFromBothSides) {
    Table table{nat_pool({"198.51.100.1"})};
    const NatKey key = inside(1, 5000);
    EXPECT_EQ(table->find_inside(key), nullptr);
    NatSession* session = table.open(key).session;
    ASSERT_NE(session, nullptr);
    EXPECT_EQ(table->find_inside(key), session);
    EXPECT_EQ(table->find_outside(session->outside()), session);
    EXPECT_EQ(table.open(key).session, session);
    EXPECT_EQ(session->outside(), nat_key(ip4("198.51.100.1"), key.remote(), to_be16(5000), to_be16(443), kUdp))
        << "port not preserved";
    NatKey other = session->outside();
    other.rest += std::uint64_t{1} << 16;
    EXPECT_EQ(table->find_outside(other), nullptr) << "another remote port must not match";
}

TEST(NatTable, PortIsOverloadedAcrossRemotesAndUniqueTowardsOne) {
    Table table{nat_pool({"198.51.100.1"})};
    const NatSession* a = table.open(inside(1, 5000)).session;
    const NatSession* b = table.open(inside(2, 5000, 0x0d6b0602)).session;
    const NatSession* c = table.open(inside(3, 5000)).session;
    EXPECT_EQ(a->outside().port(), b->outside().port());
    EXPECT_NE(a->outside().port(), c->outside().port());
}

TEST(NatTable, ReservedPortIsNeverUsed) {
    Table table{nat_pool({"198.51.100.1"}, 2000, 2003)};
    for (std::uint16_t i = 0; i < 4; ++i) {
        const NatSession* session = table.open(inside(i, 80)).session;
        ASSERT_NE(session, nullptr);
        EXPECT_GE(session->outside().port().host(), 2000);
        EXPECT_LE(session->outside().port().host(), 2003);
    }
}

TEST(NatTable, PortsRunOutExactlyAndComeBackAfterGrace) {
    Table table{nat_pool({"198.51.100.1", "198.51.100.7"}, 2000, 2063)};
    for (std::uint16_t i = 0; i < 128; ++i) {
        ASSERT_NE(table.open(inside(i, i)).session, nullptr) << i;
    }
    const NatTable::Opened refused = table.open(inside(500, 1));
    EXPECT_EQ(refused.session, nullptr);
    EXPECT_EQ(refused.reason, Drop::nat_ports_exhausted);
    EXPECT_NE(table.open(inside(500, 1, 0x0d6b0602)).session, nullptr) << "another remote has its own port space";
    EXPECT_EQ(table->usage(0).ports_exhausted, 1u);
    EXPECT_EQ(table->sessions_on(0, ip4("198.51.100.7")) + table->sessions_on(0, ip4("198.51.100.1")), 129u);

    table.now() += 301;
    table.world.age();
    EXPECT_EQ(table->usage(0).sessions, 0u);
    EXPECT_EQ(table->usage(0).expired, 129u);
    EXPECT_NE(table.open(inside(500, 1)).session, nullptr);
}

TEST(NatTable, FullTableRefusesAndFreesEveryRecord) {
    constexpr std::uint32_t kCapacity = 1000;
    Table table{nat_pool({"198.51.100.1"}), kCapacity};
    for (int round = 0; round < 5; ++round) {
        for (std::uint32_t i = 0; i < kCapacity; ++i) {
            ASSERT_NE(table.open(inside(i, 5000)).session, nullptr) << round << ' ' << i;
        }
        EXPECT_EQ(table.open(inside(kCapacity, 5000)).reason, Drop::nat_sessions_exhausted);
        EXPECT_EQ(table->usage(0).sessions, kCapacity);
        table.now() += 301;
        table.world.age();
    }
    EXPECT_EQ(table->usage(0).sessions_exhausted, 5u);
}

TEST(NatTable, RecordIsNotReusedWhileAWorkerMayReadIt) {
    Table table{nat_pool({"198.51.100.1"}), 1};
    ASSERT_NE(table.open(inside(1, 1)).session, nullptr);
    table.now() += 301;
    for (int i = 0; i < 5; ++i) {
        table->age(0, table.now(), table.world.snapshot.pools, 1000);
    }
    EXPECT_EQ(table->find_inside(inside(1, 1)), nullptr);
    EXPECT_EQ(table.open(inside(2, 1)).session, nullptr) << "the worker has not been quiescent";
    table.world.readers.quiescent(0);
    table->age(0, table.now(), table.world.snapshot.pools, 1000);
    EXPECT_NE(table.open(inside(2, 1)).session, nullptr);
}

TEST(NatTable, AllAddressesAreUsedFromTheStartAndHostsKeepTheirs) {
    std::vector<NatPool> pools{nat_pool({"198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4"})};
    pools[0].addresses = {{ip4("198.51.100.1"), ip4("198.51.100.3")}, {ip4("203.0.113.9"), ip4("203.0.113.9")}};
    Table table{pools[0]};
    std::map<std::uint32_t, unsigned> users;
    for (std::uint32_t host = 0; host < 80; ++host) {
        std::set<std::uint32_t> addresses;
        for (std::uint16_t port = 5000; port < 5008; ++port) {
            addresses.insert(table.open(inside(host, port)).session->outside().address().host());
        }
        ASSERT_EQ(addresses.size(), 1u) << "RFC 4787 REQ-2";
        ++users[*addresses.begin()];
    }
    ASSERT_EQ(users.size(), 4u);
    EXPECT_TRUE(users.contains(ip4("203.0.113.9").host()));
    EXPECT_TRUE(std::ranges::all_of(users, [](const auto& u) { return u.second >= 8; }));
}

TEST(NatTable, TimeoutsFollowProtocolAndTcpState) {
    struct Row {
        std::uint8_t protocol, tcp;
        std::uint32_t timeout;
    };
    constexpr std::uint8_t kUp = nat_tcp::kAckOut | nat_tcp::kAckIn;
    for (const Row& row :
         {Row{kUdp, 0, 300}, Row{+IpProtocol::icmp, 0, 60}, Row{+IpProtocol::tcp, 0, 240},
          Row{+IpProtocol::tcp, nat_tcp::kAckIn, 240}, Row{+IpProtocol::tcp, kUp, 7440},
          Row{+IpProtocol::tcp, kUp | nat_tcp::kFinIn, 7440}, Row{+IpProtocol::tcp, kUp | nat_tcp::kResetIn, 240},
          Row{+IpProtocol::tcp, kUp | nat_tcp::kFinIn | nat_tcp::kFinOut, 240}}) {
        Table table{nat_pool({"198.51.100.1"})};
        NatSession* session = table.open(inside(1, 1, 1, 1, row.protocol)).session;
        session->tcp = row.tcp;
        table.now() += row.timeout;
        table.world.age();
        EXPECT_NE(table->find_inside(session->inside()), nullptr) << int{row.protocol} << ' ' << int{row.tcp};
        table.now() += 1;
        table.world.age();
        EXPECT_EQ(table->usage(0).sessions, 0u) << int{row.protocol} << ' ' << int{row.tcp};
    }
}

TEST(NatTable, SessionOfAPoolThatIsGoneEnds) {
    Table table{nat_pool({"198.51.100.1"})};
    ASSERT_NE(table.open(inside(1, 1)).session, nullptr);
    table->age(0, table.now(), {}, 1000);
    EXPECT_EQ(table->find_inside(inside(1, 1)), nullptr);
}

TEST(NatTable, KeepsWithinItsMemory) {
    for (const std::uint32_t sessions : {1u << 18, 1'000'000u}) {
        Table table{nat_pool({"198.51.100.1"}), sessions};
        EXPECT_LE(table->memory_bytes(), std::size_t{sessions} * 128) << sessions;
    }
}

// Far more than fits the home buckets, in and out, many times: overflow buckets must come back.
TEST(NatTable, IndexAtDesignLoadNeverFillsUp) {
    constexpr std::uint32_t kCapacity = 100'000;
    Table table{nat_pool({"198.51.100.1", "198.51.100.2"}), kCapacity};
    for (std::uint32_t round = 0; round < 6; ++round) {
        for (std::uint32_t i = 0; i < kCapacity; ++i) {
            ASSERT_NE(table.open(inside(i, 5000, 0x08000000 + round * 7919 + i / 3)).session, nullptr)
                << round << ' ' << i;
        }
        table.now() += 301;
        table.world.age();
        ASSERT_EQ(table->usage(0).sessions, 0u);
    }
}

TEST(NatTable, ForEachCopiesLiveSessionsUpToTheLimit) {
    Table table{nat_pool({"198.51.100.1"})};
    for (std::uint16_t i = 0; i < 10; ++i) {
        table.open(inside(i, 5000));
    }
    std::set<std::uint32_t> hosts;
    table->for_each(100, [&](const NatSessionView& view) {
        hosts.insert(view.inside.address().host());
        EXPECT_EQ(view.created, 1000u);
        EXPECT_EQ(view.outside.address(), ip4("198.51.100.1"));
    });
    EXPECT_EQ(hosts.size(), 10u);
    std::size_t seen = 0;
    table->for_each(3, [&](const NatSessionView&) { ++seen; });
    EXPECT_EQ(seen, 3u);
}

// Against a model that knows nothing of hashing: opens, replies, use and expiry with tiny port ranges.
TEST(NatTableProperty, AgreesWithANaiveModel) {
    struct Model {
        std::uint32_t last_seen;
        NatKey outside;
    };
    const auto less = [](const NatKey& a, const NatKey& b) {
        return std::tie(a.addresses, a.rest) < std::tie(b.addresses, b.rest);
    };
    Table table{nat_pool({"198.51.100.1", "198.51.100.2", "198.51.100.3"}, 2000, 2004), 60};
    table.world.snapshot.pools[0].timeouts.udp = 20;
    std::map<NatKey, Model, decltype(less)> live(less);
    std::mt19937 random{7};
    const auto pick = [&](unsigned n) { return static_cast<std::uint32_t>(random() % n); };
    std::array<unsigned, 4> happened{};  // opened, ports exhausted, sessions exhausted, expired

    for (int step = 0; step < 60'000; ++step) {
        if (pick(10) == 0) {
            table.now() += pick(6);
            table.world.age();
            happened[3] += static_cast<unsigned>(
                std::erase_if(live, [&](const auto& s) { return table.now() - s.second.last_seen > 20; }));
        }
        const NatKey key = inside(pick(9), static_cast<std::uint16_t>(1999 + pick(5)), 0x08080800 + pick(4), 53);
        const NatTable::Opened opened = table.open(key);
        if (const auto it = live.find(key); it != live.end()) {
            ASSERT_NE(opened.session, nullptr);
            ASSERT_EQ(opened.session->outside(), it->second.outside) << "a session keeps its mapping";
            opened.session->seen(table.now());
            it->second.last_seen = table.now();
            continue;
        }
        const auto to_remote =
            std::ranges::count_if(live, [&](const auto& s) { return s.first.remote() == key.remote(); });
        if (live.size() == 60) {
            ASSERT_EQ(opened.session, nullptr);
            ASSERT_EQ(opened.reason, Drop::nat_sessions_exhausted);
            ++happened[2];
        } else if (to_remote == 3 * 5) {
            ASSERT_EQ(opened.session, nullptr);
            ASSERT_EQ(opened.reason, Drop::nat_ports_exhausted);
            ++happened[1];
        } else {
            ASSERT_NE(opened.session, nullptr) << to_remote << " of 15 ports used";
            const NatKey outside = opened.session->outside();
            ASSERT_TRUE(std::ranges::none_of(live, [&](const auto& s) { return s.second.outside == outside; }))
                << "shared outside tuple";
            ASSERT_EQ(outside.remote(), key.remote());
            ASSERT_EQ(outside.remote_port(), key.remote_port());
            ASSERT_TRUE(outside.port().host() >= 2000 && outside.port().host() <= 2004);
            live.emplace(key, Model{table.now(), outside});
            ++happened[0];
        }
        const auto& [some_key, some] = *std::next(live.begin(), pick(static_cast<unsigned>(live.size())));
        ASSERT_NE(table->find_outside(some.outside), nullptr);
        ASSERT_EQ(table->find_outside(some.outside)->inside(), some_key);
        ASSERT_EQ(table->usage(0).sessions, live.size());
    }
    EXPECT_TRUE(std::ranges::all_of(happened, [](unsigned n) { return n > 100; }))
        << happened[0] << ' ' << happened[1] << ' ' << happened[2] << ' ' << happened[3];
}

}  // namespace
}  // namespace twinspan
