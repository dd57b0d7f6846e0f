#include "dataplane/stages/esp_out.hpp"

#include "crypto/burst.hpp"
#include "dataplane/config/snapshot.hpp"
#include "dataplane/packet/burst_groups.hpp"
#include "dataplane/stages/outer_header.hpp"

#include <algorithm>
#include <span>

namespace twinspan {
namespace {

static_assert(kBurst <= kMostJobs);

constexpr unsigned kMostHeaders = kMostOuterBytes + kEspMaxPayloadOffset;

bool has_room(const rte_mbuf& m) noexcept {
    return rte_pktmbuf_headroom(&m) >= kMostHeaders && rte_pktmbuf_tailroom(&m) >= kEspMaxRoom;
}

Drop reason_of(SequenceRefusal refusal) noexcept {
    return refusal == SequenceRefusal::sequence_used_up ? Drop::esp_sequence_exhausted : Drop::esp_unreserved;
}

// What one tunnel has of a burst: its numbers are taken with one atomic add.
struct Share {
    const Tunnel* tunnel;   // null: it cannot seal
    std::uint64_t next;     // sequence number of its next packet
    std::uint64_t bytes;    // of the inner packets that got a number
    std::uint32_t key;      // the tunnel's index
    std::uint32_t wanted;   // numbers
    std::uint32_t granted;
    std::uint32_t left;     // of those granted
    EspLayout layout;
    Drop refusal;           // of the others
};

// Packets side by side in the burst that go into one tunnel.
struct Run {
    std::uint16_t tunnel;
    std::uint16_t begin;
    std::uint8_t share;
};

class Sealing {
public:
    Sealing(Context& ctx, Batch& batch) noexcept : ctx_(ctx), batch_(batch) {}

    // Everything that the next passes look at comes from memory while this one goes on.
    void find_runs() noexcept {
        std::uint16_t kept = 0;
        std::uint16_t before = kNone;
        Run* run = runs_.data();
        for (rte_mbuf* m : batch_) {
            if (!has_room(*m)) [[unlikely]] {
                ctx_.drop(m, Drop::no_headroom);
                continue;
            }
            rte_prefetch0(rte_pktmbuf_mtod_offset(m, const void*, m->data_len));
            if (const std::uint16_t index = meta(*m).tunnel; index != before) {
                prefetch(index);
                run->tunnel = index;
                run->begin = kept;
                ++run;
                before = index;
            }
            batch_.data()[kept++] = m;
        }
        run->begin = kept;
        run_end_ = run;
        batch_.resize(kept);
    }

    void share() noexcept {
        for (Run* run = runs_.data(); run != run_end_; ++run) {
            run->share = shares_.find(run->tunnel, [this](Share& s) noexcept { open(s); });
            shares_[run->share].wanted += length(*run);
        }
    }

    void number() noexcept {
        for (Share& share : shares_) {
            if (share.tunnel != nullptr) [[likely]] {
                OutboundSa& sa = *share.tunnel->out;
                const SequenceBurst numbers = sa.reserve_burst(share.wanted);
                share.next = numbers.first;
                share.granted = share.left = numbers.granted;
                share.refusal = reason_of(numbers.refusal);
                share.layout = sa.layout();
                sa.prefetch_usage(ctx_.worker);
            }
        }
    }

    // Outer headers and jobs. The inner header is read here, for the last time before it is encrypted.
    void wrap() noexcept {
        for (const Run* run = runs_.data(); run != run_end_; ++run) {
            Share& share = shares_[run->share];
            const std::uint16_t begin = run->begin;
            const auto numbered = static_cast<std::uint16_t>(std::min<std::uint32_t>(share.left, length(*run)));
            if (numbered == 1) {
                wrap(share, begin, 1);  // by itself: nothing is made ready for a loop
            } else if (numbered != 0) [[likely]] {
                wrap(share, begin, numbered);
            }
            for (std::uint16_t i = begin + numbered; i < run[1].begin; ++i) {
                ctx_.drop(batch_[i], share.refusal);
            }
        }
        batch_.resize(sealed_);
    }

    void seal() noexcept {
        seal_burst(*ctx_.crypto, {jobs_.data(), sealed_});
        if (checksums_) [[unlikely]] {
            set_checksums();
        }
    }

    void account() noexcept {
        for (Share& share : shares_) {
            if (share.granted != 0) [[likely]] {
                share.tunnel->out->add_bytes(ctx_.worker, share.bytes);
                (*ctx_.counters->tunnel_tx)[share.key].add(share.granted, share.bytes);
            }
        }
    }

private:
    static std::uint16_t length(const Run& run) noexcept {
        return static_cast<std::uint16_t>((&run)[1].begin - run.begin);
    }

    void prefetch(std::uint16_t index) const noexcept {
        const Tunnel& tunnel = ctx_.config->tunnels[index];
        rte_prefetch0(&tunnel);
        rte_prefetch0(&tunnel.outer);
        rte_prefetch0(&(*ctx_.counters->tunnel_tx)[index]);
    }

    void open(Share& share) const noexcept {
        const Tunnel& tunnel = ctx_.config->tunnels[share.key];
        const bool seals = tunnel.up && tunnel.out != nullptr && tunnel.outer_egress != kNone;
        if (seals) [[likely]] {
            tunnel.out->prefetch();
        }
        share.tunnel = seals ? &tunnel : nullptr;
        share.bytes = 0;
        share.wanted = share.granted = share.left = 0;
        share.refusal = Drop::tunnel_down;
    }

    // `n` packets from `begin` on, which have numbers. What they have in common is read once: the compiler must take
    // every byte written to a packet for a change of what lies in memory.
    [[gnu::always_inline]] void wrap(Share& share, std::uint16_t begin, std::uint16_t n) noexcept {
        const Tunnel& tunnel = *share.tunnel;
        const OuterHeader outer{tunnel, ctx_.config->dscp_maps[tunnel.dscp_map]};
        const EspLayout layout = share.layout;
        const auto prefix = static_cast<std::uint16_t>(outer.bytes() + payload_offset(layout));
        const std::uint16_t egress = tunnel.outer_egress;
        OutboundSa* const sa = tunnel.out;
        std::uint64_t sequence = share.next;
        std::uint64_t bytes = 0;
        SealJob* jobs = &jobs_[sealed_];
        rte_mbuf** sealed = batch_.data() + sealed_;
        for (rte_mbuf* m : std::span{batch_.data() + begin, n}) {
            PacketMeta& pm = meta(*m);
            const std::uint16_t inner_bytes = pm.l3_length;
            const auto esp_bytes = static_cast<std::uint32_t>(sealed_len(layout, inner_bytes));
            auto* inner = rte_pktmbuf_mtod(m, std::uint8_t*);
            SealJob& job = *jobs++;
            job.sa = sa;  // field by field: see fill() in esp_identify.cpp
            job.esp = inner - payload_offset(layout);
            job.seq = sequence;
            job.payload_len = inner_bytes;
            job.next_header = pm.ip == IpVersion::v4 ? kNextHeaderIpv4 : kNextHeaderIpv6;
            outer.write(
                {.m = *m, .inner = inner, .outer = inner - prefix, .esp_bytes = esp_bytes, .sequence = sequence});
            const auto total = static_cast<std::uint16_t>(outer.bytes() + esp_bytes);
            m->data_off = static_cast<std::uint16_t>(m->data_off - prefix);
            m->data_len = total;
            m->pkt_len = total;
            pm.l3_length = total;
            pm.ip = outer.version();
            pm.egress = egress;
            ++sequence;
            bytes += inner_bytes;
            *sealed++ = m;
        }
        sealed_ = static_cast<std::uint16_t>(sealed_ + n);
        share.next = sequence;
        share.left -= n;
        share.bytes += bytes;
        checksums_ |= outer.bytes() == sizeof(Ipv6Header) + sizeof(UdpHeader);
    }

    void set_checksums() noexcept {
        for (std::uint16_t i = 0; i < sealed_; ++i) {
            auto* outer = rte_pktmbuf_mtod(batch_[i], std::uint8_t*);
            if (outer + sizeof(Ipv6Header) + sizeof(UdpHeader) == jobs_[i].esp) {
                set_udp_checksum(outer, batch_[i]->data_len - sizeof(Ipv6Header));
            }
        }
    }

    Context& ctx_;
    Batch& batch_;
    BurstGroups<Share> shares_;
    std::array<Run, kBurst + 1> runs_;  // one more, for where the last one ends
    std::array<SealJob, kBurst> jobs_;
    Run* run_end_ = runs_.data();
    std::uint16_t sealed_ = 0;
    bool checksums_ = false;  // some outer packets are UDP over IPv6
};

}  // namespace

void EspOut::process(Context& ctx, Batch& batch) noexcept {
    Sealing sealing{ctx, batch};
    sealing.find_runs();
    sealing.share();
    sealing.number();
    sealing.wrap();
    sealing.seal();
    sealing.account();
}

}  // namespace twinspan
