#include "dataplane/stages/clamp_mss.hpp"

#include "dataplane/config/snapshot.hpp"
#include "dataplane/packet/checksum.hpp"

#include <algorithm>

namespace twinspan {
namespace {

enum : std::uint8_t { kEndOfOptions = 0, kNoOperation = 1, kMaximumSegmentSize = 2 };  // RFC 9293 section 3.2

// Offset of the MSS value from the TCP header, or 0: none, or options that lie about their length.
unsigned find_mss(const std::uint8_t* tcp, unsigned header_bytes) noexcept {
    unsigned at = sizeof(TcpHeader);
    while (at < header_bytes && tcp[at] != kEndOfOptions) {
        if (tcp[at] == kNoOperation) {
            ++at;
            continue;
        }
        if (at + 2 > header_bytes || tcp[at + 1] < 2 || at + tcp[at + 1] > header_bytes) {
            return 0;
        }
        if (tcp[at] == kMaximumSegmentSize) {
            return tcp[at + 1] == 4 ? at + 2 : 0;
        }
        at += tcp[at + 1];
    }
    return 0;
}

void clamp(rte_mbuf& m, const PacketMeta& pm, std::uint16_t limit) noexcept {
    auto& tcp = header_at<TcpHeader>(m, pm.l4_offset);
    const unsigned header_bytes = std::min<unsigned>((tcp.data_offset >> 4) * 4u, pm.l3_length - pm.l4_offset);
    const unsigned at = find_mss(reinterpret_cast<const std::uint8_t*>(&tcp), header_bytes);
    if (at == 0) {
        return;
    }
    be16& mss = header_at<be16>(m, pm.l4_offset + at);
    if (mss.host() <= limit) {
        return;
    }
    be16 before = mss;
    be16 after = to_be16(limit);
    mss = after;
    // An option may start at an odd offset; then its bytes count with their places swapped in the sum.
    if (at % 2 != 0) {
        before.raw = __builtin_bswap16(before.raw);
        after.raw = __builtin_bswap16(after.raw);
    }
    tcp.checksum = ChecksumDelta{before, after}.apply(tcp.checksum);
}

}  // namespace

void ClampMss::process(Context& ctx, Batch& batch) noexcept {
    for (rte_mbuf* m : batch) {
        const PacketMeta& pm = meta(*m);
        if (pm.protocol != +IpProtocol::tcp || (pm.flags & meta_flag::kLaterFragment) != 0) {
            continue;
        }
        if ((header_at<TcpHeader>(*m, pm.l4_offset).flags & kTcpSyn) != 0) [[unlikely]] {
            const Tunnel& tunnel = ctx.config->tunnels[pm.tunnel];
            clamp(*m, pm, pm.ip == IpVersion::v4 ? tunnel.mss4 : tunnel.mss6);
        }
    }
}

}  // namespace twinspan
