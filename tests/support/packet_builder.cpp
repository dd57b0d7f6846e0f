#include "tests/support/packet_builder.hpp"

#include "tests/support/checksum.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <stdexcept>

namespace twinspan::test {
namespace {

bool is_ip6(const std::string& address) { return address.contains(':'); }

Bytes address_bytes(const std::string& text) {
    if (is_ip6(text)) {
        const Ipv6Address a = ip6(text);
        return {a.begin(), a.end()};
    }
    Bytes out(4);
    const be32 a = ip4(text);
    std::memcpy(out.data(), &a, 4);
    return out;
}

void put16(Bytes& out, std::size_t at, std::uint16_t value) {
    out[at] = static_cast<std::uint8_t>(value >> 8);
    out[at + 1] = static_cast<std::uint8_t>(value);
}

std::uint16_t get16(std::span<const std::uint8_t> in, std::size_t at) {
    return static_cast<std::uint16_t>(in[at] << 8 | in[at + 1]);
}

void append16(Bytes& out, std::uint16_t value) {
    out.push_back(static_cast<std::uint8_t>(value >> 8));
    out.push_back(static_cast<std::uint8_t>(value));
}

void append32(Bytes& out, std::uint32_t value) {
    append16(out, static_cast<std::uint16_t>(value >> 16));
    append16(out, static_cast<std::uint16_t>(value));
}

// Not inlined: GCC 12 at -O3 sees overflows in vector::insert where there are none.
[[gnu::noinline]] void append(Bytes& out, std::span<const std::uint8_t> more) {
    out.insert(out.end(), more.begin(), more.end());
}

std::uint16_t l4_checksum(const PacketSpec& spec, std::uint8_t protocol, std::span<const std::uint8_t> l4) {
    Bytes addresses = address_bytes(spec.src);
    append(addresses, address_bytes(spec.dst));
    return transport_checksum(addresses, protocol, l4);
}

Bytes icmp_packet(const PacketSpec& spec, std::uint8_t type, std::uint8_t code, std::uint32_t rest,
                  std::span<const std::uint8_t> body) {
    Bytes l4{type, code, 0, 0};
    append32(l4, rest);
    append(l4, body);
    const bool v6 = is_ip6(spec.src);
    put16(l4, 2, v6 ? l4_checksum(spec, +IpProtocol::icmpv6, l4) : internet_checksum(l4));
    return ip_packet(spec, v6 ? +IpProtocol::icmpv6 : +IpProtocol::icmp, l4);
}

Bytes echo(const PacketSpec& spec, bool reply) {
    const bool v6 = is_ip6(spec.src);
    const auto type = static_cast<std::uint8_t>(v6 ? (reply ? 129 : 128) : (reply ? 0 : 8));
    return icmp_packet(spec, type, 0, static_cast<std::uint32_t>(spec.src_port) << 16 | (spec.sequence & 0xffffu),
                       spec.payload);
}

}  // namespace

be32 ip4(const std::string& text) {
    be32 out{};
    if (inet_pton(AF_INET, text.c_str(), &out) != 1) {
        throw std::invalid_argument(text);
    }
    return out;
}

Ipv6Address ip6(const std::string& text) {
    Ipv6Address out{};
    if (inet_pton(AF_INET6, text.c_str(), out.data()) != 1) {
        throw std::invalid_argument(text);
    }
    return out;
}

Bytes text_bytes(std::string_view text) { return {text.begin(), text.end()}; }

Bytes filler(std::size_t size) {
    Bytes out(size);
    std::ranges::generate(out, [i = 0]() mutable { return static_cast<std::uint8_t>(i++); });
    return out;
}

Bytes ip_packet(const PacketSpec& spec, std::uint8_t protocol, std::span<const std::uint8_t> l4) {
    Bytes out;
    if (is_ip6(spec.src)) {
        append32(out, 6u << 28 | static_cast<std::uint32_t>(spec.tos) << 20 | spec.flow_label);
        append16(out, static_cast<std::uint16_t>(l4.size()));
        append(out, std::array{protocol, spec.ttl});
    } else {
        const std::size_t header = 20 + spec.ip_options.size();
        append(out, std::array{static_cast<std::uint8_t>(0x40 | header / 4), spec.tos});
        append16(out, static_cast<std::uint16_t>(header + l4.size()));
        append16(out, spec.id);
        append16(out, spec.fragment);
        append(out, std::array{spec.ttl, protocol, std::uint8_t{0}, std::uint8_t{0}});
    }
    append(out, address_bytes(spec.src));
    append(out, address_bytes(spec.dst));
    if (!is_ip6(spec.src)) {
        append(out, spec.ip_options);
        put16(out, 10, internet_checksum(out));
    }
    append(out, l4);
    return out;
}

Bytes udp_packet(const PacketSpec& spec) {
    Bytes l4;
    append16(l4, spec.src_port);
    append16(l4, spec.dst_port);
    append16(l4, static_cast<std::uint16_t>(8 + spec.payload.size()));
    append16(l4, 0);
    append(l4, spec.payload);
    if (spec.udp_checksum) {
        const std::uint16_t sum = l4_checksum(spec, +IpProtocol::udp, l4);
        put16(l4, 6, sum == 0 ? 0xffff : sum);  // RFC 768: zero means "none"
    }
    return ip_packet(spec, +IpProtocol::udp, l4);
}

Bytes tcp_packet(const PacketSpec& spec) {
    Bytes l4;
    append16(l4, spec.src_port);
    append16(l4, spec.dst_port);
    append32(l4, spec.sequence);
    append32(l4, 0);
    append(l4, std::array{static_cast<std::uint8_t>((20 + spec.tcp_options.size()) / 4 << 4), spec.tcp_flags});
    append16(l4, 0xffff);
    append32(l4, 0);
    append(l4, spec.tcp_options);
    append(l4, spec.payload);
    put16(l4, 16, l4_checksum(spec, +IpProtocol::tcp, l4));
    return ip_packet(spec, +IpProtocol::tcp, l4);
}

Bytes echo_request(const PacketSpec& spec) { return echo(spec, false); }
Bytes echo_reply(const PacketSpec& spec) { return echo(spec, true); }

Bytes icmp_error_packet(const PacketSpec& spec, std::uint8_t type, std::uint8_t code,
                        std::span<const std::uint8_t> original, std::uint32_t rest) {
    return icmp_packet(spec, type, code, rest, original);
}

Bytes ethernet_frame(const MacAddress& dst, const MacAddress& src, std::span<const VlanTag> tags,
                     std::span<const std::uint8_t> packet) {
    Bytes out(dst.begin(), dst.end());
    append(out, src);
    for (const VlanTag& tag : tags) {
        append16(out, tag.tpid.host());
        append16(out, tag.tci.host());
    }
    append16(out, packet.empty() || packet[0] >> 4 == 4 ? kEtherTypeIpv4.host() : kEtherTypeIpv6.host());
    append(out, packet);
    return out;
}

bool checksums_right(std::span<const std::uint8_t> packet) {
    const bool v6 = packet[0] >> 4 == 6;
    const std::size_t header = v6 ? 40 : (packet[0] & 0x0fu) * 4u;
    if (!v6 && internet_checksum(packet.first(header)) != 0) {
        return false;
    }
    const std::uint8_t protocol = v6 ? packet[6] : packet[9];
    const std::span l4 = packet.subspan(header, (v6 ? 40u + get16(packet, 4) : get16(packet, 2)) - header);
    const std::span addresses = v6 ? packet.subspan(8, 32) : packet.subspan(12, 8);
    if (protocol == +IpProtocol::icmp) {
        return internet_checksum(l4) == 0;
    }
    if (protocol == +IpProtocol::udp && !v6 && get16(l4, 6) == 0) {
        return true;
    }
    if (protocol == +IpProtocol::tcp || protocol == +IpProtocol::udp || protocol == +IpProtocol::icmpv6) {
        return transport_checksum(addresses, protocol, l4) == 0;
    }
    return true;
}

void fill_meta(rte_mbuf& m, Zone zone) {
    const std::span packet{rte_pktmbuf_mtod(&m, const std::uint8_t*), m.data_len};
    PacketMeta& out = meta(m);
    out = PacketMeta{};
    out.zone = zone;
    out.tunnel = out.egress = out.netdev = kNone;
    const bool v6 = packet[0] >> 4 == 6;
    out.ip = v6 ? IpVersion::v6 : IpVersion::v4;
    out.protocol = v6 ? packet[6] : packet[9];
    out.l4_offset = static_cast<std::uint8_t>(v6 ? 40 : (packet[0] & 0x0fu) * 4u);
    out.l3_length = static_cast<std::uint16_t>(v6 ? 40u + get16(packet, 4) : get16(packet, 2));
    if (!v6 && (get16(packet, 6) & 0x3fff) != 0) {
        const bool later = (get16(packet, 6) & 0x1fff) != 0;
        out.flags = static_cast<std::uint8_t>(meta_flag::kFragment | (later ? meta_flag::kLaterFragment : 0));
        if (later) {
            return;
        }
    }
    const std::span l4 = packet.subspan(out.l4_offset);
    if (out.protocol == +IpProtocol::tcp || out.protocol == +IpProtocol::udp) {
        out.src_port = to_be16(get16(l4, 0));
        out.dst_port = to_be16(get16(l4, 2));
    } else if ((out.protocol == +IpProtocol::icmp && (l4[0] == 0 || l4[0] == 8)) ||
               (out.protocol == +IpProtocol::icmpv6 && (l4[0] == 128 || l4[0] == 129))) {
        out.src_port = out.dst_port = to_be16(get16(l4, 4));
    }
}

}  // namespace twinspan::test
