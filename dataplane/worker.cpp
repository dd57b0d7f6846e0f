#include "dataplane/worker.hpp"

#include "dataplane/config/snapshot.hpp"
#include "dataplane/state/nat_table.hpp"
#include "dataplane/state/reassembly.hpp"

#include <rte_cycles.h>
#include <rte_mbuf.h>
#include <rte_prefetch.h>
#include <rte_ring.h>

#include <algorithm>
#include <ctime>

namespace twinspan {
namespace {

constexpr std::uint64_t kTicksPerSecond = 1000;  // how often the house is kept
constexpr std::uint32_t kLeastAgeingSlice = 64, kAgeingSlices = 64;
constexpr unsigned kSpinLoops = 32;              // empty loops before the first sleep
constexpr long kFirstSleepNs = 10'000;
constexpr long kLongestSleepNs = 200'000;

}  // namespace

void TokenRate::refill(std::uint64_t& tokens, std::uint64_t now_tsc) noexcept {
    const std::uint64_t elapsed = now_tsc - last_tsc_;
    if (last_tsc_ == 0 || elapsed >= tsc_hz_) {  // also keeps the product below from overflowing
        tokens = most();
        last_tsc_ = now_tsc;
        return;
    }
    const std::uint64_t due = elapsed * rate_ / tsc_hz_;
    if (due != 0) {
        tokens = std::min(tokens + due, most());
        last_tsc_ += due * tsc_hz_ / rate_;  // the fraction of a token counts next time
    }
}

WorkerCore::WorkerCore(WorkerSetup setup)
    : setup_(std::move(setup)),
      tsc_hz_(rte_get_tsc_hz()),
      icmp_rate_(setup_.icmp_errors_per_second, tsc_hz_),
      punt_rates_{TokenRate{setup_.punts_per_second, tsc_hz_}, TokenRate{setup_.punts_per_second, tsc_hz_},
                  TokenRate{setup_.punts_per_second, tsc_hz_}, TokenRate{setup_.punts_per_second, tsc_hz_}} {
    context_.worker = setup_.index;
    context_.counters = setup_.counters;
    context_.crypto = setup_.crypto;
    context_.nat = setup_.nat;
    if (setup_.offers != nullptr) {
        lent_ = std::make_unique<LentBursts>(setup_.offers, static_cast<std::uint32_t>(setup_.owners.size()));
        context_.lent = lent_.get();
    }
    context_.reassembly = setup_.reassembly;
    context_.buffers = setup_.buffers;
    context_.large_buffers = setup_.large_buffers;
}

void WorkerCore::join() noexcept { setup_.snapshots->join(setup_.index); }
void WorkerCore::leave() noexcept { setup_.snapshots->leave(setup_.index); }

void WorkerCore::begin_loop() noexcept {
    context_.config = &setup_.snapshots->read();
    context_.now_tsc = rte_rdtsc();
    if (context_.now_tsc >= next_tick_tsc_) [[unlikely]] {
        keep_house();
    }
}

void WorkerCore::keep_house() noexcept {
    next_tick_tsc_ = context_.now_tsc + tsc_hz_ / kTicksPerSecond;
    context_.now_seconds = static_cast<std::uint32_t>(context_.now_tsc / tsc_hz_);
    icmp_rate_.refill(context_.icmp_tokens, context_.now_tsc);
    for (std::size_t kind = 0; kind < kPuntClasses; ++kind) {
        punt_rates_[kind].refill(context_.punt_tokens[kind], context_.now_tsc);
    }
    if (setup_.reassembly != nullptr) {
        setup_.reassembly->expire(context_.now_tsc, *context_.counters);
    }
    ageing_due_ = setup_.nat != nullptr ? setup_.nat_ageing_steps : 0;
}

// A millisecond's share in slices, so that no burst waits long. A worker without work does it at once: it may sleep
// next.
void WorkerCore::age_nat(bool busy) noexcept {
    const std::uint32_t slice = kLeastAgeingSlice + setup_.nat_ageing_steps / kAgeingSlices;
    const std::uint32_t steps = busy ? std::min(ageing_due_, slice) : ageing_due_;
    ageing_due_ -= steps;
    setup_.nat->age(setup_.index, context_.now_seconds, context_.config->pools, steps);
}

std::uint16_t WorkerCore::receive(const RxQueue& queue, Batch& batch) noexcept {
    const std::uint16_t n = queue.burst(queue.arg, batch.data(), kBurst);
    batch.resize(n);
    if (n != 0) {
        context_.counters->rx.add(n);
    }
    return n;
}

std::uint16_t WorkerCore::take_injected(Batch& batch) noexcept {
    if (setup_.inject == nullptr) {
        return 0;
    }
    const auto n = static_cast<std::uint16_t>(
        rte_ring_sc_dequeue_burst(setup_.inject, reinterpret_cast<void**>(batch.data()), kBurst, nullptr));
    batch.resize(n);
    if (n != 0) {
        context_.counters->injected.add(n);
    }
    return n;
}

// The giver may have had an older or a newer snapshot. A tunnel's index means the same in all of them; what else the
// packet needs, its SA and its way out, is looked up in ours.
std::uint16_t WorkerCore::take_handed(Batch& batch) noexcept {
    const auto n = static_cast<std::uint16_t>(setup_.owners[setup_.index]->take(batch.data(), kBurst));
    batch.resize(n);
    if (n != 0) {
        context_.counters->taken.add(n);
        for (const rte_mbuf* m : batch) {
            rte_prefetch0(&meta(*m));
        }
        const std::size_t tunnels = context_.config->tunnels.size();
        batch.for_each(context_, [tunnels](const rte_mbuf& m) noexcept {
            return meta(m).tunnel < tunnels ? Verdict::keep() : Verdict{Drop::tunnel_down};
        });
    }
    return n;
}

namespace {

void take_all(PacketList<kBurst>& list, Batch& batch) noexcept {
    batch.clear();
    for (rte_mbuf* m : list) {
        batch.push(m);
    }
    list.clear();
}

}  // namespace

void WorkerCore::take_generated(Batch& batch) noexcept { take_all(context_.generated, batch); }
void WorkerCore::take_aside(Batch& batch) noexcept { take_all(context_.aside, batch); }

void WorkerCore::flush() noexcept {
    const auto ports = static_cast<std::uint16_t>(setup_.tx.size());
    for (std::uint16_t port = 0; port < ports; ++port) {
        if (!context_.transmit[port].empty()) {
            transmit(port);
        }
    }
    if (!context_.punted.empty()) {
        punt();
    }
    if (!context_.handed.empty()) {
        hand_over();
    }
    if (!context_.generated.empty()) [[unlikely]] {
        // An error about an error: none is sent (RFC 1122 section 3.2.2).
        for (rte_mbuf* m : context_.generated) {
            context_.drop(m, Drop::no_route);
        }
        context_.generated.clear();
    }
    if (!context_.dropped.empty()) {
        rte_pktmbuf_free_bulk(context_.dropped.data(), context_.dropped.size());
        context_.dropped.clear();
    }
}

void WorkerCore::transmit(std::uint16_t port) noexcept {
    auto& list = context_.transmit[port];
    const TxQueue& queue = setup_.tx[port];
    const std::uint16_t sent = queue.burst(queue.arg, list.data(), list.size());
    context_.counters->tx.add(sent);
    for (std::uint16_t i = sent; i < list.size(); ++i) {
        context_.drop(list[i], Drop::tx_queue_full);
    }
    list.clear();
}

// The last quarter of the ring is for urgent packets: others may come faster than Linux takes them.
void WorkerCore::punt() noexcept {
    auto& list = context_.punted;
    const unsigned reserved = setup_.punt != nullptr ? rte_ring_get_capacity(setup_.punt) / 4 : 0;
    unsigned room = setup_.punt != nullptr ? rte_ring_free_count(setup_.punt) : 0;
    std::uint16_t taken = 0;
    for (rte_mbuf* m : list) {
        const bool urgent = (meta(*m).flags & meta_flag::kUrgent) != 0;
        if (room > (urgent ? 0 : reserved)) [[likely]] {
            list.data()[taken++] = m;
            --room;
        } else {
            context_.drop(m, Drop::punt_ring_full);
        }
    }
    if (taken != 0) {  // this thread alone fills the ring: the room was not less than it said
        rte_ring_sp_enqueue_bulk(setup_.punt, reinterpret_cast<void**>(list.data()), taken, nullptr);
    }
    context_.counters->punted.add(taken);
    list.clear();
}

// All of one owner's packets at once: its ring is shared with the other workers.
void WorkerCore::hand_over() noexcept {
    auto& list = context_.handed;
    const auto owner_of = [this](const rte_mbuf* m) noexcept {
        return context_.config->tunnels[meta(*m).tunnel].owner;
    };
    while (!list.empty()) {
        const std::uint16_t owner = owner_of(list[0]);
        PacketList<kBurst> theirs;
        std::uint16_t rest = 0;
        for (rte_mbuf* m : list) {
            if (owner_of(m) == owner) {
                theirs.push(m);
            } else {
                list.data()[rest++] = m;
            }
        }
        list.resize(rest);
        const std::size_t taken =
            owner < setup_.owners.size() ? setup_.owners[owner]->put(theirs.data(), theirs.size()) : 0;
        context_.counters->handed.add(taken);
        for (std::uint16_t i = static_cast<std::uint16_t>(taken); i < theirs.size(); ++i) {
            context_.drop(theirs[i], Drop::owner_behind);
        }
    }
}

bool WorkerCore::help() noexcept {
    const bool helped = help_to_open(*setup_.offers, context_);
    context_.counters->helped.add(helped);
    return helped;
}

void WorkerCore::begin_finish(LentBurst& burst) noexcept {
    context_.config = burst.config;
    accept_esp(context_, burst.batch, burst.in);
}

void WorkerCore::end_finish() noexcept {
    lent_->release();
    context_.config = &setup_.snapshots->read();
}

void WorkerCore::end_loop(bool busy) noexcept {
    if (ageing_due_ != 0) {
        age_nat(busy);
    }
    if (lent_ == nullptr || lent_->empty()) [[likely]] {  // bursts on loan hold on to their snapshots
        setup_.snapshots->quiescent(setup_.index);
    }
    context_.counters->loops.add(1);
    if (busy) {
        context_.counters->busy_loops.add(1);
    }
}

void WorkerCore::idle() noexcept {
    if (!setup_.sleep_when_idle || ++empty_loops_ <= kSpinLoops) {
        rte_pause();
        return;
    }
    // Doubles from the first sleep on: the loop after a wake-up is one more empty one.
    sleep_ns_ = empty_loops_ == kSpinLoops + 1 ? kFirstSleepNs : std::min(2 * sleep_ns_, kLongestSleepNs);
    setup_.snapshots->offline(setup_.index);
    const timespec time{.tv_sec = 0, .tv_nsec = sleep_ns_};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &time, nullptr);
    setup_.snapshots->online(setup_.index);
}

}  // namespace twinspan
