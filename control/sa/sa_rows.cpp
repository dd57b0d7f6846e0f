// What the control socket tells of SAs.
#include "control/sa/sa_store.hpp"

#include <algorithm>
#include <iterator>

namespace twinspan {
namespace {

std::optional<std::uint64_t> until(std::uint64_t used, std::uint64_t limit) noexcept {
    return limit == 0 || limit == netlink::kNoLimit ? std::nullopt : std::optional{limit - std::min(used, limit)};
}

std::uint64_t age_of(std::uint64_t since_s) noexcept {
    const std::uint64_t now = now_s();
    return now - std::min(now, since_s);
}

void add_out(SaRow& row, const OutboundSa& sa) {
    row.spi = sa.spi();
    row.outbound = true;
    row.suite = sa.suite();
    row.icv_len = sa.layout().icv_len;
    row.esn = sa.width() == SequenceWidth::bits64;
    row.sequence = sa.next_seq() - 1;
    row.reserved_until = sa.limit();
}

void add_in(SaRow& row, const InboundSa& sa) {
    row.spi = sa.spi();
    row.suite = sa.suite();
    row.icv_len = sa.layout().icv_len;
    row.esn = sa.width() == SequenceWidth::bits64;
    row.sequence = sa.replay().highest();
    row.window_bits = sa.replay().bits();
}

}  // namespace

// By tunnel; of a tunnel the newest last.
std::vector<SaRow> SaStore::rows() const {
    std::vector<std::vector<SaRow>> by_tunnel(places_.size());
    for (const StaticSas::Entry& sa : static_.entries()) {
        const TunnelConfig& tunnel = world_.config.tunnels[sa.tunnel];
        const TunnelSas& used = world_.sas[sa.tunnel];
        SaRow out{.tunnel = sa.tunnel, .in_use = used.out != nullptr, .usage = sa.sent()};
        SaRow in{.tunnel = sa.tunnel, .in_use = !used.in.empty(), .usage = sa.received()};
        add_out(out, *sa.out);
        add_in(in, *sa.in);
        for (SaRow* row : {&out, &in}) {
            const StaticSas::Wear& wear = row->outbound ? sa.sending : sa.receiving;
            row->encapsulation = used.encapsulation;
            row->peer = remote_of(tunnel, used);
            row->left = left_of(tunnel.lifetime, row->usage, age_of(wear.before.since_s));
            by_tunnel[sa.tunnel].push_back(*row);
        }
    }
    for (std::size_t i = 0; i < places_.size(); ++i) {
        for (const KernelSa* sa : places_[i].sas) {
            const bool outbound = sa->out() != nullptr;
            SaRow row{.tunnel = i, .from_kernel = true, .in_use = !outbound || places_[i].current == sa};
            outbound ? add_out(row, *sa->out()) : add_in(row, *sa->in());
            row.usage = sa->usage();
            row.encapsulation = sa->encapsulation();
            row.peer = sa->peer();
            row.left = {.bytes = until(row.usage.bytes, sa->limits().hard_bytes),
                        .packets = until(row.usage.packets, sa->limits().hard_packets),
                        .seconds = until(age_of(sa->base().add_time), sa->limits().hard_seconds)};
            by_tunnel[i].push_back(row);
        }
    }
    std::vector<SaRow> rows;
    for (std::vector<SaRow>& of_tunnel : by_tunnel) {
        std::ranges::move(of_tunnel, std::back_inserter(rows));
    }
    return rows;
}

}  // namespace twinspan
