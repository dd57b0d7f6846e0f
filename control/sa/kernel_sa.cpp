#include "control/sa/kernel_sa.hpp"

#include "control/sa/kernel_replay.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace twinspan {
namespace {

// Called every 50 ms: 2 s ahead, and topped up when less than 1 s is left.
constexpr std::uint64_t kCallsAhead = 40;
// The rekey is due when seven eighths of the numbers are used: what is left lasts 36 s at 15 million packets a second.
constexpr std::uint64_t rekey_at(std::uint64_t end_of_sequence) noexcept { return end_of_sequence / 8 * 7; }

bool reached(std::uint64_t value, std::uint64_t limit) noexcept { return limit != 0 && value >= limit; }

}  // namespace

std::expected<std::unique_ptr<KernelSa>, std::string> KernelSa::make(const Engine& engine, netlink::XfrmKernel& kernel,
                                                                     netlink::SaEvent& event, const SaMatch& match,
                                                                     const SaConfig& config, const KeyFingerprint& key,
                                                                     std::uint64_t first_at_least) {
    // What nobody has used is as its event says, and waits for no answer.
    const bool untouched = !match.outbound && event.replay.highest == 0 &&
                           std::ranges::all_of(event.replay.bitmap, [](std::uint32_t word) { return word == 0; });
    auto now = untouched ? netlink::SaCheckpoint{event.id, event.replay, event.lifetime} : kernel.read(event.id);
    if (!now) {
        return std::unexpected(now.error().what);
    }
    std::unique_ptr<KernelSa> sa{new KernelSa};
    sa->id_ = event.id;
    sa->tunnel_ = match.tunnel;
    sa->form_ = now->replay ? std::move(*now->replay) : std::move(event.replay);
    sa->most_written_ = sa->form_.sent;
    sa->base_ = now->lifetime.value_or(event.lifetime);
    sa->written_ = {sa->base_.packets, sa->base_.bytes};
    sa->key_ = key;
    if (match.outbound) {
        const std::uint64_t first = std::max(sa->form_.sent + 1, first_at_least);
        auto out = OutboundSa::create(engine, config, first);
        if (!out) {
            return std::unexpected(out.error());
        }
        sa->out_ = std::move(*out);
        sa->pace_.emplace(first, SequencePace::kDefaultChunk, kCallsAhead);
        sa->reserved_until_ = first;
    } else {
        auto in = InboundSa::create(engine, config, window_bits(sa->form_, event.short_window), from_kernel(sa->form_));
        if (!in) {
            return std::unexpected(in.error());
        }
        sa->in_ = std::move(*in);
        sa->written_highest_ = sa->form_.highest;
    }
    sa->update(event);
    return sa;
}

void KernelSa::update(const netlink::SaEvent& event) noexcept {
    limits_ = event.limits;
    peer_ = out_ ? event.id.destination : event.source;
    // Of an inbound SA the ports are those that come in: the peer's first.
    encapsulation_ = out_ ? Encapsulation{event.encapsulation.source, event.encapsulation.destination}
                          : Encapsulation{event.encapsulation.destination, event.encapsulation.source};
}

netlink::Answer<void> KernelSa::reserve(netlink::XfrmKernel& kernel) {
    if (const auto limit = pace_->due(*out_, reserved_until_)) {
        return cover(kernel, *limit);
    }
    out_->raise_limit(reserved_until_);  // of one that was stopped, and whose numbers Linux still covers
    return {};
}

netlink::Answer<void> KernelSa::reassert(netlink::XfrmKernel& kernel, std::uint64_t sent) {
    if (!out_ || sent + 1 >= reserved_until_) {
        return {};
    }
    const auto now = kernel.read(id_);  // an event may tell of the time before the reservation
    if (!now) {
        return std::unexpected(now.error());
    }
    if (now->replay && now->replay->sent + 1 >= reserved_until_) {
        return {};
    }
    return kernel.write({.id = id_, .replay = form_, .lifetime = {}});
}

// Linux keeps the last number used. It takes the wrong form of replay state without a word and changes nothing: the
// first time, the number is read back.
netlink::Answer<void> KernelSa::cover(netlink::XfrmKernel& kernel, std::uint64_t limit) {
    if (auto alone = check_alone(kernel); !alone) {
        return alone;
    }
    if (auto written = write_sent(kernel, limit - 1, {}); !written) {
        return written;
    }
    if (!verified_) {
        const auto kept = kernel.read(id_);
        if (!kept) {
            return std::unexpected(kept.error());
        }
        if (!kept->replay || kept->replay->sent != limit - 1) {
            return std::unexpected(
                netlink::KernelRefusal{EPROTO, "writing the state of " + id_.text() + ": Linux did not keep it"});
        }
        verified_ = true;
    }
    reserved_until_ = limit;
    out_->raise_limit(limit);
    return {};
}

// ESP of Linux's own, or of another daemon, takes the numbers that come next here.
netlink::Answer<void> KernelSa::check_alone(netlink::XfrmKernel& kernel) const {
    const auto now = kernel.read(id_);
    if (!now) {
        return std::unexpected(now.error());
    }
    if (now->replay && now->replay->sent > most_written_) {
        return std::unexpected(netlink::KernelRefusal{
            EBUSY, "reserving numbers of " + id_.text() + ": somebody else sends over it, Linux is at number " +
                       std::to_string(now->replay->sent) + ", past " + std::to_string(most_written_)});
    }
    return {};
}

// A refusal does not say that Linux has it not: its answer may be lost.
netlink::Answer<void> KernelSa::write_sent(netlink::XfrmKernel& kernel, std::uint64_t sent,
                                           const std::optional<netlink::SaLifetime>& lifetime) {
    form_.sent = sent;
    const auto written = kernel.write({.id = id_, .replay = form_, .lifetime = lifetime});
    most_written_ = written ? sent : std::max(sent, most_written_);
    return written;
}

SaUsage KernelSa::usage() const noexcept {
    const SaUsage used = out_ ? out_->usage() : in_->usage();
    return {base_.packets + used.packets, base_.bytes + used.bytes};
}

// The times are written back as they are: Linux reckons the SA's age from them.
netlink::SaCheckpoint KernelSa::counters(std::uint64_t now_s) const {
    const SaUsage used = usage();
    netlink::SaLifetime life = base_;
    life.packets = used.packets;
    life.bytes = used.bytes;
    if (life.use_time == 0 && used.packets != 0) {
        life.use_time = now_s;
    }
    return {.id = id_, .replay = {}, .lifetime = life};
}

bool KernelSa::has_changed() const noexcept {
    return usage() != written_ || (in_ && in_->replay().highest() != written_highest_);
}

netlink::Answer<void> KernelSa::checkpoint(netlink::XfrmKernel& kernel, std::uint64_t now_s) {
    if (!has_changed()) {
        return {};
    }
    const SaUsage used = usage();
    const std::uint64_t highest = in_ ? in_->replay().highest() : 0;
    netlink::SaCheckpoint checkpoint = counters(now_s);
    if (in_) {
        checkpoint.replay = to_kernel(in_->replay().state(), form_);
    }
    if (auto written = kernel.write(checkpoint); !written) {
        return written;
    }
    base_.use_time = checkpoint.lifetime->use_time;
    written_ = used;
    written_highest_ = highest;
    return {};
}

netlink::Answer<void> KernelSa::give_back(netlink::XfrmKernel& kernel, std::uint64_t now_s) {
    netlink::SaCheckpoint last = counters(now_s);
    if (in_) {
        last.replay = to_kernel(in_->replay().state(), form_);
        return kernel.write(last);
    }
    out_->stop();
    reserved_until_ = std::min(out_->next_seq(), reserved_until_);
    if (auto alone = check_alone(kernel); !alone) {
        return alone;
    }
    return write_sent(kernel, reserved_until_ - 1, last.lifetime);
}

SaLimit KernelSa::limit_reached() const noexcept {
    const SaUsage used = usage();
    if (reached(used.bytes, limits_.hard_bytes) || reached(used.packets, limits_.hard_packets)) {
        return SaLimit::hard;
    }
    const bool near_end = out_ && out_->next_seq() >= rekey_at(out_->end_of_sequence());
    return near_end || reached(used.bytes, limits_.soft_bytes) || reached(used.packets, limits_.soft_packets)
               ? SaLimit::soft
               : SaLimit::none;
}

}  // namespace twinspan
