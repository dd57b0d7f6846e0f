// Wire formats, as they lie in a packet. Packed: a header may start at any byte.
#pragma once

#include "dataplane/base/endian.hpp"

#include <array>
#include <compare>
#include <cstdint>

namespace twinspan {

using MacAddress = std::array<std::uint8_t, 6>;
using Ipv6Address = std::array<std::uint8_t, 16>;

inline constexpr be16 kEtherTypeIpv4 = to_be16(0x0800);
inline constexpr be16 kEtherTypeArp = to_be16(0x0806);
inline constexpr be16 kEtherTypeVlan = to_be16(0x8100);
inline constexpr be16 kEtherTypeQinQ = to_be16(0x88a8);
inline constexpr be16 kEtherTypeIpv6 = to_be16(0x86dd);

// What Linux's daemons on a TAP exchange besides IP: ARP, LLDP, 802.1X, slow protocols, LLC.
constexpr bool is_link_control(be16 type) noexcept {
    const std::uint16_t t = type.host();
    return type == kEtherTypeArp || t == 0x88cc || t == 0x888e || t == 0x8809 || t < 0x0600;
}

struct [[gnu::packed]] EthernetHeader {
    MacAddress dst;
    MacAddress src;
    be16 type;
};

struct [[gnu::packed]] VlanTag {  // what follows the two MAC addresses: TPID, then TCI
    be16 tpid;
    be16 tci;
};
inline constexpr std::uint16_t kVlanIdMask = 0x0fff;

struct [[gnu::packed]] Ipv4Header {
    std::uint8_t version_ihl;
    std::uint8_t tos;
    be16 total_length;
    be16 id;
    be16 fragment;
    std::uint8_t ttl;
    std::uint8_t protocol;
    be16 checksum;
    be32 src;
    be32 dst;

    constexpr unsigned header_bytes() const noexcept { return (version_ihl & 0x0fu) * 4; }
};
inline constexpr be16 kIpv4DontFragment = to_be16(0x4000);
inline constexpr be16 kIpv4MoreFragments = to_be16(0x2000);
inline constexpr be16 kIpv4FragmentOffset = to_be16(0x1fff);

struct [[gnu::packed]] Ipv6Header {
    be32 version_class_flow;
    be16 payload_length;
    std::uint8_t next_header;
    std::uint8_t hop_limit;
    Ipv6Address src;
    Ipv6Address dst;
};

struct [[gnu::packed]] UdpHeader {
    be16 src_port;
    be16 dst_port;
    be16 length;
    be16 checksum;
};

inline constexpr be32 kNonEspMarker{};              // RFC 3948 section 2.2: before IKE, where an SPI would stand
inline constexpr std::uint8_t kNatKeepalive = 0xff;  // RFC 3948 section 2.3: all of its payload

struct [[gnu::packed]] TcpHeader {
    be16 src_port;
    be16 dst_port;
    be32 sequence;
    be32 acknowledgement;
    std::uint8_t data_offset;  // high nibble: 32-bit words
    std::uint8_t flags;
    be16 window;
    be16 checksum;
    be16 urgent;
};
inline constexpr std::uint8_t kTcpFin = 0x01, kTcpSyn = 0x02, kTcpRst = 0x04, kTcpAck = 0x10;

struct [[gnu::packed]] IcmpHeader {  // ICMP and ICMPv6 share these eight bytes
    std::uint8_t type;
    std::uint8_t code;
    be16 checksum;
    be16 id;        // echo; unused in errors
    be16 sequence;  // echo; next-hop MTU in ICMPv4 too-big
};

struct [[gnu::packed]] EspHeader {
    be32 spi;
    be32 sequence;
};

static_assert(sizeof(EthernetHeader) == 14 && sizeof(VlanTag) == 4 && sizeof(Ipv4Header) == 20 &&
              sizeof(Ipv6Header) == 40);
static_assert(sizeof(UdpHeader) == 8 && sizeof(TcpHeader) == 20 && sizeof(IcmpHeader) == 8 && sizeof(EspHeader) == 8);

enum class IpProtocol : std::uint8_t { icmp = 1, ipv4 = 4, tcp = 6, udp = 17, ipv6 = 41, esp = 50, icmpv6 = 58 };
constexpr std::uint8_t operator+(IpProtocol p) noexcept { return static_cast<std::uint8_t>(p); }

}  // namespace twinspan
