#include "dataplane/packet/fragment_ipv4.hpp"

#include <rte_ip.h>

#include <algorithm>
#include <cstring>

namespace twinspan {
namespace {

constexpr unsigned kUnit = 8;  // bytes that an offset counts by
constexpr unsigned kMostHeader = 60;
constexpr std::uint16_t kOffsetMask = kIpv4FragmentOffset.host(), kMoreFragments = kIpv4MoreFragments.host();
constexpr std::uint8_t kEndOfOptions = 0, kNoOperation = 1, kCopied = 0x80;

struct Header {
    std::array<std::uint8_t, kMostHeader> bytes;
    unsigned length;
};

// RFC 791 section 3.1: options with the copied flag go into every fragment, the others into the first alone.
Header header_of_later(const std::uint8_t* first, unsigned length) noexcept {
    Header later{};
    std::memcpy(later.bytes.data(), first, sizeof(Ipv4Header));
    later.length = sizeof(Ipv4Header);
    for (unsigned at = sizeof(Ipv4Header); at < length && first[at] != kEndOfOptions;) {
        if (first[at] == kNoOperation) {
            ++at;
            continue;
        }
        const unsigned bytes = at + 1 < length ? first[at + 1] : 0;
        if (bytes < 2 || at + bytes > length) {
            break;  // options that lie about their length
        }
        if ((first[at] & kCopied) != 0) {
            std::memcpy(later.bytes.data() + later.length, first + at, bytes);
            later.length += bytes;
        }
        at += bytes;
    }
    later.length = (later.length + 3) & ~3u;  // zero is the end of the list
    later.bytes[0] = static_cast<std::uint8_t>(0x40 | later.length / 4);
    return later;
}

// The payload of one packet in pieces: the first behind the packet's own header, the others behind theirs.
struct Plan {
    unsigned room_first, room_later;  // as long as the MTU allows
    unsigned payload;

    // Bytes of the piece at `at`. All but the last are a multiple of kUnit.
    unsigned piece(unsigned at) const noexcept {
        const unsigned room = at == 0 ? room_first : room_later;
        return payload - at <= room ? payload - at : room & ~(kUnit - 1);
    }
    unsigned pieces() const noexcept {
        unsigned n = 0;
        for (unsigned at = 0; at < payload && n <= kMostPieces; at += piece(at)) {
            ++n;
        }
        return n;
    }
};

void finish(rte_mbuf& m, unsigned header_bytes, unsigned payload, unsigned units, bool more) noexcept {
    const auto total = static_cast<std::uint16_t>(header_bytes + payload);
    auto& ip = header_at<Ipv4Header>(m, 0);
    ip.total_length = to_be16(total);
    ip.fragment = to_be16(static_cast<std::uint16_t>(units | (more ? kMoreFragments : 0u)));
    ip.checksum = {};
    ip.checksum.raw = static_cast<std::uint16_t>(~rte_raw_cksum(&ip, header_bytes));
    m.data_len = total;
    m.pkt_len = total;
    PacketMeta& pm = meta(m);
    pm.l3_length = total;
    pm.l4_offset = static_cast<std::uint8_t>(header_bytes);
    pm.flags |= units == 0 ? meta_flag::kFragment : meta_flag::kFragment | meta_flag::kLaterFragment;
}

}  // namespace

Verdict fragment_ipv4(rte_mbuf& m, std::uint16_t mtu, const BufferSource& buffers,
                      PacketList<kMostPieces>& out) noexcept {
    const auto& ip = header_at<Ipv4Header>(m, 0);
    const unsigned header_bytes = ip.header_bytes();
    const Header later = header_of_later(rte_pktmbuf_mtod(&m, const std::uint8_t*), header_bytes);
    const unsigned first_unit = ip.fragment.host() & kOffsetMask;
    const bool more = (ip.fragment.host() & kMoreFragments) != 0;
    mtu = std::min(mtu, buffers.room);
    if (mtu < header_bytes + kUnit || mtu < later.length + kUnit) {
        return Drop::too_big;
    }
    const Plan plan{mtu - header_bytes, mtu - later.length, meta(m).l3_length - header_bytes};
    if (first_unit * kUnit + plan.payload > UINT16_MAX) {
        return Drop::malformed_frame;
    }
    const unsigned pieces = plan.pieces();
    if (pieces > kMostPieces) {
        return Drop::too_big;
    }
    if (!buffers(out.data() + 1, static_cast<std::uint16_t>(pieces - 1))) {
        return Drop::no_mbuf;
    }
    out.data()[0] = &m;
    out.resize(static_cast<std::uint16_t>(pieces));

    const std::uint8_t* payload = rte_pktmbuf_mtod_offset(&m, const std::uint8_t*, header_bytes);
    unsigned at = plan.piece(0);
    for (std::uint16_t i = 1; i < pieces; ++i) {
        rte_mbuf& piece = *out[i];
        const unsigned bytes = plan.piece(at);
        meta(piece) = meta(m);
        meta(piece).l2_length = 0;
        auto* to = rte_pktmbuf_mtod(&piece, std::uint8_t*);
        std::memcpy(to, later.bytes.data(), later.length);
        std::memcpy(to + later.length, payload + at, bytes);
        finish(piece, later.length, bytes, first_unit + at / kUnit, more || i + 1u < pieces);
        at += bytes;
    }
    finish(m, header_bytes, plan.piece(0), first_unit, more || pieces > 1);
    return Verdict::keep();
}

}  // namespace twinspan
