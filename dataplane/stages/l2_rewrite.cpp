#include "dataplane/stages/l2_rewrite.hpp"

#include "dataplane/config/snapshot.hpp"

#include <cstring>

namespace twinspan {

void L2Rewrite::process(Context& ctx, Batch& batch) noexcept {
    CountedRun leg_tx{ctx.counters->leg_tx};
    for (rte_mbuf* m : batch) {
        const PacketMeta& pm = meta(*m);
        const Egress& egress = ctx.config->egresses[pm.egress];
        const auto bytes = static_cast<std::uint16_t>(egress.rewrite_length + sizeof(be16));
        char* frame = rte_pktmbuf_prepend(m, bytes);
        if (frame == nullptr) [[unlikely]] {
            ctx.drop(m, Drop::no_headroom);
            continue;
        }
        // 12, 16 or 20 bytes: the addresses and up to two tags.
        std::memcpy(frame, egress.rewrite.data(), 12);
        if (egress.rewrite_length > 12) {
            std::memcpy(frame + egress.rewrite_length - 8, egress.rewrite.data() + egress.rewrite_length - 8, 8);
        }
        const be16 type = pm.ip == IpVersion::v4 ? kEtherTypeIpv4 : kEtherTypeIpv6;
        std::memcpy(frame + egress.rewrite_length, &type, sizeof(type));
        leg_tx.add(egress.leg, m->pkt_len);
        ctx.transmit[egress.port].push(m);
    }
    batch.clear();
}

}  // namespace twinspan
