// The header that stands in front of ESP, written from the tunnel's template while the inner header can still be read
// (RFC 4301 section 5.1.2). Needs: meta.ip and data at the inner IP header.
#pragma once

#include "dataplane/config/tunnel.hpp"
#include "dataplane/packet/checksum.hpp"
#include "dataplane/packet/ecn.hpp"
#include "dataplane/packet/flow_hash.hpp"

#include <cstring>

namespace twinspan {

struct SealedPacket {
    rte_mbuf& m;              // data at the inner IP header
    std::uint8_t* outer;      // where the outer header goes: tunnel.outer_len bytes before the SPI
    std::uint32_t esp_bytes;  // from the SPI to the end of the ICV
    std::uint64_t sequence;
};

namespace outer_header {

inline std::uint8_t outer_class(const Tunnel& tunnel, const DscpMap& map, std::uint8_t inner) noexcept {
    return static_cast<std::uint8_t>(map[inner >> 2] << 2 | (inner & static_cast<std::uint8_t>(tunnel.ecn)));
}

inline bool may_be_fragmented(const Tunnel& tunnel, const std::uint8_t* inner) noexcept {
    if (tunnel.df != DfRule::copy) {
        return tunnel.df == DfRule::clear;
    }
    return inner[0] >> 4 == 4 && (inner[offsetof(Ipv4Header, fragment)] & 0x40) == 0;
}

inline std::uint8_t inner_hop_limit(const std::uint8_t* inner) noexcept {
    return inner[inner[0] >> 4 == 4 ? offsetof(Ipv4Header, ttl) : offsetof(Ipv6Header, hop_limit)];
}

// The header's words as they lie in memory: class, length, ID and flags; TTL, protocol, checksum and source;
// destination.
struct Ipv4Words {
    std::uint64_t front, middle;
    std::uint32_t back;
};
static_assert(sizeof(Ipv4Header) == 20 && offsetof(Ipv4Words, back) == 16);

// What is left zero in the template for such a tunnel. Returns what it adds to the header's sum.
// Without DF the ID must not soon come back (RFC 6864 section 4.3 lets it where a strong check, here the ICV, finds
// what was put together wrongly): it is the low half of the sequence number.
inline std::uint32_t vary(const Tunnel& tunnel, const std::uint8_t* inner, std::uint64_t sequence,
                          Ipv4Words& ip) noexcept {
    std::uint32_t sum = 0;
    if (tunnel.hop_limit == kCopyHopLimit) {
        const std::uint8_t ttl = inner_hop_limit(inner);
        ip.middle |= ttl;
        sum += ttl;
    }
    if (may_be_fragmented(tunnel, inner)) {
        const std::uint16_t id = to_be16(static_cast<std::uint16_t>(sequence)).raw;
        ip.front |= std::uint64_t{id} << 32;
        sum += id;
    } else if (tunnel.df == DfRule::copy) {
        ip.front |= std::uint64_t{kIpv4DontFragment.raw} << 48;
        sum += kIpv4DontFragment.raw;
    }
    return sum;
}

inline void write_ipv4(const Tunnel& tunnel, const DscpMap& map, const SealedPacket& packet) noexcept {
    const auto* inner = rte_pktmbuf_mtod(&packet.m, const std::uint8_t*);
    Ipv4Words ip;
    std::memcpy(&ip, tunnel.outer.data(), sizeof(Ipv4Header));
    const std::uint32_t tos = outer_class(tunnel, map, traffic_class(inner));
    const std::uint32_t length = to_be16(static_cast<std::uint16_t>(tunnel.outer_len + packet.esp_bytes)).raw;
    std::uint32_t sum = (static_cast<std::uint32_t>(~ip.middle >> 16) & 0xffff) + (tos << 8) + length;
    ip.front |= tos << 8 | std::uint64_t{length} << 16;
    if (tunnel.varies) [[unlikely]] {
        sum += vary(tunnel, inner, packet.sequence, ip);
    }
    const std::uint64_t checksum = static_cast<std::uint16_t>(~fold_checksum(sum));
    ip.middle = (ip.middle & ~std::uint64_t{0xffff0000}) | checksum << 16;
    // Word by word: a copy in wider pieces would wait until these words have left the store buffer.
    std::memcpy(packet.outer, &ip.front, sizeof ip.front);
    std::memcpy(packet.outer + offsetof(Ipv4Words, middle), &ip.middle, sizeof ip.middle);
    std::memcpy(packet.outer + offsetof(Ipv4Words, back), &ip.back, sizeof ip.back);
}

inline std::uint32_t flow_label(const Tunnel& tunnel, const rte_mbuf& m, const std::uint8_t* inner) noexcept {
    constexpr std::uint32_t kLabel = 0xfffff;
    switch (tunnel.flow_label) {
        case FlowLabelRule::hash:
            return flow_hash(m, meta(m)) & kLabel;
        case FlowLabelRule::copy:
            if (inner[0] >> 4 == 6) {
                be32 word;
                std::memcpy(&word, inner, sizeof word);
                return word.host() & kLabel;
            }
            break;
        case FlowLabelRule::zero:
            break;
    }
    return 0;
}

// Where a field is written over the template's copy, nothing reads it soon: see write_ipv4.
template <class Field>
void write(std::uint8_t* header, std::size_t offset, Field value) noexcept {
    std::memcpy(header + offset, &value, sizeof value);
}

inline void write_ipv6(const Tunnel& tunnel, const DscpMap& map, const SealedPacket& packet) noexcept {
    const auto* inner = rte_pktmbuf_mtod(&packet.m, const std::uint8_t*);
    const std::uint32_t traffic = outer_class(tunnel, map, traffic_class(inner));
    const std::uint32_t label = flow_label(tunnel, packet.m, inner);
    const std::size_t payload = tunnel.outer_len - sizeof(Ipv6Header) + packet.esp_bytes;
    std::memcpy(packet.outer, tunnel.outer.data(), sizeof(Ipv6Header));
    write(packet.outer, offsetof(Ipv6Header, version_class_flow), to_be32(6u << 28 | traffic << 20 | label));
    write(packet.outer, offsetof(Ipv6Header, payload_length), to_be16(static_cast<std::uint16_t>(payload)));
    if (tunnel.hop_limit == kCopyHopLimit) {
        write(packet.outer, offsetof(Ipv6Header, hop_limit), inner_hop_limit(inner));
    }
}

inline void write_udp(const Tunnel& tunnel, std::size_t at, const SealedPacket& packet) noexcept {
    std::memcpy(packet.outer + at, tunnel.outer.data() + at, sizeof(UdpHeader));
    write(packet.outer + at, offsetof(UdpHeader, length),
          to_be16(static_cast<std::uint16_t>(sizeof(UdpHeader) + packet.esp_bytes)));
}

}  // namespace outer_header

// UDP's checksum stays zero: over IPv4 for good (RFC 3948 section 2.1), over IPv6 until set_udp_checksum.
inline void write_outer_header(const Tunnel& tunnel, const DscpMap& map, const SealedPacket& packet) noexcept {
    if (tunnel.outer_is_ipv4()) [[likely]] {
        outer_header::write_ipv4(tunnel, map, packet);
        if (tunnel.outer_len != sizeof(Ipv4Header)) {
            outer_header::write_udp(tunnel, sizeof(Ipv4Header), packet);
        }
    } else {
        outer_header::write_ipv6(tunnel, map, packet);
        if (tunnel.outer_len != sizeof(Ipv6Header)) {
            outer_header::write_udp(tunnel, sizeof(Ipv6Header), packet);
        }
    }
}

// Of a sealed packet, IPv6 header first, that is a UDP one: Linux and others take no datagram without (RFC 8200
// section 8.1).
void set_udp_checksum(std::uint8_t* ipv6, std::size_t udp_bytes) noexcept;

}  // namespace twinspan
