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
    const rte_mbuf& m;
    const std::uint8_t* inner;  // IP header
    std::uint8_t* outer;      // where the outer header goes: tunnel.outer_len bytes before the SPI
    std::uint32_t esp_bytes;  // from the SPI to the end of the ICV
    std::uint64_t sequence;
};

// For packets that go into one tunnel one after the other. What they have in common stays in registers: nothing that
// is written to a packet can change it.
class OuterHeader {
public:
    OuterHeader(const Tunnel& tunnel, const DscpMap& map) noexcept
        : tunnel_(tunnel),
          map_(map),
          ipv4_(ipv4_words(tunnel)),
          ipv4_sum_(static_cast<std::uint32_t>(~ipv4_.middle >> 16) & 0xffff),
          bytes_(tunnel.outer_len),
          ecn_(static_cast<std::uint8_t>(tunnel.ecn)),
          is_ipv4_(tunnel.outer_is_ipv4()),
          varies_(tunnel.varies) {}

    std::uint8_t bytes() const noexcept { return bytes_; }
    IpVersion version() const noexcept { return is_ipv4_ ? IpVersion::v4 : IpVersion::v6; }

    // UDP's checksum stays zero: over IPv4 for good (RFC 3948 section 2.1), over IPv6 until set_udp_checksum.
    [[gnu::always_inline]] void write(const SealedPacket& packet) const noexcept {
        if (is_ipv4_) [[likely]] {
            write_ipv4(packet);
            if (bytes_ != sizeof(Ipv4Header)) {
                write_udp(sizeof(Ipv4Header), packet);
            }
        } else {
            write_ipv6(packet);
            if (bytes_ != sizeof(Ipv6Header)) {
                write_udp(sizeof(Ipv6Header), packet);
            }
        }
    }

private:
    // The header's words as they lie in memory: class, length, ID and flags; TTL, protocol, checksum and source;
    // destination.
    struct Ipv4Words {
        std::uint64_t front, middle;
        std::uint32_t back;
    };
    static_assert(sizeof(Ipv4Header) == 20 && offsetof(Ipv4Words, back) == 16);

    static Ipv4Words ipv4_words(const Tunnel& tunnel) noexcept {
        Ipv4Words words;
        std::memcpy(&words, tunnel.outer.data(), sizeof(Ipv4Header));
        return words;
    }

    std::uint8_t outer_class(std::uint8_t inner) const noexcept {
        return static_cast<std::uint8_t>(map_[inner >> 2] << 2 | (inner & ecn_));
    }

    bool may_be_fragmented(const std::uint8_t* inner) const noexcept {
        if (tunnel_.df != DfRule::copy) {
            return tunnel_.df == DfRule::clear;
        }
        return inner[0] >> 4 == 4 && (inner[offsetof(Ipv4Header, fragment)] & 0x40) == 0;
    }

    static std::uint8_t inner_hop_limit(const std::uint8_t* inner) noexcept {
        return inner[inner[0] >> 4 == 4 ? offsetof(Ipv4Header, ttl) : offsetof(Ipv6Header, hop_limit)];
    }

    // What is left zero in the template for such a tunnel. Returns what it adds to the header's sum.
    // Without DF the ID must not soon come back (RFC 6864 section 4.3 lets it where a strong check, here the ICV, finds
    // what was put together wrongly): it is the low half of the sequence number.
    std::uint32_t vary(const std::uint8_t* inner, std::uint64_t sequence, Ipv4Words& ip) const noexcept {
        std::uint32_t sum = 0;
        if (tunnel_.hop_limit == kCopyHopLimit) {
            const std::uint8_t ttl = inner_hop_limit(inner);
            ip.middle |= ttl;
            sum += ttl;
        }
        if (may_be_fragmented(inner)) {
            const std::uint16_t id = to_be16(static_cast<std::uint16_t>(sequence)).raw;
            ip.front |= std::uint64_t{id} << 32;
            sum += id;
        } else if (tunnel_.df == DfRule::copy) {
            ip.front |= std::uint64_t{kIpv4DontFragment.raw} << 48;
            sum += kIpv4DontFragment.raw;
        }
        return sum;
    }

    [[gnu::always_inline]] void write_ipv4(const SealedPacket& packet) const noexcept {
        Ipv4Words ip = ipv4_;
        const std::uint32_t tos = outer_class(traffic_class(packet.inner));
        const std::uint32_t length = to_be16(static_cast<std::uint16_t>(bytes_ + packet.esp_bytes)).raw;
        std::uint32_t sum = ipv4_sum_ + (tos << 8) + length;
        ip.front |= tos << 8 | std::uint64_t{length} << 16;
        if (varies_) [[unlikely]] {
            sum += vary(packet.inner, packet.sequence, ip);
        }
        const std::uint64_t checksum = static_cast<std::uint16_t>(~fold_checksum(sum));
        ip.middle = (ip.middle & ~std::uint64_t{0xffff0000}) | checksum << 16;
        // Word by word: a copy in wider pieces would wait until these words have left the store buffer.
        std::memcpy(packet.outer, &ip.front, sizeof ip.front);
        std::memcpy(packet.outer + offsetof(Ipv4Words, middle), &ip.middle, sizeof ip.middle);
        std::memcpy(packet.outer + offsetof(Ipv4Words, back), &ip.back, sizeof ip.back);
    }

    std::uint32_t flow_label(const rte_mbuf& m, const std::uint8_t* inner) const noexcept {
        constexpr std::uint32_t kLabel = 0xfffff;
        switch (tunnel_.flow_label) {
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
    static void put(std::uint8_t* header, std::size_t offset, Field value) noexcept {
        std::memcpy(header + offset, &value, sizeof value);
    }

    void write_ipv6(const SealedPacket& packet) const noexcept {
        const std::uint32_t traffic = outer_class(traffic_class(packet.inner));
        const std::uint32_t label = flow_label(packet.m, packet.inner);
        const std::size_t payload = bytes_ - sizeof(Ipv6Header) + packet.esp_bytes;
        std::memcpy(packet.outer, tunnel_.outer.data(), sizeof(Ipv6Header));
        put(packet.outer, offsetof(Ipv6Header, version_class_flow), to_be32(6u << 28 | traffic << 20 | label));
        put(packet.outer, offsetof(Ipv6Header, payload_length), to_be16(static_cast<std::uint16_t>(payload)));
        if (tunnel_.hop_limit == kCopyHopLimit) {
            put(packet.outer, offsetof(Ipv6Header, hop_limit), inner_hop_limit(packet.inner));
        }
    }

    void write_udp(std::size_t at, const SealedPacket& packet) const noexcept {
        std::memcpy(packet.outer + at, tunnel_.outer.data() + at, sizeof(UdpHeader));
        put(packet.outer + at, offsetof(UdpHeader, length),
            to_be16(static_cast<std::uint16_t>(sizeof(UdpHeader) + packet.esp_bytes)));
    }

    const Tunnel& tunnel_;
    const DscpMap& map_;
    Ipv4Words ipv4_;
    std::uint32_t ipv4_sum_;  // of what all packets have, as far as it is in the template's checksum
    std::uint8_t bytes_;
    std::uint8_t ecn_;
    bool is_ipv4_;
    bool varies_;
};

// Of a sealed packet, IPv6 header first, that is a UDP one: Linux and others take no datagram without (RFC 8200
// section 8.1).
void set_udp_checksum(std::uint8_t* ipv6, std::size_t udp_bytes) noexcept;

}  // namespace twinspan
