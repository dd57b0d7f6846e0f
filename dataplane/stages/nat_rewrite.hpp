// How a session rewrites a packet, either way. Thread: worker.
#pragma once

#include "dataplane/stages/nat_classify.hpp"
#include "dataplane/state/nat_session.hpp"

namespace twinspan {

// Neither TCP nor UDP: the identifier of an ICMP query, or nothing but addresses.
inline void rewrite_other(rte_mbuf& m, PacketMeta& md, ChecksumDelta l4_delta, ChecksumDelta ip_delta,
                          be16 id) noexcept {
    if (md.protocol == +IpProtocol::icmp) [[likely]] {
        auto& icmp = header_at<IcmpHeader>(m, md.l4_offset);
        icmp.id = id;
        icmp.checksum = checksum_of_echo(l4_delta.apply(icmp.checksum), id, icmp.sequence);
        md.src_port = md.dst_port = id;
    } else if (has_checksum_of_addresses(md.protocol) &&
               md.l4_offset + kChecksumOfAddressesAt + sizeof(be16) <= nat_bytes(m, md)) {
        auto& checksum = header_at<be16>(m, md.l4_offset + kChecksumOfAddressesAt);
        checksum = checksum_of_addresses(checksum, ip_delta);
    }
}

// Each returns whether the packet keeps the session alive.
inline bool rewrite_out(rte_mbuf& m, PacketMeta& md, NatSession& session) noexcept {
    const NatKey outside = session.outside();
    auto& ip = header_at<Ipv4Header>(m, 0);
    ip.src = outside.address();
    ip.checksum = session.ip_delta.apply(ip.checksum);
    if (md.protocol == +IpProtocol::tcp) {
        auto& tcp = header_at<TcpHeader>(m, md.l4_offset);
        md.src_port = tcp.src_port = outside.port();
        tcp.checksum = session.l4_delta.apply(tcp.checksum);
        return nat_tcp::track_outbound(session.tcp, tcp.flags);
    }
    if (md.protocol == +IpProtocol::udp) {
        auto& udp = header_at<UdpHeader>(m, md.l4_offset);
        md.src_port = udp.src_port = outside.port();
        udp.checksum = session.l4_delta.apply_udp(udp.checksum);
    } else {
        rewrite_other(m, md, session.l4_delta, session.ip_delta, outside.port());
    }
    session.spoke(nat_tcp::kAckOut);
    return true;
}

inline bool rewrite_in(rte_mbuf& m, PacketMeta& md, NatSession& session) noexcept {
    const NatKey inside = session.inside();
    const ChecksumDelta ip_delta = session.ip_delta.inverse();
    const ChecksumDelta l4_delta = session.l4_delta.inverse();
    auto& ip = header_at<Ipv4Header>(m, 0);
    ip.dst = inside.address();
    ip.checksum = ip_delta.apply(ip.checksum);
    if (md.protocol == +IpProtocol::tcp) {
        auto& tcp = header_at<TcpHeader>(m, md.l4_offset);
        md.dst_port = tcp.dst_port = inside.port();
        tcp.checksum = l4_delta.apply(tcp.checksum);
        return nat_tcp::track_inbound(session.tcp, tcp.flags);
    }
    if (md.protocol == +IpProtocol::udp) {
        auto& udp = header_at<UdpHeader>(m, md.l4_offset);
        md.dst_port = udp.dst_port = inside.port();
        udp.checksum = l4_delta.apply_udp(udp.checksum);
    } else {
        rewrite_other(m, md, l4_delta, ip_delta, inside.port());
    }
    session.spoke(nat_tcp::kAckIn);
    return true;
}

// The remote end, of a session that has another one inside (kNatTwice). Checksums are right already: the session's
// deltas are of both ends.
inline void rewrite_remote_out(rte_mbuf& m, PacketMeta& md, const NatSession& session) noexcept {
    const NatKey outside = session.outside();
    header_at<Ipv4Header>(m, 0).dst = outside.remote();
    if (md.protocol == +IpProtocol::tcp || md.protocol == +IpProtocol::udp) {
        md.dst_port = header_at<UdpHeader>(m, md.l4_offset).dst_port = outside.remote_port();
    }
}

inline void rewrite_remote_in(rte_mbuf& m, PacketMeta& md, const NatSession& session) noexcept {
    const NatKey inside = session.inside();
    header_at<Ipv4Header>(m, 0).src = inside.remote();
    if (md.protocol == +IpProtocol::tcp || md.protocol == +IpProtocol::udp) {
        md.src_port = header_at<UdpHeader>(m, md.l4_offset).src_port = inside.remote_port();
    }
}

}  // namespace twinspan
