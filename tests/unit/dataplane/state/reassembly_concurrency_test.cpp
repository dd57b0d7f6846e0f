#include "dataplane/state/reassembly.hpp"

#include "tests/support/exact_packet.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <thread>

namespace twinspan {
namespace {

// Two workers get the fragments of the same packets: each packet is completed once, and the books of both together are
// exact.
TEST(ReassemblyConcurrency, FragmentsOverBothLinks) {
    constexpr unsigned kPackets = 20'000, kFragments = 4, kBytes = 64;
    struct Worker {
        WorkerCounters counters;
        std::deque<test::ExactPacket> made;
        std::uint64_t whole = 0, dropped = 0;
    };
    Reassembly table{{.datagrams = 32, .timeout_tsc = 50}};
    std::array<Worker, 2> workers;
    const auto take = [](void* arg, rte_mbuf** out, std::uint16_t) noexcept {
        auto& made = *static_cast<std::deque<test::ExactPacket>*>(arg);
        made.clear();
        *out = &made.emplace_back(std::span<const std::uint8_t>{}, std::size_t{kLargePacket}).mbuf;
        return true;
    };
    const auto work = [&](unsigned me) {
        Worker& w = workers[me];
        const BufferSource buffers{.take = take, .arg = &w.made, .room = kLargePacket};
        for (std::uint32_t id = 0; id < kPackets; ++id) {
            for (unsigned i = me; i < kFragments; i += 2) {
                const std::array<std::uint8_t, kBytes> payload{static_cast<std::uint8_t>(id)};
                const FragmentView view{.key = {.id = id, .ip = IpVersion::v4},
                                        .headers = std::span{payload}.first(20),
                                        .payload = payload,
                                        .offset = i * kBytes,
                                        .more = i + 1 < kFragments};
                const Gathering g = table.add(view, id, w.counters, buffers);
                w.counters.rx.add(1);
                w.whole += g.state == Gathered::whole;
                if (g.state == Gathered::whole) {
                    w.counters.tx.add(1);
                    const auto* p = rte_pktmbuf_mtod(g.packet, const std::uint8_t*);
                    for (unsigned f = 0; f < kFragments; ++f) {
                        ASSERT_EQ(p[20 + f * kBytes], static_cast<std::uint8_t>(id));
                    }
                }
            }
            table.expire(id, w.counters);
        }
    };
    std::thread other{work, 1};
    work(0);
    other.join();
    table.expire(kPackets + 100, workers[0].counters);
    std::uint64_t held = 0;
    for (const Worker& w : workers) {
        std::uint64_t drops = 0;
        for (const DropInfo& d : kDropInfo) {
            drops += w.counters[d.id].read();
        }
        held += w.counters.held.read();
        EXPECT_EQ(w.counters.rx.read(),
                  w.counters.tx.read() + w.counters.merged.read() + w.counters.held.read() + drops);
    }
    EXPECT_EQ(held, 0u);
    EXPECT_LE(workers[0].whole + workers[1].whole, kPackets);
}

}  // namespace
}  // namespace twinspan
