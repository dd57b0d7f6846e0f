// IPv4 fragmentation (RFC 791 section 3.2, RFC 1812 section 5.2.6).
#pragma once

#include "dataplane/packet/batch.hpp"

#include <span>

namespace twinspan {

inline constexpr std::uint16_t kMostPieces = kBurst;  // of one packet

// Whether a router may cut this packet (parsed, data at its IP header): IPv4 without DF.
inline bool may_fragment(rte_mbuf& m, const PacketMeta& pm) noexcept {
    return pm.ip == IpVersion::v4 && (header_at<Ipv4Header>(m, 0).fragment.raw & kIpv4DontFragment.raw) == 0;
}

// Cuts the packet into pieces of at most `mtu` bytes, in order; the first stays in its buffer. A packet that is itself
// a fragment may be cut again. Options are copied as their copied flag says. Metadata goes with every piece.
// Errors leave `out` empty: too_big (mtu leaves no room for 8 bytes, or more than kMostPieces), malformed_frame (ends
// beyond 65,535 bytes), no_mbuf.
Verdict fragment_ipv4(rte_mbuf& m, std::uint16_t mtu, const BufferSource& buffers,
                      PacketList<kMostPieces>& out) noexcept;

}  // namespace twinspan
