#include "crypto/esn_resync.hpp"
#include "dataplane/config/snapshot.hpp"
#include "dataplane/stages/esp_open.hpp"

namespace twinspan {
namespace {

std::uint8_t* esp_of(rte_mbuf& m) noexcept { return rte_pktmbuf_mtod_offset(&m, std::uint8_t*, meta(m).l4_offset); }

void prefetch(const Snapshot& config, Batch& batch) noexcept {
    for (rte_mbuf* m : batch) {
        config.inbound_sas.prefetch(esp_spi(esp_of(*m)));
        rte_prefetch0(rte_pktmbuf_mtod_offset(m, const void*, m->data_len - 1));
    }
}

Verdict find(const Context& ctx, rte_mbuf& m, const InboundSaEntry*& found) noexcept {
    const std::uint32_t spi = esp_spi(esp_of(m));
    if (found != nullptr && found->spi == spi) {
        return Verdict::keep();  // as the packet before
    }
    const InboundSaEntry* entry = ctx.config->inbound_sas.find(spi);
    if (entry == nullptr) [[unlikely]] {
        return Drop::esp_no_sa;
    }
    found = entry;
    entry->sa->prefetch();
    rte_prefetch0(&ctx.config->tunnels[entry->tunnel].local);
    rte_prefetch0(&(*ctx.counters->tunnel_rx)[entry->tunnel]);
    return Verdict::keep();
}

// In UDP a NAT may give the peer another address and port at any time: who it is, the ICV says (RFC 7296 section 2.23).
bool is_between_ends(const Tunnel& tunnel, bool udp, rte_mbuf& m) noexcept {
    if (meta(m).ip == IpVersion::v4) [[likely]] {
        const auto& ip = header_at<Ipv4Header>(m, 0);
        return tunnel.local.is_v4() && ip.dst == tunnel.local.v4() && (udp || ip.src == tunnel.remote.v4());
    }
    const auto& ip = header_at<Ipv6Header>(m, 0);
    return !tunnel.local.is_v4() && ip.dst == tunnel.local.v6() && (udp || ip.src == tunnel.remote.v6());
}

Verdict check_peer(const Snapshot& config, const InboundSaEntry& entry, rte_mbuf& m) noexcept {
    if (!is_between_ends(config.tunnels[entry.tunnel], entry.encapsulation.udp(), m)) [[unlikely]] {
        return Drop::esp_wrong_peer;
    }
    // Bare ESP has no port. As the kernel, an SA takes what comes the way it was agreed and nothing else.
    if (meta(m).dst_port != entry.encapsulation.local_port) [[unlikely]] {
        return Drop::esp_wrong_encapsulation;
    }
    return Verdict::keep();
}

// Field by field: a job made beside the array would be copied in wider pieces than it was written in, and each copy
// would wait for its stores to leave the store buffer, which cost 30 cycles a packet.
void fill(OpenJob& job, const InboundSaEntry& entry, rte_mbuf& m) noexcept {
    const PacketMeta& pm = meta(m);
    job.sa = entry.sa;
    job.esp = esp_of(m);
    job.seq = entry.sa->sequence_of(job.esp);
    job.len = static_cast<std::uint32_t>(pm.l3_length - pm.l4_offset);
    entry.sa->replay().prefetch(job.seq);
}

}  // namespace

void identify_esp(Context& ctx, Batch& batch, EspArrivals& in) noexcept {
    prefetch(*ctx.config, batch);
    std::uint16_t n = 0;
    const InboundSaEntry* found = nullptr;
    batch.for_each(ctx, [&](rte_mbuf& m) noexcept {
        const Verdict verdict = find(ctx, m, found);
        if (verdict.kept()) [[likely]] {
            in.entry[n++] = found;
        }
        return verdict;
    });
    std::uint16_t from = 0;
    n = 0;
    batch.for_each(ctx, [&](rte_mbuf& m) noexcept {
        const InboundSaEntry& entry = *in.entry[from++];
        const Verdict verdict = check_peer(*ctx.config, entry, m);
        if (verdict.kept()) [[likely]] {
            in.entry[n] = &entry;
            fill(in.job[n++], entry, m);
        }
        return verdict;
    });
    from = 0;
    n = 0;
    batch.for_each(ctx, [&](rte_mbuf&) noexcept {
        const std::uint16_t i = from++;
        if (in.entry[i]->sa->replay().check(in.job[i].seq) != ReplayVerdict::fresh) [[unlikely]] {
            return Verdict{Drop::esp_replayed};
        }
        if (n != i) [[unlikely]] {
            in.entry[n] = in.entry[i];
            in.job[n] = in.job[i];
        }
        ++n;
        return Verdict::keep();
    });
}

void decrypt_esp(Context& ctx, const Batch& batch, EspArrivals& in) noexcept {
    open_burst_and_resync(*ctx.crypto, {in.job.data(), batch.size()});
}

}  // namespace twinspan
