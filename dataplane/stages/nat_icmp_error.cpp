#include "dataplane/stages/nat_icmp_error.hpp"

#include "dataplane/packet/checksum.hpp"
#include "dataplane/stages/nat_classify.hpp"
#include "dataplane/state/nat_table.hpp"

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
        const ChecksumDelta delta{read<Field>(offset), value};
        __builtin_memcpy(rte_pktmbuf_mtod_offset(&m_, std::byte*, offset), &value, sizeof(value));
        total_ += delta;
        return delta;
    }
    ChecksumDelta total() const noexcept { return total_; }

private:
    rte_mbuf& m_;
    ChecksumDelta total_;
};

// The packet in the error: headers and at least eight bytes more (RFC 792).
struct Embedded {
    unsigned ip;        // offsets from the data's start
    unsigned l4;
    unsigned end;
    std::uint8_t protocol;
    be32 src, dst;
    be16 src_port, dst_port;
};

constexpr unsigned kMinimumL4 = 8;

// `echo`: the ICMP query type that an error of this direction may be about.
Verdict parse(rte_mbuf& m, std::uint8_t echo, Embedded& out) noexcept {
    const PacketMeta& md = meta(m);
    out.ip = md.l4_offset + static_cast<unsigned>(sizeof(IcmpHeader));
    out.end = nat_bytes(m, md);
    if (out.ip + sizeof(Ipv4Header) > out.end) {
        return Drop::malformed_frame;
    }
    const auto& ip = header_at<Ipv4Header>(m, out.ip);
    out.l4 = out.ip + ip.header_bytes();
    if (ip.version_ihl >> 4 != 4 || ip.header_bytes() < sizeof(Ipv4Header) || out.l4 + kMinimumL4 > out.end) {
        return Drop::malformed_frame;
    }
    if ((ip.fragment.raw & kIpv4FragmentOffset.raw) != 0) {
        return Drop::nat_unsupported;  // no ports in there
    }
    out.protocol = ip.protocol;
    out.src = ip.src;
    out.dst = ip.dst;
    if (ip.protocol == +IpProtocol::tcp || ip.protocol == +IpProtocol::udp) {
        const auto& ports = header_at<UdpHeader>(m, out.l4);  // TCP begins with the same two
        out.src_port = ports.src_port;
        out.dst_port = ports.dst_port;
        return Verdict::keep();
    }
    const auto& icmp = header_at<IcmpHeader>(m, out.l4);
    if (ip.protocol != +IpProtocol::icmp || icmp.type != echo) {
        return Drop::nat_unsupported;
    }
    out.src_port = out.dst_port = icmp.id;
    return Verdict::keep();
}

enum class End : std::uint8_t { src, dst };

// RFC 5508 section 4.2: gives one end of the embedded packet another address and port. Returns what the ICMP checksum
// sees.
ChecksumDelta rewrite_embedded(rte_mbuf& m, const Embedded& e, End end, be32 address, be16 port) noexcept {
    Rewriter packet{m};
    const unsigned address_at =
        e.ip + static_cast<unsigned>(end == End::src ? offsetof(Ipv4Header, src) : offsetof(Ipv4Header, dst));
    const unsigned ip_checksum_at = e.ip + static_cast<unsigned>(offsetof(Ipv4Header, checksum));
    const ChecksumDelta of_address = packet.write(address_at, address);
    packet.write(ip_checksum_at, of_address.apply(packet.read<be16>(ip_checksum_at)));

    if (e.protocol == +IpProtocol::icmp) {
        const ChecksumDelta of_id = packet.write(e.l4 + static_cast<unsigned>(offsetof(IcmpHeader, id)), port);
        const unsigned at = e.l4 + static_cast<unsigned>(offsetof(IcmpHeader, checksum));
        packet.write(
            at, checksum_of_echo(of_id.apply(packet.read<be16>(at)), port, header_at<IcmpHeader>(m, e.l4).sequence));
        return packet.total();
    }
    const ChecksumDelta of_port = packet.write(e.l4 + (end == End::src ? 0 : 2), port);
    const ChecksumDelta of_both = of_address + of_port;  // the pseudo-header has the address
    if (e.protocol == +IpProtocol::udp) {
        const unsigned at = e.l4 + static_cast<unsigned>(offsetof(UdpHeader, checksum));
        packet.write(at, of_both.apply_udp(packet.read<be16>(at)));
    } else if (const unsigned at = e.l4 + static_cast<unsigned>(offsetof(TcpHeader, checksum));
               at + sizeof(be16) <= e.end) {
        packet.write(at, of_both.apply(packet.read<be16>(at)));
    }
    return packet.total();
}

void rewrite_icmp_checksum(rte_mbuf& m, ChecksumDelta delta) noexcept {
    auto& icmp = header_at<IcmpHeader>(m, meta(m).l4_offset);
    icmp.checksum = delta.apply(icmp.checksum);
}

be16 remote_port(const Embedded& e, be16 port) noexcept { return e.protocol == +IpProtocol::icmp ? be16{} : port; }

}  // namespace

Verdict translate_icmp_error_out(NatTable& nat, rte_mbuf& m, std::uint16_t pool) noexcept {
    Embedded e;
    if (const Verdict verdict = parse(m, kIcmpEchoReply, e); !verdict.kept()) {
        return verdict;
    }
    auto& ip = header_at<Ipv4Header>(m, 0);
    const NatKey key = nat_key(e.dst, e.src, e.dst_port, remote_port(e, e.src_port), e.protocol, pool);
    const NatSession* session = ip.dst == e.src ? nat.find_inside(key) : nullptr;
    if (session == nullptr) {
        return Drop::nat_no_session;
    }
    const NatKey outside = session->outside();
    rewrite_icmp_checksum(m, rewrite_embedded(m, e, End::dst, outside.address(), outside.port()));
    // The sender may be a router on the way to the host: its address is private as well (RFC 5508 section 4.2.2).
    ip.checksum = ChecksumDelta{ip.src, outside.address()}.apply(ip.checksum);
    ip.src = outside.address();
    return Verdict::keep();
}

Verdict translate_icmp_error_in(NatTable& nat, rte_mbuf& m) noexcept {
    Embedded e;
    if (const Verdict verdict = parse(m, kIcmpEchoRequest, e); !verdict.kept()) {
        return verdict;
    }
    auto& ip = header_at<Ipv4Header>(m, 0);
    const NatKey key = nat_key(e.src, e.dst, e.src_port, remote_port(e, e.dst_port), e.protocol);
    const NatSession* session = ip.dst == e.src ? nat.find_outside(key) : nullptr;
    if (session == nullptr) {
        return Drop::nat_no_session;
    }
    const NatKey inside = session->inside();
    rewrite_icmp_checksum(m, rewrite_embedded(m, e, End::src, inside.address(), inside.port()));
    ip.checksum = ChecksumDelta{ip.dst, inside.address()}.apply(ip.checksum);
    ip.dst = inside.address();
    return Verdict::keep();
}

}  // namespace twinspan
