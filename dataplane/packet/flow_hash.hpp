// Spreads flows over the buckets of a group: CRC32c of the five-tuple, 3 instructions for IPv4.
// Later fragments carry no ports, and IPv6 ones may name another next header than the first (RFC 8200 section 4.5), so
// every fragment is hashed by its addresses alone.
#pragma once

#include "dataplane/packet/meta.hpp"

#include <nmmintrin.h>
#include <cstring>

namespace twinspan {

inline std::uint32_t flow_hash(const void* addresses, unsigned bytes, const PacketMeta& pm) noexcept {
    std::uint64_t ports_protocol = 0;
    if ((pm.flags & meta_flag::kFragment) == 0) {
        ports_protocol = pm.protocol | std::uint64_t{pm.src_port.raw} << 16 | std::uint64_t{pm.dst_port.raw} << 32;
    }
    std::uint64_t crc = _mm_crc32_u64(0x5bd1e995u, ports_protocol);
    for (unsigned i = 0; i < bytes; i += 8) {
        std::uint64_t word;
        std::memcpy(&word, static_cast<const char*>(addresses) + i, 8);
        crc = _mm_crc32_u64(crc, word);
    }
    // CRC is linear: flows that differ in one low port bit would differ in a fixed pattern of buckets.
    return static_cast<std::uint32_t>(crc * 0x9e3779b97f4a7c15u >> 32);
}

// The packet's data starts at its IP header.
inline std::uint32_t flow_hash(const rte_mbuf& m, const PacketMeta& pm) noexcept {
    const auto* ip = rte_pktmbuf_mtod(&m, const char*);
    return pm.ip == IpVersion::v4 ? flow_hash(ip + offsetof(Ipv4Header, src), 8, pm)
                                  : flow_hash(ip + offsetof(Ipv6Header, src), 32, pm);
}

}  // namespace twinspan
