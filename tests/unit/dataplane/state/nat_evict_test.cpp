// Who ends for others to have room, and who never does.
#include "dataplane/state/nat_table.hpp"

#include "tests/support/nat_world.hpp"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace twinspan {
namespace {

using test::nat_pool;
using test::NatWorld;

constexpr std::uint8_t kUdp = +IpProtocol::udp;
constexpr std::uint8_t kTcp = +IpProtocol::tcp;
constexpr std::uint8_t kIcmp = +IpProtocol::icmp;
constexpr std::uint8_t kUp = nat_tcp::kAckOut | nat_tcp::kAckIn;

NatKey flow(std::uint32_t host, std::uint16_t port, std::uint8_t protocol) {
    return nat_key(to_be32(0x0a000000 + host), to_be32(0x0d6b0601), to_be16(port), to_be16(443), protocol);
}

struct Setting {
    const char* name;
    NatMapping mapping;
    std::uint16_t block_ports;
};
constexpr Setting kSettings[] = {{"dependent", NatMapping::endpoint_dependent, 0},
                                 {"independent", NatMapping::endpoint_independent, 0}};

struct Crowd {
    explicit Crowd(std::uint32_t sessions, const Setting& setting, std::uint16_t ports = 60000)
        : world({nat_pool({"198.51.100.1"}, 2000, static_cast<std::uint16_t>(1999 + ports))}, sessions) {
        world.snapshot.pools[0].mapping = setting.mapping;
        world.snapshot.pools[0].block_ports = setting.block_ports;
    }
    NatTable::Opened open(const NatKey& key) {
        return world.table.open(0, key, world.snapshot.pools[0], world.context->now_seconds);
    }
    std::uint32_t& now() { return world.context->now_seconds; }
    NatWorld world;
};

TEST(NatEviction, TakesWhatIsTransitoryOnly) {
    struct Row {
        std::uint8_t protocol, state;
        bool evictable;
    };
    for (const Row& row :
         {Row{kTcp, 0, true}, Row{kTcp, nat_tcp::kAckIn, true}, Row{kTcp, kUp, false},
          Row{kTcp, kUp | nat_tcp::kFinOut, false}, Row{kTcp, kUp | nat_tcp::kFinOut | nat_tcp::kFinIn, true},
          Row{kTcp, kUp | nat_tcp::kResetIn, true}, Row{kUdp, nat_tcp::kAckOut, true}, Row{kUdp, kUp, false},
          Row{kIcmp, 0, true}}) {
        for (const Setting& setting : kSettings) {
            Crowd crowd{1024, setting, 1};
            NatSession* first = crowd.open(flow(1, 5000, row.protocol)).session;
            ASSERT_NE(first, nullptr);
            first->tcp = row.state;
            crowd.now() += 1;
            EXPECT_EQ(crowd.open(flow(2, 6000, row.protocol)).reason, Drop::nat_ports_exhausted) << "let it begin";
            crowd.now() += 4;
            const NatTable::Opened second = crowd.open(flow(2, 6000, row.protocol));
            EXPECT_EQ(second.session != nullptr, row.evictable)
                << setting.name << ' ' << int{row.protocol} << ' ' << int{row.state};
            EXPECT_EQ(crowd.world.table.find_inside(flow(1, 5000, row.protocol)) == nullptr, row.evictable);
            EXPECT_EQ(crowd.world.table.usage(0).evicted, row.evictable ? 1u : 0u);
        }
    }
}

TEST(NatEviction, TakesTheOneThatHasBeenIdleLongest) {
    for (const Setting& setting : kSettings) {
        Crowd crowd{1024, setting, 16};
        for (std::uint32_t host = 0; host < 16; ++host) {
            NatSession* session = crowd.open(flow(host, 5000, kTcp)).session;
            ASSERT_NE(session, nullptr);
            session->tcp = host < 4 ? kUp : std::uint8_t{0};  // the four eldest are established
            crowd.now() += 2;
        }
        crowd.world.table.find_inside(flow(4, 5000, kTcp))->seen(crowd.now());
        for (std::uint32_t next = 5; next < 10; ++next) {
            ASSERT_NE(crowd.open(flow(100 + next, 5000, kTcp)).session, nullptr) << setting.name << ' ' << next;
            EXPECT_EQ(crowd.world.table.find_inside(flow(next, 5000, kTcp)), nullptr) << setting.name << ' ' << next;
            EXPECT_NE(crowd.world.table.find_inside(flow(next + 1, 5000, kTcp)), nullptr);
        }
        for (std::uint32_t host = 0; host < 5; ++host) {
            EXPECT_NE(crowd.world.table.find_inside(flow(host, 5000, kTcp)), nullptr) << host;
        }
    }
}

TEST(NatEviction, HostMakesRoomInItsOwnBlock) {
    Crowd crowd{1024, {"blocks", NatMapping::endpoint_dependent, 8}, 64};
    for (std::uint16_t port = 0; port < 8; ++port) {
        ASSERT_NE(crowd.open(flow(1, port, kTcp)).session, nullptr);
        ASSERT_NE(crowd.open(flow(2, port, kTcp)).session, nullptr);
    }
    crowd.now() += 4;
    EXPECT_NE(crowd.open(flow(1, 99, kTcp)).session, nullptr);
    EXPECT_EQ(crowd.world.table.usage(0).sessions, 16u);
    for (std::uint16_t port = 0; port < 8; ++port) {
        EXPECT_NE(crowd.world.table.find_inside(flow(2, port, kTcp)), nullptr) << "another host's stay";
    }
}

TEST(NatEviction, FullTableOfTheEstablishedRefuses) {
    Crowd crowd{256, kSettings[0]};
    for (std::uint32_t host = 0; host < 256; ++host) {
        crowd.open(flow(host, 5000, kTcp)).session->tcp = kUp;
    }
    crowd.now() += 100;
    for (std::uint32_t i = 0; i < 50; ++i) {
        EXPECT_EQ(crowd.open(flow(1000 + i, 5000, kTcp)).reason, Drop::nat_sessions_exhausted);
        crowd.world.age();
    }
    EXPECT_EQ(crowd.world.table.usage(0).sessions, 256u);
}

// A scan: nobody answers, and it never stops. What is established stays, and what is new finds room.
TEST(NatEviction, KeepsAFullTableOpenForOthers) {
    constexpr std::uint32_t kCapacity = 4096;
    Crowd crowd{kCapacity, kSettings[0]};
    for (std::uint32_t host = 0; host < 1000; ++host) {
        crowd.open(flow(host, 5000, kTcp)).session->tcp = kUp;
    }
    unsigned refused = 0;
    for (std::uint32_t i = 0; i < 20'000; ++i) {
        const NatTable::Opened opened = crowd.open(flow(10'000 + i, 5000, kTcp));
        refused += opened.session == nullptr ? 1 : 0;
        if (i % 16 == 0) {  // a burst: the worker has been quiescent
            crowd.world.readers.quiescent(0);
            crowd.world.table.age(0, crowd.now(), crowd.world.snapshot.pools, 256);
        }
        crowd.now() += i % 256 == 0 ? 1 : 0;
    }
    EXPECT_EQ(refused, 0u);
    EXPECT_GT(crowd.world.table.usage(0).evicted, 10'000u);
    for (std::uint32_t host = 0; host < 1000; ++host) {
        ASSERT_NE(crowd.world.table.find_inside(flow(host, 5000, kTcp)), nullptr) << host;
    }
}

}  // namespace
}  // namespace twinspan
