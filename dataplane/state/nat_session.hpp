// One record of the NAT table. A session is a cache line that holds all that a packet in either direction needs; what
// sessions hang on is a record, too.
#pragma once

#include "dataplane/packet/checksum.hpp"
#include "dataplane/state/nat_key.hpp"
#include "dataplane/state/nat_tcp.hpp"

#include <atomic>
#include <cstdint>
#include <optional>

namespace twinspan {

// Opening, closing or unanswered: it may end before its time when others need its room.
constexpr bool nat_transitory(std::uint8_t protocol, std::uint8_t state) noexcept {
    return protocol == +IpProtocol::icmp || !nat_tcp::opened(state) ||
           (protocol == +IpProtocol::tcp && nat_tcp::closing(state));
}

// Bits of NatSession::flags.
inline constexpr std::uint8_t kNatTwice = 1;    // the remote end has another address or port inside
inline constexpr std::uint8_t kNatMetered = 2;  // its port is counted in the meter

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
    std::atomic<std::uint8_t> tcp{0};  // nat_tcp bits
    // opening worker: 1 when both indexes hold it; the worker that ends it: 0. Always 0 for what is no session.
    std::atomic<std::uint8_t> live{0};
    std::atomic<std::uint8_t> flags{0};  // opening worker, before it is published; the worker that ends it
    // any worker: records that hang on this mapping, block or host
    std::atomic<std::uint32_t> users{0};
    // The owner of a free or retired record chains it. While it is in use, written before it is published: the numbers
    // of the mapping or block that it has its port from, and of its host; 0: none.
    std::uint32_t next = 0;
    std::uint32_t next_chunk = 0;
    std::uint32_t& parent() noexcept { return next; }
    std::uint32_t& host() noexcept { return next_chunk; }

    NatKey inside() const noexcept {
        return {inside_addresses.load(std::memory_order_relaxed), inside_rest.load(std::memory_order_relaxed)};
    }
    NatKey outside() const noexcept {
        return {outside_addresses.load(std::memory_order_relaxed), outside_rest.load(std::memory_order_relaxed)};
    }

    // What is not TCP has been answered when both sides have spoken; `side`: nat_tcp::kAckOut or kAckIn.
    void spoke(std::uint8_t side) noexcept {
        if ((tcp.load(std::memory_order_relaxed) & side) == 0) [[unlikely]] {
            tcp.fetch_or(side, std::memory_order_relaxed);
        }
    }

    // At most one write a second: workers that share a session do not bounce its line.
    void seen(std::uint32_t now_seconds) noexcept {
        if (last_seen.load(std::memory_order_relaxed) != now_seconds) {
            last_seen.store(now_seconds, std::memory_order_relaxed);
        }
    }
};
static_assert(sizeof(NatSession) == 64 && std::atomic<std::uint64_t>::is_always_lock_free);

// A copy for people to look at.
struct NatSessionView {
    NatKey inside;
    NatKey outside;
    std::uint32_t created;  // seconds
    std::uint32_t last_seen;  // seconds
    std::uint8_t tcp;  // nat_tcp bits

    std::uint16_t pool() const noexcept { return inside.pool(); }
    std::uint8_t protocol() const noexcept { return inside.protocol(); }
};

// Nothing: it is no live session, or was reused while it was copied. Any thread, while workers go on.
inline std::optional<NatSessionView> view_of(const NatSession& session) noexcept {
    constexpr auto kAcquire = std::memory_order_acquire;
    const std::uint32_t generation = session.generation.load(kAcquire);
    if (session.live.load(kAcquire) == 0) {
        return std::nullopt;
    }
    const NatSessionView view{
        .inside = {session.inside_addresses.load(kAcquire), session.inside_rest.load(kAcquire)},
        .outside = {session.outside_addresses.load(kAcquire), session.outside_rest.load(kAcquire)},
        .created = session.created.load(kAcquire),
        .last_seen = session.last_seen.load(kAcquire),
        .tcp = session.tcp.load(kAcquire),
    };
    return session.generation.load(std::memory_order_relaxed) == generation ? std::optional{view} : std::nullopt;
}

}  // namespace twinspan
