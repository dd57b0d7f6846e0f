// Replay windows between Linux's form and ours.
#pragma once

#include "control/netlink/xfrm_types.hpp"
#include "crypto/replay_window.hpp"

namespace twinspan {

// A kernel SA without a window tells nothing of numbers before its highest: they count as
// seen.
ReplayState from_kernel(const netlink::SaReplay& kernel);

// `form` says which form Linux wants and how large; its outbound number is kept.
netlink::SaReplay to_kernel(const ReplayState& state, const netlink::SaReplay& form);

// Ours for a kernel SA: Linux's size within our bounds. An SA without replay protection gets a window all the same, of
// 1024 numbers.
std::uint32_t window_bits(const netlink::SaReplay& kernel, std::uint8_t short_window) noexcept;

}  // namespace twinspan
