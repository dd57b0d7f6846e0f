// What NAT can do with a packet, by its headers alone.
#pragma once

#include "dataplane/packet/batch.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace twinspan {

inline constexpr std::uint8_t kIcmpEchoReply = 0, kIcmpUnreachable = 3, kIcmpEchoRequest = 8, kIcmpTimeExceeded = 11,
                              kIcmpParameterProblem = 12;

constexpr bool is_icmp_error(std::uint8_t type) noexcept {
    return type == kIcmpUnreachable || type == kIcmpTimeExceeded || type == kIcmpParameterProblem;
}

// Bytes from the data's start that are both in the IP packet and in the first segment.
inline unsigned nat_bytes(const rte_mbuf& m, const PacketMeta& md) noexcept {
    return std::min<unsigned>(md.l3_length, m.data_len);
}

enum class NatKind : std::uint8_t { session, icmp_error };
struct NatClass {
    Verdict verdict;
    NatKind kind;
};

// `echo`: the ICMP query type that belongs to this direction's sessions.
inline NatClass classify_for_nat(rte_mbuf& m, const PacketMeta& md, std::uint8_t echo) noexcept {
    constexpr NatKind kSession = NatKind::session;
    if (md.ip != IpVersion::v4) {
        return {Drop::nat_unsupported, kSession};
    }
    if ((md.flags & meta_flag::kFragment) != 0) {
        return {Drop::fragment_unsupported, kSession};
    }
    const auto fits = [end = nat_bytes(m, md), &md](std::size_t header) noexcept {
        return md.l4_offset + header <= end;
    };
    switch (md.protocol) {
        case +IpProtocol::tcp:
            return {fits(sizeof(TcpHeader)) ? Verdict::keep() : Drop::malformed_frame, kSession};
        case +IpProtocol::udp:
            return {fits(sizeof(UdpHeader)) ? Verdict::keep() : Drop::malformed_frame, kSession};
        case +IpProtocol::icmp: {
            if (!fits(sizeof(IcmpHeader))) {
                return {Drop::malformed_frame, kSession};
            }
            const std::uint8_t type = header_at<IcmpHeader>(m, md.l4_offset).type;
            if (is_icmp_error(type)) {
                return {Verdict::keep(), NatKind::icmp_error};
            }
            return {type == echo ? Verdict::keep() : Drop::nat_unsupported, kSession};
        }
        default:
            return {Drop::nat_unsupported, kSession};
    }
}

// When an identifier becomes zero, all of the message may be zero; then its checksum must be the other zero
// (RFC 1624 section 3). For any other message the two are as good.
constexpr be16 checksum_of_echo(be16 updated, be16 id, be16 sequence) noexcept {
    return (updated.raw | id.raw | sequence.raw) == 0 ? be16{0xffff} : updated;
}

}  // namespace twinspan
