// One NAT session: a cache line that holds all that a packet in either direction needs.
#pragma once

#include "dataplane/config/snapshot.hpp"
#include "dataplane/packet/checksum.hpp"
#include "dataplane/packet/headers.hpp"
#include "dataplane/state/nat_key.hpp"

#include <atomic>
#include <cstdint>

namespace twinspan {

// What was seen of a TCP connection; bits of NatSession::tcp.
namespace nat_tcp {
inline constexpr std::uint8_t kReplied = 1;      // a segment came from outside
inline constexpr std::uint8_t kEstablished = 2;  // and one that is no SYN went out after it
inline constexpr std::uint8_t kFinOut = 4;
inline constexpr std::uint8_t kFinIn = 8;
inline constexpr std::uint8_t kReset = 16;

constexpr bool closing(std::uint8_t state) noexcept {
    constexpr std::uint8_t both = kFinOut | kFinIn;
    return (state & kReset) != 0 || (state & both) == both;
}
}  // namespace nat_tcp

// Relaxed atomics, because control walks live records without a lock; on the packet path they cost nothing.
struct alignas(64) NatSession {
    // written by the worker that opens it, before it is published; unchanged until it is reused
    std::atomic<std::uint64_t> inside_addresses{0};
    std::atomic<std::uint64_t> inside_rest{0};
    std::atomic<std::uint64_t> outside_addresses{0};
    std::atomic<std::uint64_t> outside_rest{0};
    ChecksumDelta ip_delta;  // outbound; inverse() is inbound
    ChecksumDelta l4_delta;
    std::atomic<std::uint32_t> created{0};     // seconds
    std::atomic<std::uint32_t> generation{0};  // how often the record was used
    // written by any worker, when it changes
    std::atomic<std::uint32_t> last_seen{0};  // seconds
    std::atomic<std::uint8_t> tcp{0};
    // opening worker: 1 when both indexes hold it; ageing worker: 0
    std::atomic<std::uint8_t> live{0};
    // owner of the free or retired record
    std::uint32_t next = 0;
    std::uint32_t next_chunk = 0;

    NatKey inside() const noexcept {
        return {inside_addresses.load(std::memory_order_relaxed), inside_rest.load(std::memory_order_relaxed)};
    }
    NatKey outside() const noexcept {
        return {outside_addresses.load(std::memory_order_relaxed), outside_rest.load(std::memory_order_relaxed)};
    }

    // At most one write a second: workers that share a session do not bounce its line.
    void seen(std::uint32_t now_seconds) noexcept {
        if (last_seen.load(std::memory_order_relaxed) != now_seconds) {
            last_seen.store(now_seconds, std::memory_order_relaxed);
        }
    }

    void track_outbound(std::uint8_t tcp_flags) noexcept {
        const std::uint8_t state = tcp.load(std::memory_order_relaxed);
        if ((tcp_flags & kTcpSyn) != 0 && nat_tcp::closing(state)) {
            tcp.store(0, std::memory_order_relaxed);  // the port is used again (RFC 9293 section 3.6.1)
            return;
        }
        const bool ack = (state & nat_tcp::kReplied) != 0 && (tcp_flags & kTcpSyn) == 0;
        add(state, tcp_flags, ack ? nat_tcp::kEstablished : std::uint8_t{0}, nat_tcp::kFinOut);
    }
    void track_inbound(std::uint8_t tcp_flags) noexcept {
        add(tcp.load(std::memory_order_relaxed), tcp_flags, nat_tcp::kReplied, nat_tcp::kFinIn);
    }

private:
    void add(std::uint8_t state, std::uint8_t tcp_flags, std::uint8_t seen_bit, std::uint8_t fin_bit) noexcept {
        unsigned bits = (tcp_flags & kTcpRst) != 0 ? nat_tcp::kReset : seen_bit;
        bits |= (tcp_flags & kTcpFin) != 0 ? fin_bit : 0u;
        if ((bits & ~unsigned{state}) != 0) [[unlikely]] {
            tcp.fetch_or(static_cast<std::uint8_t>(bits), std::memory_order_relaxed);
        }
    }
};
static_assert(sizeof(NatSession) == 64 && std::atomic<std::uint64_t>::is_always_lock_free);

// RFC 5382 REQ-5, RFC 7857 section 2: a connection that is half open, reset or closed on both sides is transitory.
inline std::uint32_t nat_timeout(std::uint8_t protocol, std::uint8_t tcp_state, const NatTimeouts& timeouts) noexcept {
    switch (protocol) {
        case +IpProtocol::tcp:
            return (tcp_state & nat_tcp::kEstablished) != 0 && !nat_tcp::closing(tcp_state) ? timeouts.tcp_established
                                                                                            : timeouts.tcp_transitory;
        case +IpProtocol::udp:
            return timeouts.udp;
        default:
            return timeouts.icmp;
    }
}

// A copy for people to look at.
struct NatSessionView {
    NatKey inside;
    NatKey outside;
    std::uint32_t created;    // seconds
    std::uint32_t last_seen;  // seconds
    std::uint8_t tcp;         // nat_tcp bits

    std::uint16_t pool() const noexcept { return inside.pool(); }
    std::uint8_t protocol() const noexcept { return inside.protocol(); }
};

}  // namespace twinspan
