// Which tunnel and direction an SA of Linux is for, or why it is none of ours.
#pragma once

#include "control/config/config.hpp"
#include "control/metrics.hpp"
#include "control/netlink/xfrm_types.hpp"
#include "crypto/suite.hpp"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <unordered_map>

namespace twinspan {

struct SaMatch {
    std::size_t tunnel = 0;
    bool outbound = false;
    Suite suite = Suite::aes_256_gcm;
    std::uint8_t icv_len = 16;  // bytes
};

struct SaRefusal {
    Metric metric = Metric::xfrm_sa_unsupported;
    std::string why;
};

class SaMatcher {
public:
    explicit SaMatcher(const Config& config);  // which outlives this, and whose tunnels stay

    // `sa` is not larval and has an if_id.
    std::expected<SaMatch, SaRefusal> match(const netlink::SaEvent& sa) const;

private:
    const Config& config_;
    std::unordered_map<std::uint32_t, std::size_t> by_if_id_;
};

// Whether a tunnel's packets may go to another address than the configured one: Linux or an authenticated packet says
// that its peer is there. Empty: yes.
std::string refusal_of_peer(const Config& config, std::size_t tunnel, const IpAddress& peer);

}  // namespace twinspan
