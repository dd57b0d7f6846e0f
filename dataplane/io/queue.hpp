// How a worker takes packets from a port and gives them to one. A driver's queue and a benchmark's generator look the
// same.
#pragma once

#include <rte_mbuf.h>

#include <cstdint>

namespace twinspan {

struct RxQueue {
    // Writes at most n packets, each with m->port = the port's index in Snapshot::ports.
    std::uint16_t (*burst)(void* arg, rte_mbuf** out, std::uint16_t n) noexcept;
    void* arg;
};

struct TxQueue {
    // Takes the first of the n packets, as many as there is room for, and returns how many.
    std::uint16_t (*burst)(void* arg, rte_mbuf** packets, std::uint16_t n) noexcept;
    void* arg;
};

// A port that takes everything: for benchmarks and tests.
inline TxQueue null_tx_queue() noexcept {
    return {.burst = [](void*, rte_mbuf** packets, std::uint16_t n) noexcept {
        rte_pktmbuf_free_bulk(packets, n);
        return n;
    }, .arg = nullptr};
}

}  // namespace twinspan
