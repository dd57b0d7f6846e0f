// A burst of packets on its way through the graph, the verdicts stages give on it, and the
// context they share.
#pragma once

#include "dataplane/base/counter.hpp"
#include "dataplane/base/drop.hpp"
#include "dataplane/packet/buffer_source.hpp"
#include "dataplane/packet/meta.hpp"

#include <rte_mbuf.h>

#include <array>
#include <cstdint>
#include <memory>
#include <utility>

namespace twinspan {

inline constexpr std::uint16_t kBurst = 64;
inline constexpr std::uint16_t kMaxPorts = 32;     // Debian's RTE_MAX_ETHPORTS
inline constexpr std::uint16_t kMaxLegs = 256;
inline constexpr std::uint16_t kMaxTunnels = 16384;
inline constexpr std::uint16_t kFragmentedAtOnce = 4;      // packets cut in one walk
inline constexpr std::uint16_t kLargePacket = 10'240;      // bytes: the longest that is made whole or linear

struct TrafficCounter {  // one writer
    Counter packets;
    Counter bytes;
    void add(std::uint64_t n, std::uint64_t n_bytes) noexcept {
        packets.add(n);
        bytes.add(n_bytes);
    }
};

// Adds up what belongs to one counter while a burst stays with it, so that a counter is written once per run and not
// once per packet.
class CountedRun {
public:
    explicit CountedRun(std::array<TrafficCounter, kMaxLegs>& counters) noexcept : counters_(counters) {}
    ~CountedRun() { flush(); }
    CountedRun(const CountedRun&) = delete;
    CountedRun& operator=(const CountedRun&) = delete;

    void add(std::uint16_t index, std::uint64_t n_bytes) noexcept { add(index, 1, n_bytes); }
    void add(std::uint16_t index, std::uint64_t n_packets, std::uint64_t n_bytes) noexcept {
        if (index != index_) [[unlikely]] {
            flush();
            index_ = index;
        }
        packets_ += n_packets;
        bytes_ += n_bytes;
    }

private:
    void flush() noexcept {
        if (packets_ != 0) {
            counters_[index_].add(packets_, bytes_);
            packets_ = bytes_ = 0;
        }
    }
    std::array<TrafficCounter, kMaxLegs>& counters_;
    std::uint64_t packets_ = 0;
    std::uint64_t bytes_ = 0;
    std::uint16_t index_ = 0;
};

// One per worker: written by that worker, read by control.
// At rest:
// rx + injected + generated + fragmented + taken = tx + punted + merged + handed + held + the sum of drops.
class alignas(RTE_CACHE_LINE_SIZE) WorkerCounters {
public:
    Counter rx;         // frames taken from ports
    Counter injected;   // packets taken from the punt thread (Linux sent them)
    Counter generated;  // ICMP errors made here
    Counter fragmented;  // pieces that packets were cut into, less one each
    Counter taken;      // packets of other workers, for tunnels that this one owns
    Counter tx;         // frames the ports took
    Counter punted;     // packets handed to the punt thread
    Counter merged;     // fragments that became part of a whole packet, less one each
    Counter handed;     // packets handed to the workers that own their tunnels
    // Fragments put into the reassembly table, less those taken out, modulo 2^64: one worker may take out what another
    // put in. The sum over all workers is what the table holds.
    Counter held;
    Counter loops;
    Counter busy_loops;  // loops that found work
    // Packets out of a tunnel with ECN fields that RFC 6040 section 4.2 wants told of.
    Counter ecn_dangerous;  // changed on the way, against the rules; (!!!) there
    Counter ecn_unused;  // as no known sender makes them; (!) there
    Counter helped;  // bursts of other workers that were opened here
    std::array<TrafficCounter, kMaxLegs> leg_rx;
    std::array<TrafficCounter, kMaxLegs> leg_tx;
    std::unique_ptr<std::array<TrafficCounter, kMaxTunnels>> tunnel_rx =
        std::make_unique<std::array<TrafficCounter, kMaxTunnels>>();
    std::unique_ptr<std::array<TrafficCounter, kMaxTunnels>> tunnel_tx =
        std::make_unique<std::array<TrafficCounter, kMaxTunnels>>();

    Counter& operator[](Drop reason) noexcept { return drops_[static_cast<std::size_t>(reason)]; }
    const Counter& operator[](Drop reason) const noexcept { return drops_[static_cast<std::size_t>(reason)]; }

private:
    std::array<Counter, kDropCount> drops_;
};

// Keep the packet, or drop it for a reason. One byte, so it travels in a register.
class Verdict {
public:
    constexpr Verdict() noexcept = default;  // keep
    constexpr Verdict(Drop reason) noexcept : raw_(static_cast<std::uint8_t>(static_cast<unsigned>(reason) + 1)) {}
    static constexpr Verdict keep() noexcept { return Verdict{}; }
    constexpr bool kept() const noexcept { return raw_ == 0; }
    constexpr Drop reason() const noexcept { return static_cast<Drop>(raw_ - 1); }

private:
    std::uint8_t raw_ = 0;
};

// A list of packets with room for what one walk of the graph can hold.
template <std::uint16_t Capacity>
class PacketList {
public:
    static constexpr std::uint16_t kCapacity = Capacity;
    std::uint16_t size() const noexcept { return size_; }
    bool empty() const noexcept { return size_ == 0; }
    bool full() const noexcept { return size_ == Capacity; }
    rte_mbuf* operator[](std::uint16_t i) const noexcept { return packets_[i]; }
    rte_mbuf** data() noexcept { return packets_.data(); }
    rte_mbuf** begin() noexcept { return packets_.data(); }
    rte_mbuf** end() noexcept { return packets_.data() + size_; }
    void push(rte_mbuf* m) noexcept { packets_[size_++] = m; }
    void resize(std::uint16_t n) noexcept { size_ = n; }  // after writing to data()
    void clear() noexcept { size_ = 0; }

private:
    std::uint16_t size_ = 0;
    std::array<rte_mbuf*, Capacity> packets_;
};

// What Linux gets, by how much it hurts to lose it. Each class has its own rate, so that none can starve another.
enum class PuntClass : std::uint8_t {
    link,  // ARP, neighbour discovery, LLDP, ...
    routing,  // BFD, BGP
    ike,
    other,  // what may be anything
};
inline constexpr std::size_t kPuntClasses = 4;

struct Snapshot;
class NatTable;
class LentBursts;  // dataplane/state/lent_bursts.hpp
class Reassembly;
class Engine;  // crypto/ipsec_mb.hpp

// Everything a stage may touch. The lists are emptied by the worker after every walk, and no
// packet is in two of them, so none can hold more than the walk's packets: kBurst that came in, as many that were made
// linear of them, and as many that became whole by them.
struct Context {
    const Snapshot* config;  // this loop's configuration
    std::uint64_t now_tsc;  // time of the loop's start
    std::uint32_t now_seconds;  // coarse clock for session and rate state
    std::uint16_t worker;
    WorkerCounters* counters;
    Engine* crypto;
    NatTable* nat;
    LentBursts* lent;  // null: this worker decrypts all that it receives

    Reassembly* reassembly;  // null: fragments for us are dropped
    BufferSource buffers;  // as those of the ports
    BufferSource large_buffers;  // for packets made whole or linear: kLargePacket

    PacketList<4 * kBurst> dropped;  // freed in bulk by the worker
    PacketList<2 * kBurst> punted;  // to the punt thread, meta.netdev says which TAP
    PacketList<kBurst> generated;  // ICMP errors to be routed, from the data's start
    PacketList<kBurst> handed;  // to the workers that own their tunnels
    std::array<PacketList<2 * kBurst>, kMaxPorts> transmit;  // whole frames
    PacketList<kBurst> aside;  // what NAT takes up after the walk: fragments, and what the inside sends to a pool
    PacketList<kBurst> oversize;  // to be cut, past their last hop check
    PacketList<kFragmentedAtOnce * kBurst> fragments;  // pieces, ready for their egress
    std::uint64_t icmp_tokens = 0;  // ICMP errors that may still be made; refilled by the worker
    std::array<std::uint64_t, kPuntClasses> punt_tokens{};  // packets that may still be punted; refilled by the worker

    void drop(rte_mbuf* m, Drop reason) noexcept {
        (*counters)[reason].add(1);
        dropped.push(m);
    }
    // Its bytes go on in another buffer: nothing is lost, so nothing is counted.
    void spend(rte_mbuf* m) noexcept { dropped.push(m); }
};

class Batch : public PacketList<kBurst> {
public:
    // Asks fn(mbuf) -> Verdict for every packet, in order; the kept ones close ranks.
    template <class Fn>
    void for_each(Context& ctx, Fn&& fn) noexcept {
        static_assert(noexcept(fn(std::declval<rte_mbuf&>())), "the packet path does not throw");
        std::uint16_t kept = 0;
        for (std::uint16_t i = 0; i < size(); ++i) {
            rte_mbuf* m = (*this)[i];
            const Verdict verdict = fn(*m);
            if (verdict.kept()) [[likely]] {
                data()[kept++] = m;
            } else {
                ctx.drop(m, verdict.reason());
            }
        }
        resize(kept);
    }
    // fn(mbuf) -> bool: whether it stays. What does not, fn has put elsewhere.
    template <class Fn>
    void keep_if(Fn&& fn) noexcept {
        static_assert(noexcept(fn(std::declval<rte_mbuf&>())), "the packet path does not throw");
        std::uint16_t kept = 0;
        for (std::uint16_t i = 0; i < size(); ++i) {
            rte_mbuf* m = (*this)[i];
            if (fn(*m)) [[likely]] {
                data()[kept++] = m;
            }
        }
        resize(kept);
    }
};

}  // namespace twinspan
