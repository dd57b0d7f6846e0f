#include "dataplane/stages/udp_decap.hpp"

#include "dataplane/config/snapshot.hpp"

namespace twinspan {
namespace {

constexpr unsigned kMostL4Offset = 0xff;  // what PacketMeta holds

// Bytes behind the UDP header, or none where the length it gives is not in the packet.
bool payload_of(rte_mbuf& m, const PacketMeta& pm, unsigned& bytes) noexcept {
    const unsigned there = pm.l3_length - pm.l4_offset;  // Parse: a UDP header at least
    const unsigned told = header_at<UdpHeader>(m, pm.l4_offset).length.host();
    bytes = told - static_cast<unsigned>(sizeof(UdpHeader));
    return told >= sizeof(UdpHeader) && told <= there;
}

Verdict decap(const Snapshot& config, rte_mbuf& m) noexcept {
    PacketMeta& pm = meta(m);
    if (pm.protocol != +IpProtocol::udp || !config.takes_esp(pm.dst_port)) {
        return Verdict::keep();
    }
    unsigned bytes = 0;
    if (!payload_of(m, pm, bytes)) [[unlikely]] {
        return Drop::malformed_frame;
    }
    const unsigned at = pm.l4_offset + static_cast<unsigned>(sizeof(UdpHeader));
    if (bytes == 1 && header_at<std::uint8_t>(m, at) == kNatKeepalive) {
        return Drop::nat_keepalive;
    }
    if (bytes >= sizeof(kNonEspMarker) && header_at<be32>(m, at) == kNonEspMarker) {
        return Verdict::keep();  // IKE
    }
    if (bytes < sizeof(EspHeader)) [[unlikely]] {
        return Drop::esp_bad_length;
    }
    if (at > kMostL4Offset) [[unlikely]] {
        return Drop::malformed_frame;  // behind extension headers that no peer has a reason to send
    }
    pm.protocol = +IpProtocol::esp;
    pm.l4_offset = static_cast<std::uint8_t>(at);
    pm.l3_length = static_cast<std::uint16_t>(at + bytes);
    m.data_len = pm.l3_length;
    m.pkt_len = pm.l3_length;
    return Verdict::keep();
}

}  // namespace

void UdpDecap::process(Context& ctx, Batch& batch) noexcept {
    batch.for_each(ctx, [&ctx](rte_mbuf& m) noexcept { return decap(*ctx.config, m); });
}

}  // namespace twinspan
