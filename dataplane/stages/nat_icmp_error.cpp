#include "dataplane/stages/nat_icmp_error.hpp"

#include "dataplane/packet/checksum.hpp"
#include "dataplane/stages/nat_classify.hpp"
#include "dataplane/state/nat_table.hpp"

#include <rte_ip.h>

#include <cstddef>

namespace twinspan {
namespace {

// Writes fields at offsets of the packet, and sums up what that does to a checksum over them. All offsets are even.
class Rewriter {
public:
    explicit Rewriter(rte_mbuf& m) noexcept : m_(m) {}

    template <class Field>
    Field read(unsigned offset) const noexcept {
        Field value;
        __builtin_memcpy(&value, rte_pktmbuf_mtod_offset(&m_, const std::byte*, offset), sizeof(value));
        return value;
    }
    template <class Field>
    ChecksumDelta write(unsigned offset, Field value) noexcept {
        const auto before = read<Field>(offset);
        if (before == value) {
            return {};
        }
        const ChecksumDelta delta{before, value};
        __builtin_memcpy(rte_pktmbuf_mtod_offset(&m_, std::byte*, offset), &value, sizeof(value));
        total_ += delta;
        return delta;
    }
    ChecksumDelta total() const noexcept { return total_; }

private:
    rte_mbuf& m_;
    ChecksumDelta total_;
};

struct Ends {
    be32 src, dst;
    be16 src_port, dst_port;  // an ICMP query has its identifier in both; 0 where a protocol has none
};

// The packet in the error: its header, and at least eight bytes more where NAT looks into them (RFC 792).
struct Embedded {
    unsigned ip;        // offsets from the data's start
    unsigned l4;
    unsigned end;
    std::uint8_t protocol;
    Ends ends;
};

constexpr unsigned l4_bytes(std::uint8_t protocol) noexcept { return nat_has_ports(protocol) ? 8 : 0; }

// RFC 5508 REQ-3: the error's own checksum, and that of the IP header it quotes. The transport's is not looked at.
bool checksums_hold(rte_mbuf& m, const Embedded& e) noexcept {
    const unsigned icmp = meta(m).l4_offset;
    constexpr std::uint16_t kValid = 0xffff;
    return rte_raw_cksum(&header_at<std::byte>(m, icmp), e.end - icmp) == kValid &&
           rte_raw_cksum(&header_at<std::byte>(m, e.ip), e.l4 - e.ip) == kValid;
}

Verdict parse(rte_mbuf& m, Embedded& out) noexcept {
    const PacketMeta& md = meta(m);
    out.ip = md.l4_offset + static_cast<unsigned>(sizeof(IcmpHeader));
    out.end = nat_bytes(m, md);
    if (out.ip + sizeof(Ipv4Header) > out.end) {
        return Drop::nat_bad_error;
    }
    const auto& ip = header_at<Ipv4Header>(m, out.ip);
    out.l4 = out.ip + ip.header_bytes();
    if (ip.version_ihl >> 4 != 4 || ip.header_bytes() < sizeof(Ipv4Header) ||
        out.l4 + l4_bytes(ip.protocol) > out.end || !checksums_hold(m, out)) {
        return Drop::nat_bad_error;
    }
    if ((ip.fragment.raw & kIpv4FragmentOffset.raw) != 0) {
        return Drop::nat_unsupported;  // no ports in there
    }
    out.protocol = ip.protocol;
    out.ends = {ip.src, ip.dst, {}, {}};
    if (ip.protocol == +IpProtocol::tcp || ip.protocol == +IpProtocol::udp) {
        const auto& ports = header_at<UdpHeader>(m, out.l4);  // TCP begins with the same two
        out.ends.src_port = ports.src_port;
        out.ends.dst_port = ports.dst_port;
    } else if (ip.protocol == +IpProtocol::icmp) {
        const auto& icmp = header_at<IcmpHeader>(m, out.l4);
        if (!is_icmp_query(icmp.type)) {
            return Drop::nat_unsupported;
        }
        out.ends.src_port = out.ends.dst_port = icmp.id;
    }
    return Verdict::keep();
}

template <class Update>
void rewrite_checksum(Rewriter& packet, const Embedded& e, unsigned at, Update update) noexcept {
    if (e.l4 + at + sizeof(be16) <= e.end) {
        packet.write(e.l4 + at, update(packet.read<be16>(e.l4 + at)));
    }
}

void rewrite_transport(Rewriter& packet, const Embedded& e, const Ends& to, ChecksumDelta of_addresses) noexcept {
    if (e.protocol == +IpProtocol::icmp) {
        const ChecksumDelta of_id = packet.write(e.l4 + static_cast<unsigned>(offsetof(IcmpHeader, id)), to.src_port);
        const unsigned at = e.l4 + static_cast<unsigned>(offsetof(IcmpHeader, checksum));
        const auto sequence = packet.read<be16>(e.l4 + static_cast<unsigned>(offsetof(IcmpHeader, sequence)));
        packet.write(at, checksum_of_echo(of_id.apply(packet.read<be16>(at)), to.src_port, sequence));
        return;
    }
    if (e.protocol != +IpProtocol::tcp && e.protocol != +IpProtocol::udp) {
        if (has_checksum_of_addresses(e.protocol)) {
            rewrite_checksum(packet, e, kChecksumOfAddressesAt, [of_addresses](be16 before) noexcept {
                return checksum_of_addresses(before, of_addresses);
            });
        }
        return;
    }
    const ChecksumDelta of_ports = packet.write(e.l4, to.src_port) + packet.write(e.l4 + 2, to.dst_port);
    const ChecksumDelta of_all = of_addresses + of_ports;  // the pseudo-header has the addresses
    if (e.protocol == +IpProtocol::udp) {
        const unsigned at = e.l4 + static_cast<unsigned>(offsetof(UdpHeader, checksum));
        packet.write(at, of_all.apply_udp(packet.read<be16>(at)));
    } else {
        rewrite_checksum(packet, e, static_cast<unsigned>(offsetof(TcpHeader, checksum)),
                         [of_all](be16 before) noexcept { return of_all.apply(before); });
    }
}

// RFC 5508 REQ-4, REQ-5: the embedded packet becomes what its sender sent, or its receiver would have got; the error
// keeps type and code, and its checksum sees what has changed.
void rewrite_embedded(rte_mbuf& m, const Embedded& e, const Ends& to) noexcept {
    Rewriter packet{m};
    const ChecksumDelta of_addresses = packet.write(e.ip + static_cast<unsigned>(offsetof(Ipv4Header, src)), to.src) +
                                       packet.write(e.ip + static_cast<unsigned>(offsetof(Ipv4Header, dst)), to.dst);
    const unsigned ip_checksum_at = e.ip + static_cast<unsigned>(offsetof(Ipv4Header, checksum));
    packet.write(ip_checksum_at, of_addresses.apply(packet.read<be16>(ip_checksum_at)));
    rewrite_transport(packet, e, to, of_addresses);
    auto& icmp = header_at<IcmpHeader>(m, meta(m).l4_offset);
    icmp.checksum = packet.total().apply(icmp.checksum);
}

void rewrite_addresses(rte_mbuf& m, be32 src, be32 dst) noexcept {
    auto& ip = header_at<Ipv4Header>(m, 0);
    ip.checksum = (ChecksumDelta{ip.src, src} + ChecksumDelta{ip.dst, dst}).apply(ip.checksum);
    ip.src = src;
    ip.dst = dst;
}

// As the session's keys have it: a query has its identifier on our side alone.
be16 remote_port(const Embedded& e, be16 port) noexcept { return e.protocol == +IpProtocol::icmp ? be16{} : port; }

}  // namespace

Verdict translate_icmp_error_out(NatTable& nat, rte_mbuf& m, std::uint16_t pool) noexcept {
    Embedded e;
    if (const Verdict verdict = parse(m, e); !verdict.kept()) {
        return verdict;
    }
    const auto& [src, dst, src_port, dst_port] = e.ends;
    const NatKey key = nat_key(dst, src, dst_port, remote_port(e, src_port), e.protocol, pool);
    const NatSession* session = header_at<Ipv4Header>(m, 0).dst == src ? nat.find_inside(key) : nullptr;
    if (session == nullptr) {
        return Drop::nat_no_session;
    }
    const NatKey outside = session->outside();
    const be16 port = outside.port();
    rewrite_embedded(
        m, e,
        {outside.remote(), outside.address(), e.protocol == +IpProtocol::icmp ? port : outside.remote_port(), port});
    // The sender may be a router on the way to the host: its address is private as well (RFC 5508 REQ-5c).
    rewrite_addresses(m, outside.address(), outside.remote());
    return Verdict::keep();
}

Verdict translate_icmp_error_in(NatTable& nat, rte_mbuf& m) noexcept {
    Embedded e;
    if (const Verdict verdict = parse(m, e); !verdict.kept()) {
        return verdict;
    }
    const auto& [src, dst, src_port, dst_port] = e.ends;
    const NatKey key = nat_key(src, dst, src_port, remote_port(e, dst_port), e.protocol);
    const auto& ip = header_at<Ipv4Header>(m, 0);
    const NatSession* session = ip.dst == src ? nat.find_outside(key) : nullptr;
    if (session == nullptr) {
        return Drop::nat_no_session;
    }
    const NatKey inside = session->inside();
    const be16 port = inside.port();
    rewrite_embedded(
        m, e, {inside.address(), inside.remote(), port, e.protocol == +IpProtocol::icmp ? port : inside.remote_port()});
    // A remote host that has another address inside hides the routers on its way, too.
    rewrite_addresses(m, inside.remote() == dst ? ip.src : inside.remote(), inside.address());
    return Verdict::keep();
}

}  // namespace twinspan
