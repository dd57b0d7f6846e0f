#include "dataplane/config/tunnel.hpp"

#include "dataplane/packet/checksum.hpp"

#include <cstring>

namespace twinspan {
namespace {

Ipv4Header outer_ipv4(const Tunnel& tunnel, IpProtocol protocol) noexcept {
    Ipv4Header ip{.version_ihl = 0x45,
                  .tos = 0,
                  .total_length = {},
                  .id = {},
                  .fragment = tunnel.df == DfRule::set ? kIpv4DontFragment : be16{},
                  .ttl = tunnel.hop_limit,
                  .protocol = +protocol,
                  .checksum = {},
                  .src = tunnel.local.v4(),
                  .dst = tunnel.remote.v4()};
    std::array<std::uint16_t, sizeof ip / 2> words;
    std::memcpy(words.data(), &ip, sizeof ip);
    std::uint32_t sum = 0;
    for (const std::uint16_t word : words) {
        sum += word;
    }
    ip.checksum.raw = static_cast<std::uint16_t>(~fold_checksum(sum));
    return ip;
}

Ipv6Header outer_ipv6(const Tunnel& tunnel, IpProtocol protocol) noexcept {
    return {.version_class_flow = to_be32(6u << 28),
            .payload_length = {},
            .next_header = +protocol,
            .hop_limit = tunnel.hop_limit,
            .src = tunnel.local.v6(),
            .dst = tunnel.remote.v6()};
}

}  // namespace

void make_outer_header(Tunnel& tunnel) noexcept {
    const IpProtocol protocol = tunnel.encapsulation.udp() ? IpProtocol::udp : IpProtocol::esp;
    std::uint8_t* at = tunnel.outer.data();
    const auto append = [&at](const auto& header) {
        std::memcpy(at, &header, sizeof header);
        at += sizeof header;
    };
    tunnel.outer = {};
    if (tunnel.local.is_v4()) {
        append(outer_ipv4(tunnel, protocol));
    } else {
        append(outer_ipv6(tunnel, protocol));
    }
    if (tunnel.encapsulation.udp()) {
        append(UdpHeader{.src_port = tunnel.encapsulation.local_port,
                         .dst_port = tunnel.encapsulation.remote_port,
                         .length = {},
                         .checksum = {}});
    }
    tunnel.varies = tunnel.df != DfRule::set || tunnel.hop_limit == kCopyHopLimit;
    tunnel.outer_len = static_cast<std::uint8_t>(at - tunnel.outer.data());
}

}  // namespace twinspan
