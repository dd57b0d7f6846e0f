// Seals packets into their tunnels (RFC 4303 section 3.3, tunnel mode) and puts the outer IP header on, with a UDP
// header behind it where there is NAT on the way (RFC 3948). Needs: meta.tunnel, data at the inner IP header. Leaves:
// data at the outer header, meta.egress the outer path, packets in their order. Thread: worker.
#pragma once

#include "dataplane/packet/batch.hpp"

#include <string_view>

namespace twinspan {

class EspOut {
public:
    static constexpr std::string_view kName = "esp_out";
    void process(Context& ctx, Batch& batch) noexcept;
};

}  // namespace twinspan
