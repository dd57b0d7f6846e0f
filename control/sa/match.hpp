// Which tunnel and direction an SA of Linux is for, or why it is none of ours.
#pragma once

#include "control/config/config.hpp"
#include "control/metrics.hpp"
#include "control/netlink/xfrm_types.hpp"
#include "crypto/suite.hpp"

#include <cstddef>
#include <expected>
#include <string>

namespace twinspan {

struct SaMatch {
    std::size_t tunnel = 0;
    bool outbound = false;
    Suite suite = Suite::aes_256_gcm;
};

struct SaRefusal {
    Metric metric = Metric::xfrm_sa_unsupported;
    std::string why;
};

// `sa` is not larval and has an if_id.
std::expected<SaMatch, SaRefusal> match_sa(const Config& config, const netlink::SaEvent& sa);

}  // namespace twinspan
