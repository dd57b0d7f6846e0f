#include "dataplane/stages/esp_in.hpp"

#include "crypto/sa.hpp"
#include "dataplane/config/snapshot.hpp"

namespace twinspan {
namespace {

// What is known of each packet of the burst between the passes.
struct Arrivals {
    std::array<const InboundSaEntry*, kBurst> entry;
    std::array<std::uint64_t, kBurst> sequence;
};

std::uint8_t* esp_of(rte_mbuf& m) noexcept { return rte_pktmbuf_mtod_offset(&m, std::uint8_t*, meta(m).l4_offset); }

Verdict identify(const Snapshot& config, rte_mbuf& m, const InboundSaEntry*& found) noexcept {
    const PacketMeta& pm = meta(m);
    if ((pm.flags & meta_flag::kFragment) != 0) [[unlikely]] {
        return Drop::fragment_unsupported;
    }
    found = config.inbound_sas.find(esp_spi(esp_of(m)));
    if (found == nullptr) [[unlikely]] {
        return Drop::esp_no_sa;
    }
    const Tunnel& tunnel = config.tunnels[found->tunnel];
    const auto& ip = header_at<Ipv4Header>(m, 0);
    if (pm.ip != IpVersion::v4 || ip.dst != tunnel.local.v4() || ip.src != tunnel.remote.v4()) [[unlikely]] {
        return Drop::esp_wrong_peer;
    }
    // Bare ESP has no port. As the kernel, an SA takes what comes the way it was agreed and nothing else.
    if (pm.dst_port != found->encapsulation.local_port) [[unlikely]] {
        return Drop::esp_wrong_encapsulation;
    }
    if (pm.l3_length < pm.l4_offset + min_len(found->sa->layout())) [[unlikely]] {
        return Drop::esp_bad_length;
    }
    found->sa->prefetch();
    return Verdict::keep();
}

Drop reason_of(OpenStatus status) noexcept {
    switch (status) {
        case OpenStatus::bad_length:
            return Drop::esp_bad_length;
        case OpenStatus::bad_padding:
            return Drop::esp_bad_padding;
        case OpenStatus::auth_failed:
        case OpenStatus::ok:
            break;
    }
    return Drop::esp_auth_failed;
}

// RFC 4303 section 3.4.4.1 step 4: the next header says what the payload is, and the payload must agree.
Verdict check_inner(const Opened& opened, const std::uint8_t* payload) noexcept {
    if (opened.next_header == kNextHeaderDummy) [[unlikely]] {
        return Drop::esp_dummy;
    }
    const unsigned version = opened.payload_len == 0 ? 0u : payload[0] >> 4;
    const bool agrees = (opened.next_header == kNextHeaderIpv4 && version == 4) ||
                        (opened.next_header == kNextHeaderIpv6 && version == 6);
    return agrees ? Verdict::keep() : Verdict{Drop::esp_inner_not_ip};
}

Verdict open(Context& ctx, const InboundSaEntry& entry, std::uint64_t sequence, rte_mbuf& m) noexcept {
    PacketMeta& pm = meta(m);
    if (entry.sa->replay().check(sequence) != ReplayVerdict::fresh) [[unlikely]] {
        return Drop::esp_replayed;
    }
    std::uint8_t* esp = esp_of(m);
    const Opened opened =
        entry.sa->open_in_place(*ctx.crypto, sequence, esp, static_cast<std::size_t>(pm.l3_length - pm.l4_offset));
    if (opened.status != OpenStatus::ok) [[unlikely]] {
        return reason_of(opened.status);
    }
    const std::size_t offset = payload_offset(entry.sa->layout());
    const Verdict inner = check_inner(opened, esp + offset);
    m.data_off = static_cast<std::uint16_t>(m.data_off + pm.l4_offset + offset);
    m.data_len = static_cast<std::uint16_t>(opened.payload_len);
    m.pkt_len = opened.payload_len;
    pm.zone = Zone::tunnel;
    pm.tunnel = entry.tunnel;
    return inner;
}

// Marks the run's numbers as seen; two packets of one burst with one number were both decrypted, only one passes.
// Whether the inner packet was any good does not matter to the window: its number was authenticated.
class Run {
public:
    Run(Context& ctx, Batch& batch) noexcept : ctx_(ctx), batch_(batch) {}

    void open_run(const Arrivals& in, std::uint16_t first, std::uint16_t last) noexcept {
        const InboundSaEntry& entry = *in.entry[first];
        std::array<std::uint64_t, kBurst> sequence;
        std::array<Verdict, kBurst> verdict;
        std::array<rte_mbuf*, kBurst> packet;
        std::uint16_t authentic = 0;
        for (std::uint16_t i = first; i < last; ++i) {
            rte_mbuf* m = batch_[i];
            const Verdict v = open(ctx_, entry, in.sequence[i], *m);
            if (!v.kept() && !was_authentic(v.reason())) [[unlikely]] {
                ctx_.drop(m, v.reason());
                continue;
            }
            sequence[authentic] = in.sequence[i];
            verdict[authentic] = v;
            packet[authentic++] = m;
        }
        const std::uint64_t accepted = entry.sa->replay().accept_burst({sequence.data(), authentic});
        std::uint64_t bytes = 0;
        std::uint16_t passed = 0;
        for (std::uint16_t i = 0; i < authentic; ++i) {
            const Verdict v = (accepted >> i & 1) != 0 ? verdict[i] : Verdict{Drop::esp_replayed};
            if (!v.kept()) [[unlikely]] {
                ctx_.drop(packet[i], v.reason());
                continue;
            }
            bytes += packet[i]->data_len;
            ++passed;
            batch_.data()[kept_++] = packet[i];
        }
        entry.sa->add_usage(passed, bytes);
        (*ctx_.counters->tunnel_rx)[entry.tunnel].add(passed, bytes);
    }
    std::uint16_t kept() const noexcept { return kept_; }

private:
    static bool was_authentic(Drop reason) noexcept {
        return reason == Drop::esp_bad_padding || reason == Drop::esp_inner_not_ip || reason == Drop::esp_dummy;
    }
    Context& ctx_;
    Batch& batch_;
    std::uint16_t kept_ = 0;
};

}  // namespace

void EspIn::process(Context& ctx, Batch& batch) noexcept {
    Arrivals in;
    std::uint16_t known = 0;
    batch.for_each(ctx, [&](rte_mbuf& m) noexcept {
        const Verdict v = identify(*ctx.config, m, in.entry[known]);
        known = static_cast<std::uint16_t>(known + v.kept());
        return v;
    });
    for (std::uint16_t i = 0; i < batch.size(); ++i) {
        in.sequence[i] = in.entry[i]->sa->sequence_of(esp_of(*batch[i]));
    }
    Run run{ctx, batch};
    for (std::uint16_t first = 0, last = 0; first < batch.size(); first = last) {
        while (last < batch.size() && in.entry[last] == in.entry[first]) {
            ++last;
        }
        run.open_run(in, first, last);
    }
    batch.resize(run.kept());
}

}  // namespace twinspan
