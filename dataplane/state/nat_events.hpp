// What the NAT tells control for its log: one ring for each worker, which it alone fills and control alone empties.
// Nothing waits: what finds no room is counted as lost, and sessions leave some to what is rarer. Without a log there
// is no ring.
#pragma once

#include "dataplane/base/counter.hpp"
#include "dataplane/state/nat_key.hpp"

#include <rte_cycles.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace twinspan {

enum class NatEventKind : std::uint8_t {
    session_created,
    session_ended,
    mapping_created,      // endpoint-independent: the keys have no remote end
    mapping_ended,
    addresses_exhausted,  // no address of the pool had a port left for the inside key
    ports_exhausted,      // one address, the outside key's, had none
    sessions_exhausted,   // `value`: the size of the table
    host_quota_exceeded,  // `value`: most sessions of one inside host
    high_water,           // `value`: the mark
    low_water,            // `value`: the mark
    block_allocated,      // `value`: ports; the outside key's port is the first
    block_freed,          // the same
};
inline constexpr std::size_t kNatEventKinds = 12;

using NatEventMask = std::uint32_t;
constexpr NatEventMask nat_event_bit(NatEventKind kind) noexcept { return 1u << static_cast<unsigned>(kind); }
inline constexpr NatEventMask kNatSessionEvents =
    nat_event_bit(NatEventKind::session_created) | nat_event_bit(NatEventKind::session_ended);
inline constexpr NatEventMask kNatPoolEvents = ((1u << kNatEventKinds) - 1) & ~kNatSessionEvents;

struct NatEvent {
    NatKey inside{};   // names the pool
    NatKey outside{};  // fields that the kind has no use for are 0
    std::uint64_t time = 0;  // TSC, by push(); to control in milliseconds since 1970
    std::uint32_t value = 0;
    NatEventKind kind = NatEventKind::session_created;
};

class NatEventRing {
public:
    // `size` is a power of two. `wanted`: all other kinds are let go. `tsc_hz`: of the time between repetitions.
    NatEventRing(std::size_t size, NatEventMask wanted, std::uint64_t tsc_hz)
        : size_(size), wanted_(wanted), tsc_hz_(tsc_hz), events_(std::make_unique<NatEvent[]>(size)) {}

    // worker. What every dropped packet could say again is said once a second.
    void push(NatEvent event) noexcept { push(event, rte_rdtsc()); }
    void push(NatEvent event, std::uint64_t now_tsc) noexcept {
        const NatEventMask bit = nat_event_bit(event.kind);
        if ((wanted_ & bit) == 0 || ((kRepeating & bit) != 0 && said_lately(event, now_tsc))) {
            return;
        }
        const std::size_t tail = tail_.load(std::memory_order_relaxed);
        const std::size_t room = (kNatSessionEvents & bit) != 0 ? size_ - size_ / kReserved : size_;
        if (tail - head_seen_ >= room) {
            head_seen_ = head_.load(std::memory_order_acquire);
            if (tail - head_seen_ >= room) {
                lost_.add(1);
                return;
            }
        }
        event.time = now_tsc;
        events_[tail & (size_ - 1)] = event;
        tail_.store(tail + 1, std::memory_order_release);
    }

    // control: gives at most `most` events to fn(event), in order, and returns how many.
    template <class Fn>
    std::size_t take(std::size_t most, Fn&& fn) {
        const std::size_t head = head_.load(std::memory_order_relaxed);
        const std::size_t waiting = tail_.load(std::memory_order_acquire) - head;
        const std::size_t taken = waiting < most ? waiting : most;
        for (std::size_t i = 0; i < taken; ++i) {
            fn(events_[(head + i) & (size_ - 1)]);
        }
        head_.store(head + taken, std::memory_order_release);
        return taken;
    }
    std::uint64_t lost() const noexcept { return lost_.read(); }

private:
    static constexpr NatEventMask kRepeating =
        nat_event_bit(NatEventKind::addresses_exhausted) | nat_event_bit(NatEventKind::ports_exhausted) |
        nat_event_bit(NatEventKind::sessions_exhausted) | nat_event_bit(NatEventKind::host_quota_exceeded);
    static constexpr std::size_t kReserved = 8;  // one part of so many is not for sessions
    static constexpr std::size_t kSaid = 256;

    // Two that share a slot silence each other for a second: they are hints, the counters are exact.
    bool said_lately(const NatEvent& event, std::uint64_t now_tsc) noexcept {
        std::uint64_t what = static_cast<std::uint64_t>(event.kind) << 32 | event.inside.pool();
        if (event.kind == NatEventKind::ports_exhausted) {
            what ^= event.outside.addresses << 16 | event.outside.protocol();
        } else if (event.kind == NatEventKind::host_quota_exceeded) {
            what ^= event.inside.addresses << 16;
        }
        std::uint64_t& said = said_[(what * 0x9e3779b97f4a7c15u) >> 56];
        if (said != 0 && now_tsc - said < tsc_hz_) {
            return true;
        }
        said = now_tsc;
        return false;
    }

    const std::size_t size_;
    const NatEventMask wanted_;
    const std::uint64_t tsc_hz_;
    const std::unique_ptr<NatEvent[]> events_;
    // worker
    alignas(64) std::atomic<std::size_t> tail_{0};
    std::size_t head_seen_ = 0;
    Counter lost_;
    std::array<std::uint64_t, kSaid> said_{};
    // control
    alignas(64) std::atomic<std::size_t> head_{0};
};

// The rings of all workers, as control empties them.
class NatEventRings {
public:
    NatEventRings(std::uint16_t workers, NatEventMask wanted, std::size_t size, std::uint64_t tsc_hz);

    NatEventRing& of(std::uint16_t worker) noexcept { return *rings_[worker]; }
    // At most `most` events of each worker. `time` is in milliseconds since 1970 there.
    std::size_t take(std::size_t most, const std::function<void(const NatEvent&)>& fn);
    std::uint64_t lost() const noexcept;

private:
    std::uint64_t tsc_hz_;
    std::vector<std::unique_ptr<NatEventRing>> rings_;
};

}  // namespace twinspan
