// The requests that make the kernel list what it has.
#pragma once

#include "control/netlink/mirror_state.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace twinspan::netlink {

// In the order in which they build on each other.
std::vector<Part> in_dump_order(Parts parts);
// A whole message, strictly formed for NETLINK_GET_STRICT_CHK.
std::vector<std::byte> dump_request(Part part, std::uint32_t sequence);

}  // namespace twinspan::netlink
