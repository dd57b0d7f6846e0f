// What both halves of the planner know about prefixes. Internal to control/model.
#pragma once

#include "control/config/prefix.hpp"
#include "dataplane/base/prefix.hpp"

namespace twinspan {

// Multicast and link-local: for Linux, whatever a route says.
inline bool is_for_us_by_nature(const IpPrefix& prefix) noexcept {
    static constexpr IpPrefix kMulticast4{{IpFamily::v4, {224}}, 4};
    static constexpr IpPrefix kMulticast6{{IpFamily::v6, {0xff}}, 8};
    return kMulticast4.contains(prefix) || kMulticast6.contains(prefix) || to_prefix(kLinkLocal6).contains(prefix);
}

}  // namespace twinspan
