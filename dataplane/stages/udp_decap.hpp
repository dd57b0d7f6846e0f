// What comes to us and is no ESP by its IP header: ESP in UDP (RFC 3948) gets its UDP header out of the way, the
// keepalives of a NAT's mapping end here, IKE and all else stays as it is. Needs: Parse, Route (local), no
// fragments of UDP. Leaves, for
// ESP: meta.protocol esp, meta.l4_offset at the SPI, meta.dst_port the UDP one. Thread: worker.
#pragma once

#include "dataplane/packet/batch.hpp"

#include <string_view>

namespace twinspan {

class UdpDecap {
public:
    static constexpr std::string_view kName = "udp_decap";
    void process(Context& ctx, Batch& batch) noexcept;
};

}  // namespace twinspan
