// Opens ESP packets that are for one of our tunnels (RFC 4303 section 3.4): SA by SPI, replay check, decryption,
// replay window, inner packet. Needs: Parse, Route (local), UdpDecap for what came in UDP, no fragments. Leaves: data
// at the inner IP header, zone tunnel, meta.tunnel. Thread: worker.
#pragma once

#include "dataplane/packet/batch.hpp"

#include <string_view>

namespace twinspan {

class EspIn {
public:
    static constexpr std::string_view kName = "esp_in";
    void process(Context& ctx, Batch& batch) noexcept;
};

}  // namespace twinspan
