// One NAT session: a cache line that holds all that a packet in either direction needs.
#pragma once

#include "dataplane/packet/checksum.hpp"
#include "dataplane/state/nat_key.hpp"
#include "dataplane/state/nat_tcp.hpp"

#include <atomic>
#include <cstdint>

namespace twinspan {

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
};
static_assert(sizeof(NatSession) == 64 && std::atomic<std::uint64_t>::is_always_lock_free);

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
