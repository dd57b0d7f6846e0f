#include "dataplane/stages/esp_out.hpp"

#include "crypto/burst.hpp"
#include "dataplane/config/snapshot.hpp"
#include "dataplane/packet/burst_groups.hpp"
#include "dataplane/stages/outer_header.hpp"

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

class Sealing {
public:
    Sealing(Context& ctx, Batch& batch) noexcept : ctx_(ctx), batch_(batch) {}

    // Everything that the next passes look at comes from memory while this one goes on.
    void prefetch() const noexcept {
        std::uint16_t before = kNone;
        for (const rte_mbuf* m : batch_) {
            const std::uint16_t index = meta(*m).tunnel;
            rte_prefetch0(rte_pktmbuf_mtod_offset(m, const void*, m->data_len));
            if (index != before) {
                const Tunnel& tunnel = ctx_.config->tunnels[index];
                rte_prefetch0(&tunnel);
                rte_prefetch0(&tunnel.outer);
                rte_prefetch0(&(*ctx_.counters->tunnel_tx)[index]);
                before = index;
            }
        }
    }

    void gather() noexcept {
        std::uint16_t kept = 0;
        std::uint16_t before = kNone;
        std::uint8_t share = 0;
        for (rte_mbuf* m : batch_) {
            const std::uint16_t index = meta(*m).tunnel;
            if (index != before) {
                share = shares_.find(index, [this](Share& s) noexcept { open(s); });
                before = index;
            }
            if (shares_[share].tunnel == nullptr || !has_room(*m)) [[unlikely]] {
                ctx_.drop(m, shares_[share].tunnel == nullptr ? Drop::tunnel_down : Drop::no_headroom);
                continue;
            }
            ++shares_[share].wanted;
            share_of_[kept] = share;
            batch_.data()[kept++] = m;
        }
        batch_.resize(kept);
    }

    void number() noexcept {
        for (Share& share : shares_) {
            if (share.wanted != 0) [[likely]] {
                OutboundSa& sa = *share.tunnel->out;
                const SequenceBurst numbers = sa.reserve_burst(share.wanted);
                share.next = numbers.first;
                share.granted = share.left = numbers.granted;
                share.refusal = reason_of(numbers.refusal);
                share.layout = sa.layout();
            }
        }
    }

    // Outer headers and jobs. The inner header is read here, for the last time before it is encrypted.
    void wrap() noexcept {
        for (std::uint16_t i = 0; i < batch_.size(); ++i) {
            rte_mbuf* m = batch_[i];
            Share& share = shares_[share_of_[i]];
            if (share.left == 0) [[unlikely]] {
                ctx_.drop(m, share.refusal);
                continue;
            }
            --share.left;
            wrap(*m, share, jobs_[sealed_]);
            batch_.data()[sealed_++] = m;
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
                share.tunnel->out->add_bytes(share.bytes);
                (*ctx_.counters->tunnel_tx)[share.key].add(share.granted, share.bytes);
            }
        }
    }

private:
    void open(Share& share) const noexcept {
        const Tunnel& tunnel = ctx_.config->tunnels[share.key];
        const bool seals = tunnel.up && tunnel.out != nullptr && tunnel.outer_egress != kNone;
        if (seals) [[likely]] {
            tunnel.out->prefetch();
        }
        share.tunnel = seals ? &tunnel : nullptr;
        share.bytes = 0;
        share.wanted = share.granted = share.left = 0;
    }

    void wrap(rte_mbuf& m, Share& share, SealJob& job) noexcept {
        const Tunnel& tunnel = *share.tunnel;
        PacketMeta& pm = meta(m);
        const std::uint16_t inner_bytes = pm.l3_length;
        const auto esp_bytes = static_cast<std::uint32_t>(sealed_len(share.layout, inner_bytes));
        std::uint8_t* esp = rte_pktmbuf_mtod(&m, std::uint8_t*) - payload_offset(share.layout);
        const std::uint64_t sequence = share.next++;
        job.sa = tunnel.out;  // field by field: see fill() in esp_identify.cpp
        job.esp = esp;
        job.seq = sequence;
        job.payload_len = inner_bytes;
        job.next_header = pm.ip == IpVersion::v4 ? kNextHeaderIpv4 : kNextHeaderIpv6;
        write_outer_header(tunnel, ctx_.config->dscp_maps[tunnel.dscp_map],
                           {.m = m, .outer = esp - tunnel.outer_len, .esp_bytes = esp_bytes, .sequence = sequence});
        const auto total = static_cast<std::uint16_t>(tunnel.outer_len + esp_bytes);
        m.data_off = static_cast<std::uint16_t>(m.data_off - tunnel.outer_len - payload_offset(share.layout));
        m.data_len = total;
        m.pkt_len = total;
        pm.l3_length = total;
        pm.ip = tunnel.outer_is_ipv4() ? IpVersion::v4 : IpVersion::v6;
        pm.egress = tunnel.outer_egress;
        share.bytes += inner_bytes;
        checksums_ |= tunnel.outer_len == sizeof(Ipv6Header) + sizeof(UdpHeader);
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
    std::array<std::uint8_t, kBurst> share_of_;
    std::array<SealJob, kBurst> jobs_;
    std::uint16_t sealed_ = 0;
    bool checksums_ = false;  // some outer packets are UDP over IPv6
};

}  // namespace

void EspOut::process(Context& ctx, Batch& batch) noexcept {
    Sealing sealing{ctx, batch};
    sealing.prefetch();
    sealing.gather();
    sealing.number();
    sealing.wrap();
    sealing.seal();
    sealing.account();
}

}  // namespace twinspan
