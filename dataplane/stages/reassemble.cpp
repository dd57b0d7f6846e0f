#include "dataplane/stages/reassemble.hpp"

#include "dataplane/packet/ecn.hpp"
#include "dataplane/packet/parse_ip.hpp"
#include "dataplane/state/reassembly.hpp"

#include <rte_ip.h>

#include <cstring>

namespace twinspan {
namespace {

constexpr std::uint8_t kHopByHop = 0, kRouting = 43, kFragmentHeader = 44, kDestinationOptions = 60;
constexpr unsigned kFragmentHeaderBytes = 8;

struct [[gnu::packed]] Ipv6FragmentHeader {  // RFC 8200 section 4.5
    std::uint8_t next_header;
    std::uint8_t reserved;
    be16 offset;  // in the upper 13 bits; the lowest: more follow
    be32 id;
};
static_assert(sizeof(Ipv6FragmentHeader) == kFragmentHeaderBytes);

// Where the fragment header stands, and the byte that announces it. Parse has walked to it.
struct Place {
    unsigned header, announced_at;
};
Place fragment_header(rte_mbuf& m) noexcept {
    Place place{sizeof(Ipv6Header), offsetof(Ipv6Header, next_header)};
    while (header_at<std::uint8_t>(m, place.announced_at) != kFragmentHeader) {
        place.announced_at = place.header;
        place.header += 8 + header_at<std::uint8_t>(m, place.header + 1) * 8u;
    }
    return place;
}

bool is_atomic(const Ipv6FragmentHeader& fragment) noexcept { return (fragment.offset.host() & 0xfff9) == 0; }

// RFC 6946: an IPv6 packet whose only fragment it is does not meet others. The fragment header is taken out.
void remove_fragment_header(rte_mbuf& m, Place place) noexcept {
    const unsigned before = place.header + meta(m).l2_length;
    header_at<std::uint8_t>(m, place.announced_at) = header_at<Ipv6FragmentHeader>(m, place.header).next_header;
    char* from = rte_pktmbuf_mtod(&m, char*) - meta(m).l2_length;
    std::memmove(from + kFragmentHeaderBytes, from, before);
    rte_pktmbuf_adj(&m, kFragmentHeaderBytes);
    auto& ip = header_at<Ipv6Header>(m, 0);
    ip.payload_length = to_be16(static_cast<std::uint16_t>(ip.payload_length.host() - kFragmentHeaderBytes));
}

std::span<const std::uint8_t> bytes_of(rte_mbuf& m, unsigned from, unsigned to) noexcept {
    const auto* data = rte_pktmbuf_mtod(&m, const std::uint8_t*);
    return {data + from, data + to};
}

FragmentView view_ipv4(rte_mbuf& m, const PacketMeta& pm) noexcept {
    const auto& ip = header_at<Ipv4Header>(m, 0);
    FragmentView f{.key = {.id = ip.id.raw, .protocol = pm.protocol, .ip = IpVersion::v4},
                   .headers = bytes_of(m, 0, pm.l4_offset),
                   .payload = bytes_of(m, pm.l4_offset, pm.l3_length),
                   .offset = (ip.fragment.host() & kIpv4FragmentOffset.host()) * 8u,
                   .more = (ip.fragment.raw & kIpv4MoreFragments.raw) != 0,
                   .ecn = static_cast<std::uint8_t>(ip.tos & kEcnMask)};
    std::memcpy(f.key.src.data(), &ip.src, sizeof(ip.src));
    std::memcpy(f.key.dst.data(), &ip.dst, sizeof(ip.dst));
    return f;
}

// The headers are those of the whole packet: what stands before the fragment header announces what comes behind it.
FragmentView view_ipv6(rte_mbuf& m, const PacketMeta& pm, Place place) noexcept {
    const auto& ip = header_at<Ipv6Header>(m, 0);
    const auto& fragment = header_at<Ipv6FragmentHeader>(m, place.header);
    header_at<std::uint8_t>(m, place.announced_at) = fragment.next_header;
    return {.key = {.src = ip.src, .dst = ip.dst, .id = fragment.id.raw, .ip = IpVersion::v6},
            .headers = bytes_of(m, 0, place.header),
            .payload = bytes_of(m, place.header + kFragmentHeaderBytes, pm.l3_length),
            .offset = fragment.offset.host() & 0xfff8u,
            .more = (fragment.offset.host() & 1) != 0,
            .ecn = static_cast<std::uint8_t>(ip.version_class_flow.host() >> 20 & kEcnMask)};
}

// The packet came in where its last fragment did: Linux sees it with that one's link layer header.
void finish(rte_mbuf& m, rte_mbuf& fragment, bool congested) noexcept {
    PacketMeta& pm = meta(m);
    pm = meta(fragment);
    pm.flags = 0;
    m.port = fragment.port;
    std::memcpy(rte_pktmbuf_mtod(&m, char*) - pm.l2_length, rte_pktmbuf_mtod(&fragment, char*) - pm.l2_length,
                pm.l2_length);
    if (pm.ip == IpVersion::v6) {
        auto& ip = header_at<Ipv6Header>(m, 0);
        ip.payload_length = to_be16(static_cast<std::uint16_t>(m.data_len - sizeof(Ipv6Header)));
        ip.version_class_flow = to_be32(ip.version_class_flow.host() | (congested ? kEcnMask << 20 : 0));
        return;
    }
    auto& ip = header_at<Ipv4Header>(m, 0);
    ip.tos = static_cast<std::uint8_t>(ip.tos | (congested ? kEcnMask : 0));
    ip.total_length = to_be16(m.data_len);
    ip.fragment = {};
    ip.checksum = {};
    ip.checksum.raw = static_cast<std::uint16_t>(~rte_raw_cksum(&ip, ip.header_bytes()));
}

// Every fragment of a packet must get the same answer, so it is the IP or fragment header's word that counts, not what
// stands behind options in the first.
bool is_ours(rte_mbuf& m, const PacketMeta& pm) noexcept {
    std::uint8_t next = pm.protocol;
    if (pm.ip == IpVersion::v6) {
        next = header_at<Ipv6FragmentHeader>(m, fragment_header(m).header).next_header;
        if (next == kHopByHop || next == kRouting || next == kFragmentHeader || next == kDestinationOptions) {
            return true;
        }
    }
    return next == +IpProtocol::esp || next == +IpProtocol::udp;
}

// What goes on: a whole packet, or null.
rte_mbuf* gather(Context& ctx, rte_mbuf& m) noexcept {
    const PacketMeta pm = meta(m);
    Place place{};
    if (pm.ip == IpVersion::v6) {
        place = fragment_header(m);
        if (is_atomic(header_at<Ipv6FragmentHeader>(m, place.header))) {
            remove_fragment_header(m, place);
            meta(m).flags = 0;
            return &m;
        }
    }
    const FragmentView view = pm.ip == IpVersion::v6 ? view_ipv6(m, pm, place) : view_ipv4(m, pm);
    const Gathering gathered = ctx.reassembly->add(view, ctx.now_tsc, *ctx.counters, ctx.large_buffers);
    ctx.spend(&m);
    if (gathered.state == Gathered::whole) {
        finish(*gathered.packet, m, gathered.congested);
    }
    return gathered.packet;
}

// A fragment in a fragment is nobody's packet.
Verdict parse_whole(rte_mbuf& m) noexcept {
    const Verdict verdict = parse_ip(m, meta(m));
    return verdict.kept() && (meta(m).flags & meta_flag::kFragment) != 0 ? Verdict{Drop::malformed_frame} : verdict;
}

template <class IsOurs>
void reassemble(Context& ctx, Batch& batch, IsOurs ours) noexcept {
    std::uint16_t kept = 0;
    for (std::uint16_t i = 0; i < batch.size(); ++i) {
        rte_mbuf* m = batch[i];
        if (!ours(*m)) {
            batch.data()[kept++] = m;
            continue;
        }
        if (ctx.reassembly == nullptr) {
            ctx.drop(m, Drop::fragment_unsupported);
            continue;
        }
        rte_mbuf* whole = gather(ctx, *m);
        if (whole == nullptr) {
            continue;
        }
        if (const Verdict verdict = parse_whole(*whole); !verdict.kept()) {
            ctx.drop(whole, verdict.reason());
            continue;
        }
        batch.data()[kept++] = whole;
    }
    batch.resize(kept);
}

}  // namespace

void Reassemble::process(Context& ctx, Batch& batch) noexcept {
    reassemble(ctx, batch, [](rte_mbuf& m) noexcept { return is_ours(m, meta(m)); });
}

void ReassembleForNat::process(Context& ctx, Batch& batch) noexcept {
    reassemble(ctx, batch, [](rte_mbuf&) noexcept { return true; });
}

}  // namespace twinspan
