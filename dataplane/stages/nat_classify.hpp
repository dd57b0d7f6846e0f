// What NAT can do with a packet, by its headers alone.
#pragma once

#include "dataplane/config/snapshot.hpp"
#include "dataplane/packet/batch.hpp"
#include "dataplane/packet/checksum.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace twinspan {

inline constexpr std::uint8_t kIcmpEchoReply = 0, kIcmpUnreachable = 3, kIcmpEchoRequest = 8, kIcmpTimeExceeded = 11,
                              kIcmpParameterProblem = 12, kIcmpTimestamp = 13, kIcmpTimestampReply = 14;

constexpr bool is_icmp_error(std::uint8_t type) noexcept {
    return type == kIcmpUnreachable || type == kIcmpTimeExceeded || type == kIcmpParameterProblem;
}
constexpr bool is_icmp_request(std::uint8_t type) noexcept {
    return type == kIcmpEchoRequest || type == kIcmpTimestamp;
}
// RFC 5508 section 3.1: a request or its answer, with an identifier.
constexpr bool is_icmp_query(std::uint8_t type) noexcept {
    return is_icmp_request(type) || type == kIcmpEchoReply || type == kIcmpTimestampReply;
}

// Protocols whose checksum covers the addresses, and lies in bytes 6 and 7 (RFC 3828, RFC 4340).
constexpr bool has_checksum_of_addresses(std::uint8_t protocol) noexcept {
    constexpr std::uint8_t kDccp = 33, kUdpLite = 136;
    return protocol == kDccp || protocol == kUdpLite;
}
inline constexpr unsigned kChecksumOfAddressesAt = 6;

// Bytes from the data's start that are both in the IP packet and in the first segment.
inline unsigned nat_bytes(const rte_mbuf& m, const PacketMeta& md) noexcept {
    return std::min<unsigned>(md.l3_length, m.data_len);
}

enum class NatKind : std::uint8_t { session, icmp_error };
struct NatClass {
    Verdict verdict;  // fragment_unsupported: to be made whole first
    NatKind kind;
};

inline NatClass classify_for_nat(rte_mbuf& m, const PacketMeta& md, const NatPool& pool) noexcept {
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
            return {is_icmp_query(type) ? Verdict::keep() : Drop::nat_unsupported, kSession};
        }
        default:
            return {pool.any_protocol ? Verdict::keep() : Drop::nat_unsupported, kSession};
    }
}

// Whether the packet may open a session: a reset ends a connection, and an answer is about something asked before.
inline bool begins_session(rte_mbuf& m, const PacketMeta& md) noexcept {
    if (md.protocol == +IpProtocol::tcp) {
        return (header_at<TcpHeader>(m, md.l4_offset).flags & kTcpRst) == 0;
    }
    return md.protocol != +IpProtocol::icmp || is_icmp_request(header_at<IcmpHeader>(m, md.l4_offset).type);
}

struct NatPorts {
    be16 src, dst;
};
// ICMP queries have their identifier on our side of the session, and nothing on the other.
inline NatPorts ports_out(rte_mbuf& m, const PacketMeta& md) noexcept {
    return md.protocol == +IpProtocol::icmp ? NatPorts{header_at<IcmpHeader>(m, md.l4_offset).id, {}}
                                            : NatPorts{md.src_port, md.dst_port};
}
inline NatPorts ports_in(rte_mbuf& m, const PacketMeta& md) noexcept {
    return md.protocol == +IpProtocol::icmp ? NatPorts{{}, header_at<IcmpHeader>(m, md.l4_offset).id}
                                            : NatPorts{md.src_port, md.dst_port};
}

// When an identifier becomes zero, all of the message may be zero; then its checksum must be the other zero
// (RFC 1624 section 3). For any other message the two are as good.
constexpr be16 checksum_of_echo(be16 updated, be16 id, be16 sequence) noexcept {
    return (updated.raw | id.raw | sequence.raw) == 0 ? be16{0xffff} : updated;
}

// RFC 3828 section 3.1 has no zero, and to RFC 4340 section 9 it is a number as any other.
constexpr be16 checksum_of_addresses(be16 before, ChecksumDelta change) noexcept {
    const be16 updated = change.apply(before);
    return updated.raw == 0 ? be16{0xffff} : updated;
}

}  // namespace twinspan
