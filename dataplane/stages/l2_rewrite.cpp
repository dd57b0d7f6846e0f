#include "dataplane/stages/l2_rewrite.hpp"

#include "dataplane/config/snapshot.hpp"

#include <cstring>

namespace twinspan {
namespace {

// The transmit list of the port that the last packet went to. A list that is pushed to by its own counter makes each
// packet wait for the packet before.
class Transmit {
public:
    explicit Transmit(Context& ctx) noexcept : ctx_(ctx) {}
    ~Transmit() { leave(); }
    Transmit(const Transmit&) = delete;
    Transmit& operator=(const Transmit&) = delete;

    void push(std::uint16_t port, rte_mbuf* m) noexcept {
        if (port != port_) [[unlikely]] {
            leave();
            port_ = port;
            end_ = ctx_.transmit[port].end();
        }
        *end_++ = m;
    }

private:
    void leave() noexcept {
        if (end_ != nullptr) {
            auto& list = ctx_.transmit[port_];
            list.resize(static_cast<std::uint16_t>(end_ - list.data()));
        }
    }
    Context& ctx_;
    rte_mbuf** end_ = nullptr;
    std::uint16_t port_ = kNone;
};

}  // namespace

void L2Rewrite::process(Context& ctx, Batch& batch) noexcept {
    CountedRun leg_tx{ctx.counters->leg_tx};
    Transmit transmit{ctx};
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
        transmit.push(egress.port, m);
    }
    batch.clear();
}

}  // namespace twinspan
