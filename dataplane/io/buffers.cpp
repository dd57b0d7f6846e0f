#include "dataplane/io/buffers.hpp"

#include "dataplane/packet/meta.hpp"

#include <rte_errno.h>
#include <rte_mbuf.h>

#include <algorithm>

namespace twinspan {
namespace {

constexpr unsigned kCache = 256;           // buffers that each thread keeps at hand
constexpr std::uint32_t kAroundMtu = 256;  // Ethernet, two tags, outer IP, UDP, ESP, IV, padding, ICV

}  // namespace

Result<BufferPool> make_buffer_pool(const std::string& name, std::uint32_t buffers, std::uint16_t mtu) {
    const std::uint32_t room =
        RTE_PKTMBUF_HEADROOM + std::max<std::uint32_t>(RTE_MBUF_DEFAULT_DATAROOM, (mtu + kAroundMtu + 63u) & ~63u);
    if (room > UINT16_MAX) {
        return std::unexpected(Error{"an MTU of " + std::to_string(mtu) + " does not fit a packet buffer"});
    }
    rte_mempool* pool = rte_pktmbuf_pool_create(name.c_str(), buffers, kCache, sizeof(PacketMeta),
                                                static_cast<std::uint16_t>(room), SOCKET_ID_ANY);
    if (pool == nullptr) {
        return std::unexpected(Error{"no memory for " + std::to_string(buffers) + " packet buffers of " +
                                     std::to_string(room) + " bytes: " + rte_strerror(rte_errno)});
    }
    return BufferPool{pool};
}

BufferSource source_of(rte_mempool* pool) noexcept {
    return {.take = [](void* arg, rte_mbuf** out, std::uint16_t n) noexcept {
        return rte_pktmbuf_alloc_bulk(static_cast<rte_mempool*>(arg), out, n) == 0;
    }, .arg = pool, .room = static_cast<std::uint16_t>(rte_pktmbuf_data_room_size(pool) - RTE_PKTMBUF_HEADROOM)};
}

Result<PacketRing> make_packet_ring(const std::string& name, unsigned size) {
    rte_ring* ring = rte_ring_create(name.c_str(), size, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
    if (ring == nullptr) {
        return std::unexpected(
            Error{"ring " + name + " for " + std::to_string(size) + " packets: " + rte_strerror(rte_errno)});
    }
    return PacketRing{ring};
}

void drain(rte_ring& ring) noexcept {
    void* m = nullptr;
    while (rte_ring_dequeue(&ring, &m) == 0) {
        rte_pktmbuf_free(static_cast<rte_mbuf*>(m));
    }
}

}  // namespace twinspan
