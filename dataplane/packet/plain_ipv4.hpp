// The IPv4 packet that nearly all are: no options, no fragment, TCP, UDP or ESP, and nothing wrong with it. It is told
// by a handful of compares and no branch but the last; every other packet is parse_ip's.
#pragma once

#include "dataplane/packet/headers.hpp"

#include <cstdint>
#include <cstring>

namespace twinspan {

struct PlainIpv4 {
    std::uint16_t length;    // IP header and payload
    std::uint8_t protocol;
    std::uint32_t ports;     // source and destination as they lie in memory; 0 for ESP
};

inline constexpr unsigned kPlainMinBytes = sizeof(Ipv4Header) + sizeof(UdpHeader);

// `ip` has at least kPlainMinBytes bytes; `available` is how many. False: ask parse_ip.
[[gnu::always_inline]] inline bool parse_plain_ipv4(const std::uint8_t* ip, unsigned available,
                                                    PlainIpv4& out) noexcept {
    const auto word_at = [ip](unsigned offset) noexcept {
        std::uint32_t word;
        std::memcpy(&word, ip + offset, sizeof(word));
        return word;
    };
    const std::uint32_t start = word_at(0);     // version and header length, TOS, total length
    const std::uint32_t fragment = word_at(4);  // ID, flags and fragment offset
    const std::uint32_t middle = word_at(8);    // TTL, protocol, checksum
    const std::uint32_t length = __builtin_bswap16(static_cast<std::uint16_t>(start >> 16));
    const std::uint32_t protocol = middle >> 8 & 0xff;

    constexpr std::uint64_t kPlain = std::uint64_t{1} << +IpProtocol::tcp | std::uint64_t{1} << +IpProtocol::udp |
                                     std::uint64_t{1} << +IpProtocol::esp;
    const std::uint32_t least =
        sizeof(Ipv4Header) + (protocol == +IpProtocol::tcp ? sizeof(TcpHeader) : sizeof(UdpHeader));
    bool plain = (start & 0xff) == 0x45;
    plain &= (fragment >> 16 & (kIpv4MoreFragments.raw | kIpv4FragmentOffset.raw)) == 0;
    plain &= protocol < 64 && (kPlain >> (protocol & 63) & 1) != 0;
    plain &= length >= least && length <= available;

    // A valid header's 16-bit words sum to 0xffff in ones' complement (RFC 1071): folded, to a multiple of it. It is
    // not all zero, so 0 cannot come out.
    std::uint64_t sum = std::uint64_t{start} + fragment + middle + word_at(12) + word_at(16);
    plain &= sum % 0xffff == 0;

    out.length = static_cast<std::uint16_t>(length);
    out.protocol = static_cast<std::uint8_t>(protocol);
    out.ports = protocol == +IpProtocol::esp ? 0 : word_at(sizeof(Ipv4Header));
    return plain;
}

}  // namespace twinspan
