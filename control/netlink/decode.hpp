// From the bytes of one rtnetlink message to the value it stands for. Pure; safe on any bytes: lengths and
// values are checked before use, and nothing past the span is read.
#pragma once

#include "control/netlink/types.hpp"
#include "dataplane/base/error.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace twinspan::netlink {

// One whole netlink message, header included; nlmsg_len may be less than the span, never more.
using Message = std::span<const std::byte>;

// The fields of struct nlmsghdr that matter here.
struct MessageHeader {
    std::uint32_t length = 0;
    std::uint16_t type = 0;
    std::uint16_t flags = 0;
    std::uint32_t sequence = 0;
};

// Error: shorter than a header, or nlmsg_len is less than a header or more than the span.
Result<MessageHeader> decode_header(Message message);

// Each takes RTM_NEW* and RTM_DEL* of its kind. Error: another kind, truncated, an attribute of the wrong length, or
// a value that the kernel never sends. Attributes that are not known are skipped.
Result<LinkEvent> decode_link(Message message);
Result<AddressEvent> decode_address(Message message);
Result<NeighbourEvent> decode_neighbour(Message message);
Result<RouteEvent> decode_route(Message message);
Result<NexthopEvent> decode_nexthop(Message message);

// Whichever kind it is. No value: a kind or an address family that the mirror has no use for (bridge, MPLS, multicast
// routing, the kernel's proxy entries); that is no error.
Result<std::optional<Event>> decode(Message message);

// NLMSG_ERROR: the errno value, positive; 0 is an acknowledgement.
Result<int> decode_error(Message message);

}  // namespace twinspan::netlink
