// What the stages learn about a packet and hand on: one cache line, in the mbuf's private area.
#pragma once

#include "dataplane/base/endian.hpp"
#include "dataplane/base/zone.hpp"
#include "dataplane/packet/headers.hpp"

#include <rte_mbuf.h>

#include <cstdint>
#include <type_traits>

namespace twinspan {

namespace meta_flag {
inline constexpr std::uint8_t kFragment = 1;       // any fragment: first or later
inline constexpr std::uint8_t kLaterFragment = 2;  // no L4 header here
inline constexpr std::uint8_t kMulticast = 4;      // L2 destination is broadcast or multicast
inline constexpr std::uint8_t kInjected = 8;       // from Linux
inline constexpr std::uint8_t kUrgent = 16;        // Punt: of a protocol whose loss takes links or tunnels down
inline constexpr std::uint8_t kTranslated = 32;    // NatReply: NatOut has nothing left to do
}  // namespace meta_flag

// After Parse, the mbuf's data starts at the IP header; the L2 bytes lie untouched before it.
struct alignas(RTE_CACHE_LINE_SIZE) PacketMeta {
    std::uint16_t rx_leg;      // Parse: index in Snapshot::legs; kNone for a frame without one
    std::uint8_t l2_length;    // Parse: bytes of Ethernet and VLAN before the data; 0 after decryption
    Zone zone;                 // Parse, NatIn, EspIn: where policy takes the packet to come from
    IpVersion ip;              // Parse
    std::uint8_t protocol;     // Parse: IPv4 protocol, or last IPv6 next header that was walked
    std::uint8_t flags;        // Parse: meta_flag
    std::uint8_t l4_offset;    // Parse: from the data's start; IPv6 extension headers beyond 255 bytes are refused
    std::uint16_t l3_length;   // Parse: IP header and payload, without Ethernet padding
    be16 src_port;             // Parse: TCP and UDP; ICMP echo: the identifier, in both; else 0
    be16 dst_port;
    std::uint16_t tunnel;      // EspIn: the tunnel it came from; PickMember: the one it enters
    std::uint16_t egress;      // PickMember: index in Snapshot::egresses
    std::uint16_t netdev;      // Punt: index of the TAP it is for; inject: of the TAP it comes from
    std::uint32_t route;       // Route: a RouteResult
    std::uint32_t flow_hash;   // PickMember: of the five-tuple; same for every packet of a flow
};
static_assert(sizeof(PacketMeta) == RTE_CACHE_LINE_SIZE && std::is_trivially_copyable_v<PacketMeta>);

// The pool must be made with sizeof(PacketMeta) of private area.
inline PacketMeta& meta(rte_mbuf& m) noexcept { return *static_cast<PacketMeta*>(rte_mbuf_to_priv(&m)); }
inline const PacketMeta& meta(const rte_mbuf& m) noexcept { return meta(const_cast<rte_mbuf&>(m)); }

template <class Header>
Header& header_at(rte_mbuf& m, unsigned offset) noexcept {
    return *rte_pktmbuf_mtod_offset(&m, Header*, offset);
}

}  // namespace twinspan
