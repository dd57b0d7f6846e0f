#include "crypto/esn_resync.hpp"
#include "dataplane/config/snapshot.hpp"
#include "dataplane/stages/esp_open.hpp"

namespace twinspan {
namespace {

std::uint8_t* esp_of(rte_mbuf& m) noexcept { return rte_pktmbuf_mtod_offset(&m, std::uint8_t*, meta(m).l4_offset); }

// Returns in how many pieces the burst falls by SPI.
unsigned prefetch(const Snapshot& config, Batch& batch) noexcept {
    unsigned runs = 0;
    std::uint32_t before = 0;
    for (rte_mbuf* m : batch) {
        rte_prefetch0(rte_pktmbuf_mtod_offset(m, const void*, m->data_len - 1));
        if (const std::uint32_t spi = esp_spi(esp_of(*m)); spi != before) {
            config.inbound_sas.prefetch(spi);
            before = spi;
            ++runs;
        }
    }
    return runs;
}

// As the packet before, or looked up.
const InboundSaEntry* find(const Context& ctx, rte_mbuf& m, const InboundSaEntry* before) noexcept {
    const std::uint32_t spi = esp_spi(esp_of(m));
    return before != nullptr && before->spi == spi ? before : ctx.config->inbound_sas.find(spi);
}

// What the next pass looks at comes from memory while this one goes on, for packets of many SAs in turn.
void prefetch_sas(const Context& ctx, Batch& batch) noexcept {
    std::array<const InboundSaEntry*, kBurst> found;
    const InboundSaEntry* before = nullptr;
    std::uint16_t i = 0;
    for (rte_mbuf* m : batch) {
        const InboundSaEntry* entry = found[i++] = find(ctx, *m, before);
        if (entry != before && entry != nullptr) {
            entry->sa->prefetch();
            rte_prefetch0(&ctx.config->tunnels[entry->tunnel].local);
            rte_prefetch0(&(*ctx.counters->tunnel_rx)[entry->tunnel]);
            before = entry;
        }
    }
    i = 0;
    for (rte_mbuf* m : batch) {
        if (const InboundSaEntry* entry = found[i++]; entry != nullptr) {
            entry->sa->replay().prefetch(entry->sa->sequence_of(esp_of(*m)));
            entry->sa->prefetch_usage(ctx.worker);
        }
    }
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
void fill(OpenJob& job, InboundSa& sa, rte_mbuf& m) noexcept {
    const PacketMeta& pm = meta(m);
    job.sa = &sa;
    job.esp = esp_of(m);
    job.seq = sa.sequence_of(job.esp);
    job.len = static_cast<std::uint32_t>(pm.l3_length - pm.l4_offset);
}

}  // namespace

void identify_esp(Context& ctx, Batch& batch, EspArrivals& in) noexcept {
    if (prefetch(*ctx.config, batch) > 1) {
        prefetch_sas(ctx, batch);
    }
    std::uint16_t n = 0;
    const InboundSaEntry* entry = nullptr;
    batch.for_each(ctx, [&](rte_mbuf& m) noexcept {
        entry = find(ctx, m, entry);
        if (entry == nullptr) [[unlikely]] {
            return Verdict{Drop::esp_no_sa};
        }
        if (const Verdict verdict = check_peer(*ctx.config, *entry, m); !verdict.kept()) [[unlikely]] {
            return verdict;
        }
        OpenJob& job = in.job[n];
        fill(job, *entry->sa, m);
        if (entry->sa->replay().check(job.seq) != ReplayVerdict::fresh) [[unlikely]] {
            return Verdict{Drop::esp_replayed};
        }
        in.entry[n++] = entry;
        return Verdict::keep();
    });
}

void decrypt_esp(Context& ctx, const Batch& batch, EspArrivals& in) noexcept {
    open_burst_and_resync(*ctx.crypto, {in.job.data(), batch.size()});
}

}  // namespace twinspan
