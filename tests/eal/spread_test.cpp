// One SA, received by one worker and decrypted by all: what comes out is in the order in which it came in.
#include "tests/eal/worker_team.hpp"

#include "tests/eal/eal_environment.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <thread>

namespace twinspan::test {
namespace {

class SpreadTest : public testing::TestWithParam<std::uint16_t> {
protected:
    SpreadTest() : team{GetParam()} {
        team.world.config.tunnels[0].spread = true;
        team.world.config.has_spread = true;
        team.publish();
    }
    // What the peer of tunnel 0 sends to the LAN host: packets numbered from `first`, some of them bad.
    void peer_sends(std::uint32_t first, std::uint32_t n, std::size_t to_worker = 0) {
        for (std::uint32_t i = first; i < first + n; ++i) {
            Bytes frame = sealed(i);
            if (i % 50 == 7) {
                frame.back() ^= 1;  // not authentic
                ++forged;
            }
            team.receives(to_worker, frame, SmallWorld::kPriPort);
            if (i % 50 == 20) {
                team.receives(to_worker, frame, SmallWorld::kPriPort);
                ++replayed;
            }
        }
    }
    Bytes sealed(std::uint32_t number) {
        Bytes payload(60);
        std::memcpy(payload.data(), &number, sizeof number);
        const Bytes inner =
            udp_packet({.src = "10.20.0.7", .dst = "10.10.0.10", .src_port = 7, .dst_port = 7, .payload = payload});
        const EspLayout layout = team.world.peer0->layout();
        Bytes esp(payload_offset(layout) + inner.size() + kEspMaxRoom);
        std::ranges::copy(inner, esp.begin() + static_cast<std::ptrdiff_t>(payload_offset(layout)));
        const SequenceBurst numbers = team.world.peer0->reserve_burst(1);
        esp.resize(team.world.peer0->seal_in_place(team.world.engine, numbers.first, esp.data(), inner.size(),
                                                   kNextHeaderIpv4));
        const VlanTag tag{kEtherTypeVlan, to_be16(300)};
        return ethernet_frame(SmallWorld::kOurPriMac, SmallWorld::kMsee1Mac, {&tag, 1},
                              ip_packet({.src = "20.51.0.4", .dst = "203.0.113.1"}, +IpProtocol::esp, esp));
    }
    std::uint64_t helped() { return team.total(&WorkerCounters::helped); }
    // All that was sent so far; lets go of the packets.
    void expect_all_in_order(std::uint32_t sent) {
        std::vector<rte_mbuf*>& out = team.members[0].sent;
        for (const rte_mbuf* m : out) {
            std::uint32_t number = 0;
            std::memcpy(&number,
                        rte_pktmbuf_mtod_offset(m, const std::uint8_t*,
                                                sizeof(EthernetHeader) + sizeof(Ipv4Header) + sizeof(UdpHeader)),
                        sizeof number);
            next += next % 50 == 7;
            ASSERT_EQ(number, next);
            ++next;
        }
        passed += out.size();
        rte_pktmbuf_free_bulk(out.data(), static_cast<unsigned>(out.size()));
        out.clear();
        EXPECT_EQ(passed, sent - forged);
        EXPECT_EQ(team.drops(Drop::esp_auth_failed), forged);
        EXPECT_EQ(team.drops(Drop::esp_replayed), replayed);
    }
    std::uint32_t next = 0;
    std::size_t passed = 0;
    std::uint32_t forged = 0;
    std::uint32_t replayed = 0;
    WorkerTeam team;
};
INSTANTIATE_TEST_SUITE_P(Workers, SpreadTest, testing::Values(1, 2, 3, 4));

TEST_P(SpreadTest, OthersOpenAndTheOrderStays) {
    constexpr std::uint32_t kAtOnce = 3800;
    std::uint32_t sent = 0;
    // On a busy machine the receiver may be done before another worker has begun.
    for (unsigned round = 0; round == 0 || (GetParam() > 1 && round < 400 && helped() == 0); ++round) {
        peer_sends(sent, kAtOnce);
        sent += kAtOnce;
        team.run([&] {
            ++team.world.config.generation;
            team.publish();
        });
        expect_all_in_order(sent);
    }
    for (std::size_t w = 1; w < team.members.size(); ++w) {
        EXPECT_TRUE(team.members[w].sent.empty()) << "the receiver sends";
    }
    EXPECT_EQ(team.members[0].counters->helped.read(), 0u) << "one does not help oneself";
    if (GetParam() > 1) {
        EXPECT_GT(helped(), 0u) << "the others have nothing else to do";
    }
}

TEST_P(SpreadTest, AReceiverWithoutHelpDoesItAlone) {
    peer_sends(0, 2000);
    Member& receiver = team.members[0];
    receiver.worker->join();
    while (receiver.worker->loop()) {
    }
    while (!receiver.wire.empty() || receiver.worker->loop()) {
        receiver.worker->loop();
    }
    receiver.worker->leave();
    EXPECT_TRUE(receiver.exact());
    expect_all_in_order(2000);
}

// What is on loan when a worker is told to stop is not lost.
TEST_P(SpreadTest, LeavingTakesBackWhatIsOnLoan) {
    peer_sends(0, 300);
    Member& receiver = team.members[0];
    receiver.worker->join();
    while (!receiver.wire.empty()) {
        receiver.worker->loop();
    }
    receiver.worker->leave();
    EXPECT_TRUE(receiver.exact());
    expect_all_in_order(300);
}

// Control frees a snapshot, and the SAs in it, after a quiescent point of every worker: there is none with a burst on
// loan, and there is one as soon as it is back.
TEST_P(SpreadTest, ASnapshotOutlivesTheBurstsThatWereReceivedUnderIt) {
    peer_sends(0, 30);
    Worker<Graph>& receiver = *team.members[0].worker;
    receiver.join();
    LentBurst* lent = nullptr;
    while (lent == nullptr) {
        ASSERT_TRUE(receiver.loop() || !team.members[0].wire.empty());
        lent = team.next_offer();
    }
    ASSERT_TRUE(lent->take());
    team.publish();
    std::thread slow_helper{[&] {
        std::this_thread::sleep_for(std::chrono::milliseconds{30});
        EXPECT_EQ(team.retired(), 1u) << "the receiver has let go of what the burst needs";
        lent->open(team.world.ctx);
    }};
    receiver.loop();  // sees that it is awaited, and waits for the helper
    slow_helper.join();
    EXPECT_EQ(team.retired(), 0u);
    while (!team.members[0].wire.empty() || receiver.loop()) {
        receiver.loop();
    }
    receiver.leave();
    expect_all_in_order(30);
}

TEST_P(SpreadTest, AllReceiveAndAllHelp) {
    const auto workers = static_cast<std::uint32_t>(team.members.size());
    for (std::uint32_t i = 0; i < 3600; ++i) {
        team.receives(i / 64 % workers, sealed(i), SmallWorld::kPriPort);
    }
    std::array<std::uint8_t, 36> keymat;
    keymat.fill(0x21);  // small_world's inbound SA of tunnel 0, with a window that the whole test fits in
    const auto wide = InboundSa::create(team.world.engine, {.spi = 0x2001, .keymat = SecretBytes::copy_of(keymat)},
                                        ReplayWindow::kMaxBits)
                          .value();
    team.world.config.inbound_sas = InboundSaTable({{.spi = 0x2001, .tunnel = 0, .sa = wide.get()}});
    team.publish();
    team.run();
    EXPECT_EQ(team.total(&WorkerCounters::tx), 3600u);
}

}  // namespace
}  // namespace twinspan::test
