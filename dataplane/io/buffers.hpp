// Packet buffers, and the rings that hand them from thread to thread.
#pragma once

#include "dataplane/base/error.hpp"
#include "dataplane/packet/buffer_source.hpp"

#include <rte_mempool.h>
#include <rte_ring.h>

#include <cstdint>
#include <memory>
#include <string>

namespace twinspan {

struct FreePool {
    void operator()(rte_mempool* pool) const noexcept { rte_mempool_free(pool); }
};
struct FreeRing {
    void operator()(rte_ring* ring) const noexcept { rte_ring_free(ring); }
};
using BufferPool = std::unique_ptr<rte_mempool, FreePool>;
using PacketRing = std::unique_ptr<rte_ring, FreeRing>;

// Buffers with room for PacketMeta, and for a packet of `mtu` bytes with the headers before it and the ESP trailer
// behind.
Result<BufferPool> make_buffer_pool(const std::string& name, std::uint32_t buffers, std::uint16_t mtu = 1500);

// Takes from a pool; the caller's thread is known to EAL.
BufferSource source_of(rte_mempool* pool) noexcept;

// One thread puts in, one takes out. `size` is a power of two; one place less can be used.
Result<PacketRing> make_packet_ring(const std::string& name, unsigned size);
// Frees the packets in a ring, once no thread uses it any more.
void drain(rte_ring& ring) noexcept;

}  // namespace twinspan
