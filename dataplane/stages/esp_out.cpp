#include "dataplane/stages/esp_out.hpp"

#include "crypto/sa.hpp"
#include "dataplane/config/snapshot.hpp"

#include <cstring>

namespace twinspan {
namespace {

constexpr unsigned kMostHeaders = sizeof(Ipv4Header) + sizeof(UdpHeader) + kEspMaxPayloadOffset;

// The template's checksum covers all but the total length, which is all that differs per packet: with DF set
// the ID has no meaning (RFC 6864 section 4.1).
void write_outer(const Tunnel& tunnel, Ipv4Header& ip, std::size_t bytes) noexcept {
    std::memcpy(&ip, tunnel.outer.data(), sizeof ip);
    ip.total_length = to_be16(static_cast<std::uint16_t>(bytes));
    std::uint32_t sum = static_cast<std::uint16_t>(~ip.checksum.raw) + std::uint32_t{ip.total_length.raw};
    sum = (sum & 0xffff) + (sum >> 16);
    ip.checksum.raw = static_cast<std::uint16_t>(~sum);
}

// RFC 3948 section 2.1: the checksum is zero over IPv4; the ICV guards more than it could.
void write_udp(const Encapsulation& ports, UdpHeader& udp, std::size_t bytes) noexcept {
    udp = {.src_port = ports.local_port,
           .dst_port = ports.remote_port,
           .length = to_be16(static_cast<std::uint16_t>(bytes)),
           .checksum = {}};
}

Verdict has_room(const rte_mbuf& m) noexcept {
    return rte_pktmbuf_headroom(&m) >= kMostHeaders && rte_pktmbuf_tailroom(&m) >= kEspMaxRoom
               ? Verdict::keep()
               : Verdict{Drop::no_headroom};
}

template <EspCarrier carrier>
void seal(Context& ctx, const Tunnel& tunnel, rte_mbuf& m, std::uint64_t sequence) noexcept {
    constexpr auto kEspOffset = static_cast<unsigned>(outer_len(OuterIp::ipv4, carrier));
    PacketMeta& pm = meta(m);
    const std::uint8_t next_header = pm.ip == IpVersion::v4 ? kNextHeaderIpv4 : kNextHeaderIpv6;
    m.data_off = static_cast<std::uint16_t>(m.data_off - kEspOffset - payload_offset(tunnel.out->layout()));
    auto* outer = rte_pktmbuf_mtod(&m, std::uint8_t*);
    const std::size_t sealed =
        tunnel.out->seal_in_place(*ctx.crypto, sequence, outer + kEspOffset, pm.l3_length, next_header);
    const std::size_t total = kEspOffset + sealed;
    if constexpr (carrier == EspCarrier::udp) {
        write_udp(tunnel.encapsulation, header_at<UdpHeader>(m, sizeof(Ipv4Header)), sizeof(UdpHeader) + sealed);
    }
    write_outer(tunnel, header_at<Ipv4Header>(m, 0), total);
    m.data_len = static_cast<std::uint16_t>(total);
    m.pkt_len = static_cast<std::uint32_t>(total);
    pm.l3_length = static_cast<std::uint16_t>(total);
    pm.ip = IpVersion::v4;
    pm.egress = tunnel.outer_egress;
}

// The packets [first, last) of the batch enter one tunnel; kept ones close ranks from `kept` on.
class Run {
public:
    Run(Context& ctx, Batch& batch) noexcept : ctx_(ctx), batch_(batch) {}

    void seal_run(std::uint16_t first, std::uint16_t last) noexcept {
        const std::uint16_t index = meta(*batch_[first]).tunnel;
        const Tunnel& tunnel = ctx_.config->tunnels[index];
        if (!tunnel.up || tunnel.out == nullptr || tunnel.outer_egress == kNone) [[unlikely]] {
            drop(first, last, Drop::tunnel_down);
            return;
        }
        const auto asked = static_cast<std::uint16_t>(last - first);
        const SequenceBurst numbers = tunnel.out->reserve_burst(asked);
        const auto granted_end = static_cast<std::uint16_t>(first + numbers.granted);
        const std::uint64_t bytes = tunnel.encapsulation.udp()
                                        ? seal_all<EspCarrier::udp>(tunnel, first, granted_end, numbers.first)
                                        : seal_all<EspCarrier::ip>(tunnel, first, granted_end, numbers.first);
        if (numbers.granted != asked) [[unlikely]] {
            drop(granted_end, last,
                 numbers.refusal == SequenceRefusal::sequence_used_up ? Drop::esp_sequence_exhausted
                                                                      : Drop::esp_unreserved);
        }
        tunnel.out->add_bytes(bytes);
        (*ctx_.counters->tunnel_tx)[index].add(numbers.granted, bytes);
    }
    std::uint16_t kept() const noexcept { return kept_; }

private:
    // Returns the bytes of the inner packets.
    template <EspCarrier carrier>
    std::uint64_t seal_all(const Tunnel& tunnel, std::uint16_t first, std::uint16_t last,
                           std::uint64_t sequence) noexcept {
        std::uint64_t bytes = 0;
        for (std::uint16_t i = first; i < last; ++i) {
            rte_mbuf* m = batch_[i];
            if (i + 1 < last) {
                prefetch(*batch_[static_cast<std::uint16_t>(i + 1)]);
            }
            bytes += meta(*m).l3_length;
            seal<carrier>(ctx_, tunnel, *m, sequence + (i - first));
            batch_.data()[kept_++] = m;
        }
        return bytes;
    }
    void drop(std::uint16_t first, std::uint16_t last, Drop reason) noexcept {
        for (std::uint16_t i = first; i < last; ++i) {
            ctx_.drop(batch_[i], reason);
        }
    }
    static void prefetch(const rte_mbuf& m) noexcept {
        rte_prefetch0(rte_pktmbuf_mtod_offset(&m, const void*, m.data_len));
    }

    Context& ctx_;
    Batch& batch_;
    std::uint16_t kept_ = 0;
};

}  // namespace

void EspOut::process(Context& ctx, Batch& batch) noexcept {
    batch.for_each(ctx, [](rte_mbuf& m) noexcept { return has_room(m); });
    Run run{ctx, batch};
    for (std::uint16_t first = 0, last = 0; first < batch.size(); first = last) {
        const std::uint16_t tunnel = meta(*batch[first]).tunnel;
        while (last < batch.size() && meta(*batch[last]).tunnel == tunnel) {
            ++last;
        }
        run.seal_run(first, last);
    }
    batch.resize(run.kept());
}

}  // namespace twinspan
