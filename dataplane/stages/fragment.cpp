#include "dataplane/stages/fragment.hpp"

#include "dataplane/config/snapshot.hpp"
#include "dataplane/packet/fragment_ipv4.hpp"

namespace twinspan {

void Fragment::process(Context& ctx, Batch& batch) noexcept {
    for (rte_mbuf* m : batch) {
        PacketList<kMostPieces> pieces;
        const std::uint16_t mtu = ctx.config->egresses[meta(*m).egress].mtu;
        if (const Verdict verdict = fragment_ipv4(*m, mtu, ctx.buffers, pieces); !verdict.kept()) {
            ctx.drop(m, verdict.reason());
            continue;
        }
        ctx.counters->fragmented.add(pieces.size() - 1u);
        for (rte_mbuf* piece : pieces) {
            ctx.fragments.push(piece);
        }
    }
    batch.clear();
}

}  // namespace twinspan
