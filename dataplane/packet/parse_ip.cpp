#include "dataplane/packet/parse_ip.hpp"

#include <algorithm>
#include <cstring>

namespace twinspan {
namespace {

std::uint64_t word_at(const void* p, unsigned offset) noexcept {
    std::uint32_t word;
    std::memcpy(&word, static_cast<const char*>(p) + offset, sizeof(word));
    return word;
}

// Sums the header as 32-bit words; a valid one folds to 0xffff (RFC 1071).
bool checksum_ok(const Ipv4Header& ip, unsigned header_bytes) noexcept {
    std::uint64_t sum = word_at(&ip, 0) + word_at(&ip, 4) + word_at(&ip, 8) + word_at(&ip, 12) + word_at(&ip, 16);
    for (unsigned i = sizeof(Ipv4Header); i < header_bytes; i += 4) {
        sum += word_at(&ip, i);
    }
    sum = (sum & 0xffffffffu) + (sum >> 32);
    sum = (sum & 0xffffu) + (sum >> 16);
    sum = (sum & 0xffffu) + (sum >> 16);
    return ((sum & 0xffffu) + (sum >> 16)) == 0xffff;
}

bool is_echo(std::uint8_t protocol, std::uint8_t type) noexcept {
    return protocol == +IpProtocol::icmp ? type == 8 || type == 0 : type == 128 || type == 129;
}

bool holds(const PacketMeta& pm, std::size_t l4_header_bytes) noexcept {
    return pm.l3_length >= pm.l4_offset + l4_header_bytes;
}

Verdict parse_l4(rte_mbuf& m, PacketMeta& pm) noexcept {
    pm.src_port = pm.dst_port = {};
    if ((pm.flags & meta_flag::kLaterFragment) != 0) [[unlikely]] {
        return Verdict::keep();
    }
    bool whole = true;
    switch (static_cast<IpProtocol>(pm.protocol)) {
        case IpProtocol::tcp:
        case IpProtocol::udp:
            whole = holds(pm, pm.protocol == +IpProtocol::tcp ? sizeof(TcpHeader) : sizeof(UdpHeader));
            if (whole) [[likely]] {
                const auto& ports = header_at<UdpHeader>(m, pm.l4_offset);
                pm.src_port = ports.src_port;
                pm.dst_port = ports.dst_port;
            }
            break;
        case IpProtocol::icmp:
        case IpProtocol::icmpv6:
            whole = holds(pm, sizeof(IcmpHeader));
            if (whole && is_echo(pm.protocol, header_at<IcmpHeader>(m, pm.l4_offset).type)) {
                pm.src_port = pm.dst_port = header_at<IcmpHeader>(m, pm.l4_offset).id;
            }
            break;
        case IpProtocol::esp:
            whole = holds(pm, sizeof(EspHeader));
            break;
        default:
            break;
    }
    if (whole) [[likely]] {
        return Verdict::keep();
    }
    return (pm.flags & meta_flag::kFragment) != 0 ? Drop::fragment_tiny : Drop::malformed_frame;
}

void cut_padding(rte_mbuf& m, const PacketMeta& pm) noexcept {
    m.data_len = pm.l3_length;
    m.pkt_len = pm.l3_length;
}

Verdict parse_ipv4(rte_mbuf& m, PacketMeta& pm) noexcept {
    const auto& ip = header_at<Ipv4Header>(m, 0);
    const unsigned header_bytes = ip.header_bytes();
    const unsigned total = ip.total_length.host();
    if (header_bytes < sizeof(Ipv4Header) || total < header_bytes || total > m.data_len ||
        !checksum_ok(ip, header_bytes)) [[unlikely]] {
        return Drop::bad_ip_header;
    }
    pm.ip = IpVersion::v4;
    pm.protocol = ip.protocol;
    pm.l4_offset = static_cast<std::uint8_t>(header_bytes);
    pm.l3_length = static_cast<std::uint16_t>(total);
    if ((ip.fragment.raw & (kIpv4MoreFragments.raw | kIpv4FragmentOffset.raw)) != 0) [[unlikely]] {
        pm.flags |= meta_flag::kFragment;
        if ((ip.fragment.raw & kIpv4FragmentOffset.raw) != 0) {
            pm.flags |= meta_flag::kLaterFragment;
        }
        // RFC 1858 section 3.2, RFC 3128: it would write over the ports or the flags of the first one.
        if (ip.protocol == +IpProtocol::tcp && (ip.fragment.host() & kIpv4FragmentOffset.host()) == 1) {
            return Drop::fragment_tiny;
        }
    }
    cut_padding(m, pm);
    return parse_l4(m, pm);
}

// RFC 8200 section 4: the extension headers that a router may find on its way to the ports.
enum : std::uint8_t { kHopByHop = 0, kRouting = 43, kFragmentHeader = 44, kDestinationOptions = 60 };

Verdict walk_extensions(rte_mbuf& m, PacketMeta& pm, unsigned offset) noexcept {
    while (pm.protocol == kHopByHop || pm.protocol == kRouting || pm.protocol == kFragmentHeader ||
           pm.protocol == kDestinationOptions) {
        if (offset + 8u > pm.l3_length) {
            return Drop::malformed_frame;
        }
        const auto* header = rte_pktmbuf_mtod_offset(&m, const std::uint8_t*, offset);
        unsigned bytes = 8;
        if (pm.protocol == kFragmentHeader) {
            pm.flags |= meta_flag::kFragment;
            if (((header[2] << 8 | header[3]) & 0xfff8) != 0) {
                pm.flags |= meta_flag::kLaterFragment;
            }
        } else {
            bytes += header[1] * 8u;
        }
        const bool later = (pm.flags & meta_flag::kLaterFragment) != 0;
        pm.protocol = header[0];
        offset += bytes;
        if (offset > 0xff || offset > pm.l3_length) {
            return Drop::malformed_frame;
        }
        if (later) {
            break;  // what follows is payload, not a header
        }
    }
    pm.l4_offset = static_cast<std::uint8_t>(offset);
    return Verdict::keep();
}

Verdict parse_ipv6(rte_mbuf& m, PacketMeta& pm) noexcept {
    if (m.data_len < sizeof(Ipv6Header)) [[unlikely]] {
        return Drop::malformed_frame;
    }
    const auto& ip = header_at<Ipv6Header>(m, 0);
    const unsigned total = sizeof(Ipv6Header) + ip.payload_length.host();
    if (total > m.data_len) [[unlikely]] {
        return Drop::bad_ip_header;
    }
    pm.ip = IpVersion::v6;
    pm.protocol = ip.next_header;
    pm.l3_length = static_cast<std::uint16_t>(total);
    if (const Verdict walked = walk_extensions(m, pm, sizeof(Ipv6Header)); !walked.kept()) [[unlikely]] {
        return walked;
    }
    cut_padding(m, pm);
    return parse_l4(m, pm);
}

}  // namespace

Verdict parse_ip(rte_mbuf& m, PacketMeta& pm) noexcept {
    if (m.data_len < sizeof(Ipv4Header) || m.nb_segs != 1) [[unlikely]] {
        return Drop::malformed_frame;
    }
    switch (*rte_pktmbuf_mtod(&m, const std::uint8_t*) >> 4) {
        case 4:
            return parse_ipv4(m, pm);
        case 6:
            return parse_ipv6(m, pm);
        default:
            return Drop::bad_ip_header;
    }
}

}  // namespace twinspan
