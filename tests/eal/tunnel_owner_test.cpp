// A tunnel with an owner: whatever worker receives, one alone encrypts, and the peer's narrowest window takes it all.
#include "tests/eal/worker_team.hpp"

#include "tests/eal/eal_environment.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <map>

namespace twinspan::test {
namespace {

constexpr const char* kThroughTunnel0 = "10.20.0.7";
constexpr const char* kThroughEither = "10.21.0.7";

// The far end of tunnel 0 with the narrowest window, taking frames in the order in which they were sent.
class NarrowPeer {
public:
    NarrowPeer() {
        std::array<std::uint8_t, 36> keymat;
        keymat.fill(0x11);  // small_world's outbound SA of tunnel 0
        sa_ = InboundSa::create(engine_, {.spi = 0x1001, .keymat = SecretBytes::copy_of(keymat)}, 32).value();
    }
    // The flow and the number of the packet inside; fails the test when the window or the check value refuses it.
    void take(rte_mbuf& m) {
        constexpr std::size_t kEsp = sizeof(EthernetHeader) + 4 + sizeof(Ipv4Header);
        auto* esp = rte_pktmbuf_mtod_offset(&m, std::uint8_t*, kEsp);
        const std::uint64_t sequence = sa_->sequence_of(esp);
        ASSERT_EQ(sa_->replay().check(sequence), ReplayVerdict::fresh);
        ASSERT_EQ(sa_->open_in_place(engine_, sequence, esp, m.data_len - kEsp).status, OpenStatus::ok);
        ASSERT_TRUE(sa_->replay().accept(sequence));
        std::array<std::uint32_t, 2> said;
        std::memcpy(said.data(), esp + payload_offset(sa_->layout()) + sizeof(Ipv4Header) + sizeof(UdpHeader),
                    sizeof said);
        auto& next = next_of_flow_[said[0]];
        EXPECT_EQ(said[1], next) << "flow " << said[0] << " is out of order";
        next = said[1] + 1;
        ++taken;
    }
    unsigned taken = 0;

private:
    Engine engine_ = std::move(*Engine::create());
    std::unique_ptr<InboundSa> sa_;
    std::map<std::uint32_t, std::uint32_t> next_of_flow_;
};

bool is_of_tunnel_0(const rte_mbuf& m) {
    return esp_spi(rte_pktmbuf_mtod_offset(&m, const std::uint8_t*, sizeof(EthernetHeader) + 4 + sizeof(Ipv4Header))) ==
           0x1001;
}

struct TunnelOwner : testing::TestWithParam<std::uint16_t> {};
INSTANTIATE_TEST_SUITE_P(Workers, TunnelOwner, testing::Values(2, 3, 4));

TEST_P(TunnelOwner, AloneEncryptsWhatAllReceiveWhileSnapshotsChange) {
    constexpr std::uint32_t kPackets = 3600;
    const std::uint16_t workers = GetParam();
    const std::uint16_t owner = 1;
    WorkerTeam team{workers};
    team.world.config.tunnels[0].owner = owner;
    team.world.config.has_owners = true;
    team.publish();
    for (std::uint32_t n = 0; n < kPackets / workers; ++n) {
        for (std::uint16_t w = 0; w < workers; ++w) {
            team.receives_from_lan(w, kThroughTunnel0, w, n);
        }
    }
    team.run([&] {
        ++team.world.config.generation;
        team.publish();
    });
    NarrowPeer peer;
    for (std::uint16_t w = 0; w < workers; ++w) {
        if (w != owner) {
            EXPECT_TRUE(team.members[w].sent.empty()) << "worker " << w;
        }
        for (rte_mbuf* m : team.members[w].sent) {
            ASSERT_NO_FATAL_FAILURE(peer.take(*m));
        }
    }
    EXPECT_EQ(peer.taken, kPackets / workers * workers);
    EXPECT_EQ(team.total(&WorkerCounters::handed), kPackets / workers * (workers - 1u));
    EXPECT_EQ(team.total(&WorkerCounters::taken), team.total(&WorkerCounters::handed));
    EXPECT_EQ(team.drops(Drop::owner_behind), 0u);
}

TEST(TunnelOwnerTest, OtherTunnelsAreEncryptedWhereTheyAreReceived) {
    WorkerTeam team{2};
    team.world.config.tunnels[0].owner = 0;
    team.world.config.has_owners = true;
    team.publish();
    for (std::uint32_t flow = 0; flow < 500; ++flow) {
        team.receives_from_lan(1, kThroughEither, flow, 0);
    }
    team.run();
    EXPECT_GT(team.members[0].sent.size(), 100u);
    EXPECT_GT(team.members[1].sent.size(), 100u);
    EXPECT_EQ(team.members[0].sent.size() + team.members[1].sent.size(), 500u);
    for (const rte_mbuf* m : team.members[0].sent) {
        EXPECT_TRUE(is_of_tunnel_0(*m));
    }
    for (const rte_mbuf* m : team.members[1].sent) {
        EXPECT_FALSE(is_of_tunnel_0(*m));
    }
}

TEST(TunnelOwnerTest, OneBurstForTwoOwners) {
    WorkerTeam team{3};
    team.world.config.tunnels[0].owner = 0;
    team.world.config.tunnels[1].owner = 2;
    team.world.config.has_owners = true;
    team.publish();
    for (std::uint32_t flow = 0; flow < 500; ++flow) {
        team.receives_from_lan(1, kThroughEither, flow, 0);
    }
    team.run();
    EXPECT_TRUE(team.members[1].sent.empty());
    EXPECT_EQ(team.members[0].sent.size() + team.members[2].sent.size(), 500u);
    NarrowPeer peer;
    for (rte_mbuf* m : team.members[0].sent) {
        ASSERT_TRUE(is_of_tunnel_0(*m));
        ASSERT_NO_FATAL_FAILURE(peer.take(*m));
    }
    for (const rte_mbuf* m : team.members[2].sent) {
        EXPECT_FALSE(is_of_tunnel_0(*m));
    }
}

TEST(TunnelOwnerTest, WithoutAnOwnerNothingChangesHands) {
    WorkerTeam team{2};
    team.publish();
    for (std::uint32_t n = 0; n < 500; ++n) {
        team.receives_from_lan(n % 2, kThroughTunnel0, n % 2, n / 2);
    }
    team.run();
    EXPECT_EQ(team.members[0].sent.size(), 250u);
    EXPECT_EQ(team.members[1].sent.size(), 250u);
    EXPECT_EQ(team.total(&WorkerCounters::handed), 0u);
}

TEST(TunnelOwnerTest, WhatTheOwnerHasNoRoomForIsDroppedByName) {
    WorkerTeam team{2, 128};
    team.world.config.tunnels[0].owner = 0;
    team.world.config.has_owners = true;
    team.publish();
    for (std::uint32_t n = 0; n < 300; ++n) {
        team.receives_from_lan(1, kThroughTunnel0, 0, n);
    }
    Member& giver = team.members[1];
    giver.worker->join();
    while (!giver.wire.empty()) {
        giver.worker->loop();
    }
    giver.worker->leave();
    EXPECT_EQ(giver.counters->handed.read(), 128u);
    EXPECT_EQ((*giver.counters)[Drop::owner_behind].read(), 300u - 128);
    EXPECT_TRUE(giver.exact());
    team.run_in_turns();
    EXPECT_EQ(team.members[0].sent.size(), 128u);
    NarrowPeer peer;
    for (rte_mbuf* m : team.members[0].sent) {
        ASSERT_NO_FATAL_FAILURE(peer.take(*m));
    }
}

// The owner's snapshot decides: the giver's may be older.
TEST(TunnelOwnerTest, WhatIsOnTheWayMeetsTheOwnersSnapshot) {
    WorkerTeam team{2};
    team.world.config.tunnels[0].owner = 0;
    team.world.config.has_owners = true;
    team.publish();
    const auto give = [&team] {
        for (std::uint32_t n = 0; n < 10; ++n) {
            team.receives_from_lan(1, kThroughTunnel0, 0, n);
        }
        Member& giver = team.members[1];
        giver.worker->join();
        while (!giver.wire.empty()) {
            giver.worker->loop();
        }
        giver.worker->leave();
    };
    give();
    team.world.config.tunnels[0].up = false;
    team.publish();
    team.run_in_turns();
    EXPECT_EQ(team.drops(Drop::tunnel_down), 10u);
    team.world.config.tunnels[0].up = true;
    team.publish();
    give();
    team.world.config.tunnels.clear();
    team.world.config.has_owners = false;
    team.publish();
    team.run_in_turns();
    EXPECT_EQ(team.drops(Drop::tunnel_down), 20u);
    EXPECT_EQ(team.total(&WorkerCounters::tx), 0u);
}

// RFC 4303 section 3.3.3, with several workers at the last numbers of one SA.
TEST(SequenceEnd, WorkersSealEveryNumberThatIsLeftAndNoMore) {
    constexpr std::uint32_t kPackets = 3000;
    constexpr std::uint64_t kLeft = 1001;
    for (const SequenceWidth width : {SequenceWidth::bits32, SequenceWidth::bits64}) {
        WorkerTeam team{3};
        std::array<std::uint8_t, 36> keymat;
        keymat.fill(0x11);
        const SaConfig config{.spi = 0x1001, .keymat = SecretBytes::copy_of(keymat), .width = width};
        const auto sa = OutboundSa::create(team.world.engine, config, end_of(width) - kLeft).value();
        sa->raise_limit(~std::uint64_t{0});
        team.world.config.tunnels[0].out = sa.get();
        team.publish();
        for (std::uint32_t n = 0; n < kPackets; ++n) {
            team.receives_from_lan(n % 3, kThroughTunnel0, n % 3, n / 3);
        }
        team.run();
        EXPECT_EQ(team.total(&WorkerCounters::tx), kLeft);
        EXPECT_EQ(team.drops(Drop::esp_sequence_exhausted), kPackets - kLeft);
        std::vector<std::uint64_t> ivs;
        for (const Member& member : team.members) {
            for (const rte_mbuf* m : member.sent) {
                std::uint64_t iv_be;
                std::memcpy(&iv_be,
                            rte_pktmbuf_mtod_offset(m, const std::uint8_t*,
                                                    sizeof(EthernetHeader) + 4 + sizeof(Ipv4Header) + kEspHeaderLen),
                            sizeof iv_be);
                ivs.push_back(__builtin_bswap64(iv_be));
            }
        }
        std::ranges::sort(ivs);
        ASSERT_EQ(ivs.size(), kLeft);
        for (std::uint64_t i = 0; i < kLeft; ++i) {
            ASSERT_EQ(ivs[i], end_of(width) - kLeft + i);
        }
    }
}

}  // namespace
}  // namespace twinspan::test
