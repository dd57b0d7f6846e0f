// ICMP and ICMPv6 errors made by the data plane itself.
#pragma once

#include "dataplane/packet/batch.hpp"

namespace twinspan {

enum class IcmpError : std::uint8_t {
    hop_limit_expired,  // RFC 792 type 11, RFC 4443 section 3.3
    too_big,            // RFC 1191 section 4, RFC 4443 section 3.2
    unreachable,        // RFC 1812 section 5.2.7.1 code 0, RFC 4443 section 3.1 code 0
    prohibited,         // RFC 1812 section 5.2.7.1 code 13, RFC 4443 section 3.1 code 1
};

// Ends the packet (data at its IP header) for `reason`, and where RFC 1812 section 4.3.2.7 and RFC 4443
// section 2.4 allow it, turns its buffer into the error that its sender is owed: `reason` is counted for
// the packet, `generated` for the error, which goes to ctx.generated. `mtu`: for too_big, of the next hop.
void end_with_icmp(Context& ctx, rte_mbuf& m, Drop reason, IcmpError error, std::uint16_t mtu = 0) noexcept;

}  // namespace twinspan
