#include "dataplane/packet/make_linear.hpp"

#include <cstring>

namespace twinspan {
namespace {

void copy(const rte_mbuf& chain, rte_mbuf& to) noexcept {
    to.port = chain.port;
    to.ol_flags = chain.ol_flags & (RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED);
    to.vlan_tci = chain.vlan_tci;
    for (const rte_mbuf* segment = &chain; segment != nullptr; segment = segment->next) {
        std::memcpy(rte_pktmbuf_append(&to, segment->data_len), rte_pktmbuf_mtod(segment, const char*),
                    segment->data_len);
    }
}

}  // namespace

[[gnu::noinline]] void make_linear(Context& ctx, Batch& batch) noexcept {
    std::uint16_t kept = 0;
    for (std::uint16_t i = 0; i < batch.size(); ++i) {
        rte_mbuf* m = batch[i];
        rte_mbuf* linear = m;
        if (m->nb_segs > 1) {
            if (m->pkt_len > kLargePacket) {
                ctx.drop(m, Drop::too_long);
                continue;
            }
            if (!ctx.large_buffers(&linear, 1)) {
                ctx.drop(m, Drop::no_mbuf);
                continue;
            }
            copy(*m, *linear);
            ctx.spend(m);
        }
        batch.data()[kept++] = linear;
    }
    batch.resize(kept);
}

}  // namespace twinspan
