// Who may send to whom, and which routes a peering may carry. Pure.
#pragma once

#include "control/config/config.hpp"
#include "dataplane/base/prefix.hpp"
#include "dataplane/base/zone.hpp"

#include <array>
#include <cstdint>
#include <string>

namespace twinspan {

// Snapshot::may_send. What Microsoft and the Internet send may go nowhere by itself: it reaches the inside as the
// answer of a NAT session (zone translated) or out of a tunnel.
std::array<std::uint8_t, kZoneCount> may_send_matrix() noexcept;

// Why a route to `prefix` through a leg of `zone` is not used; empty when it is.
std::string refusal(const Config& config, Zone zone, const IpPrefix& prefix);

}  // namespace twinspan
