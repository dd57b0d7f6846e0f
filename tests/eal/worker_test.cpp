#include "dataplane/worker.hpp"

#include "dataplane/config/snapshot.hpp"
#include "dataplane/state/nat_table.hpp"
#include "dataplane/state/reassembly.hpp"
#include "tests/eal/eal_environment.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <thread>
#include <utility>

namespace twinspan {
namespace {

using testing_eal::buffers_free;
using testing_eal::packet;

// What a packet's first byte asks for.
enum Wish : std::uint8_t {
    to_port_0,
    to_port_1,
    to_linux,
    to_linux_urgently,
    to_nowhere,
    an_error,
    an_error_about_an_error,
    too_long_for_its_way,
    too_long_and_an_error,  // when it comes to be cut
    too_long_and_aside,     // then; and when it was aside, cut
};

class ToyGraph {
public:
    void from_wire(Context& ctx, Batch& batch) noexcept { sort(ctx, batch); }
    void from_linux(Context& ctx, Batch& batch) noexcept { sort(ctx, batch); }
    void from_self(Context& ctx, Batch& batch) noexcept {
        for (rte_mbuf* m : batch) {
            if (*rte_pktmbuf_mtod(m, std::uint8_t*) == an_error_about_an_error) {
                generate(ctx, m);
            } else {
                ctx.transmit[0].push(m);
            }
        }
        batch.clear();
    }
    void from_worker(Context& ctx, Batch& batch) noexcept { sort(ctx, batch); }
    void from_tunnel(Context& ctx, Batch& batch) noexcept { sort(ctx, batch); }

    void from_aside(Context& ctx, Batch& batch) noexcept { sort(ctx, batch); }

    // Three pieces of each.
    void from_oversize(Context& ctx, Batch& batch) noexcept {
        most_at_once = std::max(most_at_once, batch.size());
        for (rte_mbuf* m : batch) {
            std::uint8_t& wish = *rte_pktmbuf_mtod(m, std::uint8_t*);
            if (wish == too_long_and_an_error) {
                generate(ctx, m);
                continue;
            }
            if (wish == too_long_and_aside) {
                wish = too_long_for_its_way;
                ctx.aside.push(m);
                continue;
            }
            std::array<rte_mbuf*, 2> more;
            if (!ctx.buffers(more.data(), more.size())) {
                ctx.drop(m, Drop::no_mbuf);
                continue;
            }
            ctx.counters->fragmented.add(more.size());
            ctx.fragments.push(m);
            std::ranges::for_each(more, [&ctx](rte_mbuf* piece) { ctx.fragments.push(piece); });
        }
        batch.clear();
    }
    void from_fragments(Context& ctx, Batch& batch) noexcept {
        std::ranges::for_each(batch, [&ctx](rte_mbuf* piece) { ctx.transmit[0].push(piece); });
        batch.clear();
    }
    std::uint16_t most_at_once = 0;

private:
    // As end_with_icmp does: the packet is dropped, and an error made of it.
    static void generate(Context& ctx, rte_mbuf* m) noexcept {
        (*ctx.counters)[Drop::hop_limit_expired].add(1);
        ctx.counters->generated.add(1);
        ctx.generated.push(m);
    }
    static void sort(Context& ctx, Batch& batch) noexcept {
        for (rte_mbuf* m : batch) {
            switch (*rte_pktmbuf_mtod(m, std::uint8_t*)) {
                case to_port_0:
                    ctx.transmit[0].push(m);
                    break;
                case to_port_1:
                    ctx.transmit[1].push(m);
                    break;
                case to_linux:
                case to_linux_urgently:
                    meta(*m).flags =
                        *rte_pktmbuf_mtod(m, std::uint8_t*) == to_linux_urgently ? meta_flag::kUrgent : std::uint8_t{0};
                    ctx.punted.push(m);
                    break;
                case too_long_for_its_way:
                case too_long_and_an_error:
                case too_long_and_aside:
                    ctx.oversize.push(m);
                    break;
                case to_nowhere:
                    ctx.drop(m, Drop::no_route);
                    break;
                default:
                    generate(ctx, m);
                    break;
            }
        }
        batch.clear();
    }
};

class WorkerTest : public testing::Test {
protected:
    WorkerTest() {
        auto punt = make_packet_ring("test-punt", 128);
        auto inject = make_packet_ring("test-inject", 128);
        EXPECT_TRUE(punt && inject);
        punt_ = std::move(*punt);
        inject_ = std::move(*inject);
    }
    ~WorkerTest() override {
        drain(punt_.get());
        drain(inject_.get());
        EXPECT_EQ(buffers_free(), testing_eal::kBuffers) << "buffers leaked";
    }
    static void drain(rte_ring* ring) {
        void* m = nullptr;
        while (rte_ring_dequeue(ring, &m) == 0) {
            rte_pktmbuf_free(static_cast<rte_mbuf*>(m));
        }
    }
    static std::uint16_t from_queue(void* arg, rte_mbuf** out, std::uint16_t n) noexcept {
        auto& queue = *static_cast<std::deque<rte_mbuf*>*>(arg);
        std::uint16_t got = 0;
        for (; got < n && !queue.empty(); ++got) {
            out[got] = queue.front();
            queue.pop_front();
        }
        return got;
    }
    static std::uint16_t at_most_ten(void*, rte_mbuf** packets, std::uint16_t n) noexcept {
        n = std::min<std::uint16_t>(n, 10);
        rte_pktmbuf_free_bulk(packets, n);
        return n;
    }
    WorkerSetup setup() {
        return {.rx = {{.burst = from_queue, .arg = &wire_}, {.burst = from_queue, .arg = &wire_}},
                .tx = {null_tx_queue(), {.burst = at_most_ten, .arg = nullptr}},
                .punt = punt_.get(),
                .inject = inject_.get(),
                .snapshots = &slot_,
                .counters = &counters_,
                .buffers = source_of(testing_eal::buffers())};
    }
    void receive(unsigned n, Wish wish) {
        for (unsigned i = 0; i < n; ++i) {
            wire_.push_back(packet(wish));
        }
    }
    std::uint64_t drops() const {
        std::uint64_t sum = 0;
        for (const DropInfo& d : kDropInfo) {
            sum += counters_[d.id].read();
        }
        return sum;
    }
    void expect_exact() const {
        EXPECT_EQ(counters_.rx.read() + counters_.injected.read() + counters_.generated.read() +
                      counters_.fragmented.read() + counters_.taken.read(),
                  counters_.tx.read() + counters_.punted.read() + counters_.merged.read() + counters_.handed.read() +
                      counters_.held.read() + drops());
    }
    void run_until_idle(Worker<ToyGraph>& worker) {
        worker.join();
        while (worker.loop()) {
        }
        worker.leave();
    }

    SnapshotSlot slot_{1, std::make_unique<const Snapshot>()};
    WorkerCounters counters_;
    std::deque<rte_mbuf*> wire_;
    PacketRing punt_;
    PacketRing inject_;
};

TEST_F(WorkerTest, EveryPacketEndsInOneCounter) {
    Worker<ToyGraph> worker{setup()};
    receive(100, to_port_0);
    receive(50, to_nowhere);
    receive(30, to_linux);
    receive(7, an_error);
    for (unsigned i = 0; i < 20; ++i) {
        ASSERT_EQ(rte_ring_enqueue(inject_.get(), packet(to_port_0)), 0);
    }
    run_until_idle(worker);
    EXPECT_EQ(counters_.rx.read(), 187u);
    EXPECT_EQ(counters_.injected.read(), 20u);
    EXPECT_EQ(counters_.generated.read(), 7u);
    EXPECT_EQ(counters_.tx.read(), 127u);
    EXPECT_EQ(counters_.punted.read(), 30u);
    EXPECT_EQ(rte_ring_count(punt_.get()), 30u);
    EXPECT_EQ(counters_[Drop::no_route].read(), 50u);
    expect_exact();
}

TEST_F(WorkerTest, FullTransmitQueueDropsTheRest) {
    Worker<ToyGraph> worker{setup()};
    receive(kBurst, to_port_1);
    run_until_idle(worker);
    EXPECT_EQ(counters_.tx.read(), 10u);
    EXPECT_EQ(counters_[Drop::tx_queue_full].read(), kBurst - 10u);
    expect_exact();
}

TEST_F(WorkerTest, APuntRingThatIsFullButForTheReserveDropsTheRest) {
    Worker<ToyGraph> worker{setup()};
    receive(200, to_linux);
    run_until_idle(worker);
    EXPECT_EQ(counters_.punted.read(), 127u - 127 / 4);
    EXPECT_EQ(counters_[Drop::punt_ring_full].read(), 200u - (127 - 127 / 4));
    expect_exact();
}

TEST_F(WorkerTest, UrgentPacketsFindRoomInARingThatOthersFill) {
    Worker<ToyGraph> worker{setup()};
    for (unsigned i = 0; i < 20; ++i) {
        receive(30, to_linux);
        receive(1, to_linux_urgently);
    }
    run_until_idle(worker);
    unsigned urgent = 0;
    void* m = nullptr;
    while (rte_ring_dequeue(punt_.get(), &m) == 0) {
        urgent += *rte_pktmbuf_mtod(static_cast<rte_mbuf*>(m), std::uint8_t*) == to_linux_urgently;
        rte_pktmbuf_free(static_cast<rte_mbuf*>(m));
    }
    EXPECT_EQ(urgent, 20u);
    EXPECT_GE(counters_.punted.read(), 127u - 127 / 4);
    EXPECT_EQ(counters_[Drop::punt_ring_full].read(), 20 * 31 - counters_.punted.read());
    receive(200, to_linux_urgently);
    run_until_idle(worker);
    EXPECT_EQ(rte_ring_count(punt_.get()), 127u) << "they may fill all of it";
    expect_exact();
}

TEST_F(WorkerTest, WithoutAPuntRingNothingIsPunted) {
    WorkerSetup s = setup();
    s.punt = nullptr;
    s.inject = nullptr;
    Worker<ToyGraph> worker{s};
    receive(5, to_linux);
    run_until_idle(worker);
    EXPECT_EQ(counters_[Drop::punt_ring_full].read(), 5u);
    expect_exact();
}

TEST_F(WorkerTest, AWholeBurstOfErrorsFits) {
    Worker<ToyGraph> worker{setup()};
    receive(3 * kBurst, an_error);
    run_until_idle(worker);
    EXPECT_EQ(counters_.generated.read(), 3u * kBurst);
    EXPECT_EQ(counters_.tx.read(), 3u * kBurst);
    EXPECT_EQ(counters_[Drop::hop_limit_expired].read(), 3u * kBurst);
    expect_exact();
}

TEST_F(WorkerTest, AnErrorAboutAnErrorEnds) {
    Worker<ToyGraph> worker{setup()};
    receive(3, an_error_about_an_error);
    run_until_idle(worker);
    EXPECT_EQ(counters_.generated.read(), 6u);
    EXPECT_EQ(counters_.tx.read(), 0u);
    expect_exact();
}

TEST_F(WorkerTest, WhatIsCutIsSentAFewPacketsAtATime) {
    Worker<ToyGraph> worker{setup()};
    receive(2 * kBurst + 3, too_long_for_its_way);
    receive(5, to_port_0);
    run_until_idle(worker);
    EXPECT_EQ(counters_.tx.read(), 3u * (2 * kBurst + 3) + 5);
    EXPECT_EQ(counters_.fragmented.read(), 2u * (2 * kBurst + 3));
    EXPECT_EQ(worker.graph().most_at_once, kFragmentedAtOnce);
    EXPECT_EQ(drops(), 0u);
    expect_exact();
}

TEST_F(WorkerTest, WhatIsToBeCutMayBeAnsweredOrSetAside) {
    Worker<ToyGraph> worker{setup()};
    receive(kBurst, too_long_and_an_error);
    receive(kBurst, too_long_and_aside);
    receive(1, to_port_0);
    run_until_idle(worker);
    EXPECT_EQ(counters_.generated.read(), kBurst);
    EXPECT_EQ(drops(), kBurst) << "those that the errors are about";
    EXPECT_EQ(counters_.tx.read(), kBurst + 3u * kBurst + 1u);
    expect_exact();
}

TEST_F(WorkerTest, FragmentsThatWaitTimeOut) {
    Reassembly table{{.datagrams = 4, .timeout_tsc = 1}};
    WorkerSetup s = setup();
    s.reassembly = &table;
    Worker<ToyGraph> worker{s};
    const std::array<std::uint8_t, 8> bytes{};
    counters_.rx.add(1);
    table.add({.key = {.id = 1}, .headers = bytes, .payload = bytes, .more = true}, rte_rdtsc(), counters_, s.buffers);
    EXPECT_EQ(counters_.held.read(), 1u);
    run_until_idle(worker);
    EXPECT_EQ(counters_.held.read(), 0u);
    EXPECT_EQ(counters_[Drop::fragment_timeout].read(), 1u);
    expect_exact();
}

TEST_F(WorkerTest, SessionsEndAFewAtATimeBesideTrafficAndAtOnceWithout) {
    NatTable table{{.sessions = 2048, .workers = 1, .seed = 1}, slot_.readers()};
    NatPool pool;
    pool.addresses = {{to_be32(0xc6336401), to_be32(0xc6336401)}};
    pool.address_count = 1;
    constexpr std::uint16_t kSessions = 1000;
    for (std::uint16_t i = 0; i < kSessions; ++i) {
        const auto port = static_cast<std::uint16_t>(2000 + i);
        ASSERT_NE(
            table
                .open(0,
                      nat_key(to_be32(0x0a000001), to_be32(0x0d000001), to_be16(port), to_be16(53), +IpProtocol::udp),
                      pool, 1)
                .session,
            nullptr);
    }
    WorkerSetup s = setup();
    s.nat = &table;
    s.nat_ageing_steps = 800 * NatTable::kEndingSteps;
    Worker<ToyGraph> worker{s};
    worker.join();
    // The snapshot has no pools: every session ends when it is looked at.
    std::uint64_t left = kSessions;
    for (unsigned loop = 0; loop < 4; ++loop) {
        receive(1, to_nowhere);
        ASSERT_TRUE(worker.loop());
        const std::uint64_t before = std::exchange(left, table.usage(0).sessions);
        EXPECT_LT(left, before) << "a millisecond's share goes on in each burst";
        EXPECT_LE(before - left, 25u) << "64 steps and a 64th of the share";
    }
    EXPECT_FALSE(worker.loop());
    EXPECT_LE(table.usage(0).sessions, 250u) << "the rest of the share";
    worker.leave();
}

TEST_F(WorkerTest, ASourceGivesAllOrNothing) {
    const BufferSource source = source_of(testing_eal::buffers());
    EXPECT_GE(source.room, 1500 + 256);
    std::vector<rte_mbuf*> taken(testing_eal::kBuffers + 1);
    EXPECT_FALSE(source(taken.data(), static_cast<std::uint16_t>(taken.size())));
    EXPECT_EQ(buffers_free(), testing_eal::kBuffers);
    ASSERT_TRUE(source(taken.data(), 100));
    EXPECT_EQ(rte_pktmbuf_tailroom(taken[99]), source.room);
    rte_pktmbuf_free_bulk(taken.data(), 100);
}

TEST_F(WorkerTest, SleepsWhenIdleWithoutHoldingControlUp) {
    WorkerSetup s = setup();
    s.sleep_when_idle = true;
    Worker<ToyGraph> worker{s};
    std::atomic<bool> stop{false};
    std::thread thread{[&] { worker.run(stop); }};
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    const std::uint64_t before = counters_.loops.read();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    const std::uint64_t loops = counters_.loops.read() - before;
    EXPECT_LT(loops, 2000u) << "200 us at a time";
    EXPECT_GT(loops, 20u);
    EXPECT_EQ(counters_.busy_loops.read(), 0u);
    for (unsigned i = 0; i < 50; ++i) {
        slot_.publish(std::make_unique<const Snapshot>());
        slot_.synchronize();
        EXPECT_EQ(slot_.reclaim(), 0u);
    }
    stop = true;
    thread.join();
}

TEST(TokenRateTest, FillsAQuarterOfASecondAtMost) {
    TokenRate rate{1000, 1'000'000};
    std::uint64_t tokens = 0;
    rate.refill(tokens, 5'000'000);
    EXPECT_EQ(tokens, 250u);
    tokens = 0;
    rate.refill(tokens, 5'000'000 + 10'000);
    EXPECT_EQ(tokens, 10u);
    rate.refill(tokens, 5'000'000 + 10'000'000);
    EXPECT_EQ(tokens, 250u);
}

TEST(TokenRateTest, ARateOfZeroGrantsNothing) {
    TokenRate rate{0, 1'000'000};
    std::uint64_t tokens = 7;
    for (std::uint64_t now = 1; now < 5'000'000; now += 300'000) {
        rate.refill(tokens, now);
        EXPECT_EQ(tokens, 0u);
    }
    TokenRate slow{1, 1'000'000};
    slow.refill(tokens, 1);
    EXPECT_EQ(tokens, 1u);
}

TEST(TokenRateTest, KeepsFractionsOfATokenForLater) {
    TokenRate rate{1000, 1'000'000};
    std::uint64_t tokens = 0;
    rate.refill(tokens, 1);
    tokens = 0;
    for (std::uint64_t now = 300; now <= 100'000; now += 300) {  // 0.3 tokens each
        rate.refill(tokens, 1 + now);
    }
    EXPECT_GE(tokens, 98u);
    EXPECT_LE(tokens, 100u);
}

}  // namespace
}  // namespace twinspan
