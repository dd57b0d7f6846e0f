// Validates an IP header and learns what later stages need. Shared by what comes off the wire,
// out of a tunnel, and from Linux.
#pragma once

#include "dataplane/packet/batch.hpp"

namespace twinspan {

// The mbuf's data starts at the IP header. Fills ip, protocol, flags (fragment bits are added),
// l4_offset, l3_length and the ports; cuts Ethernet padding off the mbuf.
// Checks RFC 1812 section 5.2.2 and RFC 8200 section 3, and that TCP, UDP, ICMP and ESP headers are whole.
Verdict parse_ip(rte_mbuf& m, PacketMeta& pm) noexcept;

}  // namespace twinspan
