#include "tests/eal/worker_team.hpp"

#include "tests/eal/eal_environment.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <thread>

namespace twinspan::test {
namespace {

std::uint16_t receive(void* arg, rte_mbuf** out, std::uint16_t n) noexcept {
    auto& member = *static_cast<Member*>(arg);
    const unsigned wanted = member.turn++ * 13 % (kBurst + 7);  // now and then nothing, now and then more than fits
    std::uint16_t got = 0;
    for (; got < n && got < wanted && !member.wire.empty(); ++got) {
        out[got] = member.wire.front();
        member.wire.pop_front();
    }
    return got;
}

std::uint16_t send(void* arg, rte_mbuf** packets, std::uint16_t n) noexcept {
    auto& sent = static_cast<Member*>(arg)->sent;
    sent.insert(sent.end(), packets, packets + n);
    return n;
}

}  // namespace

std::uint64_t Member::drops() const {
    std::uint64_t sum = 0;
    for (const DropInfo& drop : kDropInfo) {
        sum += (*counters)[drop.id].read();
    }
    return sum;
}

bool Member::exact() const {
    const WorkerCounters& c = *counters;
    return c.rx.read() + c.injected.read() + c.generated.read() + c.taken.read() ==
           c.tx.read() + c.punted.read() + c.handed.read() + drops();
}

WorkerTeam::WorkerTeam(std::uint16_t workers, unsigned ring_size)
    : slot_(std::make_unique<SnapshotSlot>(workers, std::make_unique<const Snapshot>())), offers_(256) {
    std::vector<SharedRing<rte_mbuf>*> owners;
    for (std::uint16_t w = 0; w < workers; ++w) {
        rings_.push_back(std::make_unique<SharedRing<rte_mbuf>>(ring_size));
        owners.push_back(rings_.back().get());
    }
    for (std::uint16_t w = 0; w < workers; ++w) {
        Member& member = members.emplace_back();
        member.engine = std::make_unique<Engine>(std::move(*Engine::create()));
        const TxQueue out{.burst = send, .arg = &member};
        member.worker = std::make_unique<Worker<Graph>>(WorkerSetup{.index = w,
                                                                    .rx = {{.burst = receive, .arg = &member}},
                                                                    .tx = {out, out, out},
                                                                    .owners = owners,
                                                                    .offers = &offers_,
                                                                    .snapshots = slot_.get(),
                                                                    .counters = member.counters.get(),
                                                                    .crypto = member.engine.get()});
    }
}

WorkerTeam::~WorkerTeam() {
    for (Member& member : members) {
        member.worker.reset();
        rte_pktmbuf_free_bulk(member.sent.data(), static_cast<unsigned>(member.sent.size()));
        for (rte_mbuf* m : member.wire) {
            rte_pktmbuf_free(m);
        }
    }
    for (const auto& ring : rings_) {
        while (rte_mbuf* m = ring->take()) {
            rte_pktmbuf_free(m);
        }
    }
    slot_->reclaim();
    EXPECT_EQ(testing_eal::buffers_free(), testing_eal::kBuffers) << "buffers leaked";
}

void WorkerTeam::receives(std::size_t worker, std::span<const std::uint8_t> frame, std::uint16_t port) {
    rte_mbuf* m = rte_pktmbuf_alloc(testing_eal::buffers());
    if (m == nullptr) {
        throw std::bad_alloc();
    }
    std::memcpy(rte_pktmbuf_append(m, static_cast<std::uint16_t>(frame.size())), frame.data(), frame.size());
    m->port = port;
    members[worker].wire.push_back(m);
}

void WorkerTeam::receives_from_lan(std::size_t worker, const std::string& destination, std::uint32_t flow,
                                   std::uint32_t number) {
    Bytes payload(40);
    std::memcpy(payload.data(), &flow, sizeof flow);
    std::memcpy(payload.data() + sizeof flow, &number, sizeof number);
    const Bytes packet = udp_packet({.src = "10.10.0.10",
                                     .dst = destination,
                                     .src_port = static_cast<std::uint16_t>(1000 + flow),
                                     .dst_port = 5000,
                                     .payload = payload});
    receives(worker, ethernet_frame(SmallWorld::kOurLanMac, SmallWorld::kHostMac, {}, packet), SmallWorld::kLanPort);
}

void WorkerTeam::publish() {
    slot_->publish(std::make_unique<const Snapshot>(world.config));
    slot_->reclaim();
}

bool WorkerTeam::at_rest() const {
    std::uint64_t in = 0;
    std::uint64_t out = 0;
    for (const Member& member : members) {
        in += member.counters->rx.read();
        out += member.counters->tx.read() + member.counters->punted.read() + member.drops();
    }
    return in == out;
}

void WorkerTeam::run(const std::function<void()>& meanwhile) {
    std::uint64_t expected = total(&WorkerCounters::rx);
    for (const Member& member : members) {
        expected += member.wire.size();
    }
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (Member& member : members) {
        threads.emplace_back([&stop, &member] { member.worker->run(stop); });
    }
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{60};
    while (!(total(&WorkerCounters::rx) == expected && at_rest()) && std::chrono::steady_clock::now() < deadline) {
        meanwhile();
        std::this_thread::yield();
    }
    stop = true;
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(total(&WorkerCounters::rx), expected);
    for (const Member& member : members) {
        EXPECT_TRUE(member.exact());
    }
}

void WorkerTeam::run_in_turns() {
    for (Member& member : members) {
        member.worker->join();
    }
    for (unsigned idle = 0; idle < 100; ++idle) {
        for (Member& member : members) {
            if (member.worker->loop()) {
                idle = 0;
            }
        }
    }
    for (Member& member : members) {
        member.worker->leave();
        EXPECT_TRUE(member.exact());
    }
}

std::uint64_t WorkerTeam::total(Counter WorkerCounters::* counter) const {
    std::uint64_t sum = 0;
    for (const Member& member : members) {
        sum += (*member.counters.*counter).read();
    }
    return sum;
}

std::uint64_t WorkerTeam::drops(Drop reason) const {
    std::uint64_t sum = 0;
    for (const Member& member : members) {
        sum += (*member.counters)[reason].read();
    }
    return sum;
}

}  // namespace twinspan::test
