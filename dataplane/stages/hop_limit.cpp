#include "dataplane/stages/hop_limit.hpp"

#include "dataplane/config/snapshot.hpp"
#include "dataplane/packet/fragment_ipv4.hpp"
#include "dataplane/packet/icmp_error.hpp"

namespace twinspan {
namespace {

// RFC 1624 eq. 3 on the word that holds TTL and protocol: TTL is its high byte, so the word
// falls by 0x0100 and the stored checksum grows by as much, with end-around carry.
void take_one_hop(Ipv4Header& ip) noexcept {
    const std::uint32_t sum = std::uint32_t{ip.checksum.raw} + to_be16(0x0100).raw;
    ip.checksum.raw = static_cast<std::uint16_t>(sum + (sum >= 0xffff));
    --ip.ttl;
}

// False when the packet has no hop left.
bool take_one_hop(rte_mbuf& m, IpVersion version) noexcept {
    if (version == IpVersion::v4) [[likely]] {
        auto& ip = header_at<Ipv4Header>(m, 0);
        if (ip.ttl <= 1) [[unlikely]] {
            return false;
        }
        take_one_hop(ip);
        return true;
    }
    auto& ip = header_at<Ipv6Header>(m, 0);
    if (ip.hop_limit <= 1) [[unlikely]] {
        return false;
    }
    --ip.hop_limit;
    return true;
}

[[gnu::noinline]] void end_oversize(Context& ctx, rte_mbuf& m, std::uint16_t mtu) noexcept {
    const PacketMeta& pm = meta(m);
    if (!may_fragment(m, pm)) {
        end_with_icmp(ctx, m, Drop::too_big, IcmpError::too_big, mtu);
    } else if (pm.zone != Zone::self && !take_one_hop(m, pm.ip)) {
        end_with_icmp(ctx, m, Drop::hop_limit_expired, IcmpError::hop_limit_expired);
    } else if (ctx.oversize.full()) {
        ctx.drop(&m, Drop::too_big);
    } else {
        ctx.oversize.push(&m);
    }
}

}  // namespace

void HopLimit::process(Context& ctx, Batch& batch) noexcept {
    std::uint16_t kept = 0;
    for (rte_mbuf* m : batch) {
        const PacketMeta& pm = meta(*m);
        const std::uint16_t mtu = ctx.config->egresses[pm.egress].mtu;
        if (pm.l3_length > mtu) [[unlikely]] {
            end_oversize(ctx, *m, mtu);
        } else if (pm.zone != Zone::self && !take_one_hop(*m, pm.ip)) [[unlikely]] {
            end_with_icmp(ctx, *m, Drop::hop_limit_expired, IcmpError::hop_limit_expired);
        } else {
            batch.data()[kept++] = m;
        }
    }
    batch.resize(kept);
}

}  // namespace twinspan
