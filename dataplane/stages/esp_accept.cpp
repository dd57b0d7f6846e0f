#include "dataplane/config/snapshot.hpp"
#include "dataplane/packet/burst_groups.hpp"
#include "dataplane/packet/ecn.hpp"
#include "dataplane/stages/esp_open.hpp"

#include <numeric>

namespace twinspan {
namespace {

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

// What is authentic uses its number up, whether it is any good otherwise or not.
bool is_authentic(OpenStatus status) noexcept { return status == OpenStatus::ok || status == OpenStatus::bad_padding; }

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

Verdict apply_ecn(WorkerCounters& counters, std::uint8_t outer, std::uint8_t* inner, std::uint32_t bytes) noexcept {
    const std::uint8_t field = traffic_class(inner) & kEcnMask;
    if (leaves_untouched(field, outer)) [[likely]] {
        return Verdict::keep();
    }
    if (bytes < sizeof(Ipv4Header)) {
        return Verdict::keep();  // no header to change: ParseInner drops it
    }
    const EcnOutcome outcome = leave_tunnel(static_cast<Ecn>(field), static_cast<Ecn>(outer & kEcnMask));
    if (outcome.dangerous) {
        counters.ecn_dangerous.add(1);
    }
    if (outcome.unused) {
        counters.ecn_unused.add(1);
    }
    if (outcome.drop) {
        return Drop::esp_ecn_illegal;
    }
    set_ecn(inner, outcome.field);
    return Verdict::keep();
}

// What one SA has of a burst.
struct Share {
    const InboundSaEntry* entry;
    std::uint64_t packets, bytes;  // that passed
    std::uint32_t key;             // the SPI
    std::uint16_t count;           // authentic packets
    std::uint16_t end;             // of its part of the sorted arrays, while that is filled

    void add(std::uint64_t n, std::uint64_t n_bytes) noexcept {
        packets += n;
        bytes += n_bytes;
    }
};

class Accepting {
public:
    Accepting(Context& ctx, Batch& batch, const EspArrivals& in) noexcept : ctx_(ctx), batch_(batch), in_(in) {}

    // Nearly every burst is authentic and of one SA. Then nothing has to be sorted.
    bool gather_one() noexcept {
        const std::uint16_t n = batch_.size();
        const InboundSaEntry* first = n == 0 ? nullptr : in_.entry[0];
        bool one = n != 0;
        for (std::uint16_t i = 0; i < n; ++i) {
            one &= in_.entry[i] == first && is_authentic(in_.job[i].opened.status);
            sorted_[i] = in_.job[i].seq;
        }
        if (one) [[likely]] {
            shares_[share_of(*first)].count = n;
            share_of_.fill(0);
            packet_ = kInOrder;
            mark(*shares_.begin(), 0);
        }
        return one;
    }

    void gather() noexcept {
        const InboundSaEntry* before = nullptr;
        std::uint8_t share = 0;
        for (std::uint16_t i = 0; i < batch_.size(); ++i) {
            share_of_[i] = 0;
            if (!is_authentic(in_.job[i].opened.status)) [[unlikely]] {
                continue;
            }
            if (in_.entry[i] != before) {
                before = in_.entry[i];
                share = share_of(*before);
            }
            ++shares_[share].count;
            share_of_[i] = share;
        }
    }

    // Two packets of one burst with one number were both decrypted: one passes. All of an SA's are marked at once.
    void mark() noexcept {
        std::uint16_t end = 0;
        for (Share& share : shares_) {
            share.end = end;
            end = static_cast<std::uint16_t>(end + share.count);
        }
        for (std::uint16_t i = 0; i < batch_.size(); ++i) {
            if (is_authentic(in_.job[i].opened.status)) [[likely]] {
                const std::uint16_t at = shares_[share_of_[i]].end++;
                sorted_[at] = in_.job[i].seq;
                packet_[at] = static_cast<std::uint8_t>(i);
            }
        }
        for (const Share& share : shares_) {
            mark(share, static_cast<std::uint16_t>(share.end - share.count));
        }
    }

    void pass() noexcept {
        std::uint16_t kept = 0;
        std::uint8_t at = 0;  // the share that packets and bytes are of
        std::uint64_t packets = 0, bytes = 0;
        for (std::uint16_t i = 0; i < batch_.size(); ++i) {
            rte_mbuf* m = batch_[i];
            const Verdict verdict = pass(*m, i);
            if (!verdict.kept()) [[unlikely]] {
                ctx_.drop(m, verdict.reason());
                continue;
            }
            if (share_of_[i] != at) {
                if (packets != 0) {
                    shares_[at].add(packets, bytes);
                }
                at = share_of_[i];
                packets = bytes = 0;
            }
            ++packets;
            bytes += m->data_len;
            batch_.data()[kept++] = m;
        }
        if (packets != 0) [[likely]] {
            shares_[at].add(packets, bytes);
        }
        batch_.resize(kept);
        for (const Share& share : shares_) {
            if (share.packets != 0) [[likely]] {
                share.entry->sa->add_usage(ctx_.worker, share.packets, share.bytes);
                (*ctx_.counters->tunnel_rx)[share.entry->tunnel].add(share.packets, share.bytes);
            }
        }
    }

private:
    static constexpr std::array<std::uint8_t, kBurst> kInOrder = [] {
        std::array<std::uint8_t, kBurst> packets{};
        std::iota(packets.begin(), packets.end(), std::uint8_t{0});
        return packets;
    }();

    std::uint8_t share_of(const InboundSaEntry& entry) noexcept {
        return shares_.find(entry.spi, [&entry](Share& share) noexcept {
            share.entry = &entry;
            share.packets = share.bytes = 0;
            share.count = 0;
        });
    }
    void mark(const Share& share, std::uint16_t first) noexcept {
        const std::uint64_t fresh = share.entry->sa->replay().accept_burst({&sorted_[first], share.count});
        if (share.count == batch_.size()) [[likely]] {
            fresh_ = fresh;
        } else {
            for (std::uint16_t k = 0; k < share.count; ++k) {
                fresh_ |= (fresh >> k & 1) << packet_[first + k];
            }
        }
        if (share.entry->encapsulation.udp()) {
            note_peer(share, first, fresh);
        }
    }
    // Only the newest packet of all says where the peer is: an old one, delayed or held back, would move it back.
    void note_peer(const Share& share, std::uint16_t first, std::uint64_t fresh) noexcept {
        std::uint64_t newest = 0;
        std::uint8_t packet = 0;
        for (std::uint16_t k = 0; k < share.count; ++k) {
            if ((fresh >> k & 1) != 0 && sorted_[first + k] > newest) {
                newest = sorted_[first + k];
                packet = packet_[first + k];
            }
        }
        InboundSa& sa = *share.entry->sa;
        if (newest != 0 && newest == sa.replay().highest()) {
            sa.peer().note(source_of(*batch_[packet]));
        }
    }
    static PeerAddress source_of(rte_mbuf& m) noexcept {
        PeerAddress from;
        const PacketMeta& pm = meta(m);
        from.port_be = pm.src_port.raw;
        if (pm.ip == IpVersion::v4) {
            const be32 src = header_at<Ipv4Header>(m, 0).src;
            std::memcpy(from.address.data(), &src, sizeof src);
        } else {
            from.address = header_at<Ipv6Header>(m, 0).src;
            from.ipv6 = true;
        }
        return from;
    }

    Verdict pass(rte_mbuf& m, std::uint16_t i) noexcept {
        const OpenJob& job = in_.job[i];
        if ((fresh_ >> i & 1) == 0 || job.opened.status != OpenStatus::ok) [[unlikely]] {
            const bool replayed = is_authentic(job.opened.status) && (fresh_ >> i & 1) == 0;
            return replayed ? Drop::esp_replayed : reason_of(job.opened.status);
        }
        std::uint8_t* inner = job.esp + payload_offset(job.sa->layout());
        if (const Verdict verdict = check_inner(job.opened, inner); !verdict.kept()) [[unlikely]] {
            return verdict;
        }
        auto* outer = rte_pktmbuf_mtod(&m, std::uint8_t*);
        const Verdict verdict = apply_ecn(*ctx_.counters, traffic_class(outer), inner, job.opened.payload_len);
        m.data_off = static_cast<std::uint16_t>(m.data_off + (inner - outer));
        m.data_len = static_cast<std::uint16_t>(job.opened.payload_len);
        m.pkt_len = job.opened.payload_len;
        PacketMeta& pm = meta(m);
        pm.zone = Zone::tunnel;
        pm.tunnel = in_.entry[i]->tunnel;
        return verdict;
    }

    Context& ctx_;
    Batch& batch_;
    const EspArrivals& in_;
    BurstGroups<Share> shares_;
    std::uint64_t fresh_ = 0;  // packet i may pass: its number is used for the first time
    std::array<std::uint8_t, kBurst> share_of_;
    std::array<std::uint64_t, kBurst>
        sorted_;  // numbers, those of a share side by side, each share's in order of arrival
    std::array<std::uint8_t, kBurst> packet_;   // whose they are
};

}  // namespace

void accept_esp(Context& ctx, Batch& batch, const EspArrivals& in) noexcept {
    Accepting accepting{ctx, batch, in};
    if (!accepting.gather_one()) {
        accepting.gather();
        accepting.mark();
    }
    accepting.pass();
}

}  // namespace twinspan
