#include "control/sa/sa_store.hpp"

#include "control/log.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <ranges>
#include <utility>

namespace twinspan {
namespace {

constexpr std::uint64_t kCheckpointTicks = 5;
constexpr std::uint64_t kRetryTicks = 200;  // 10 s: for SAs that were not taken, and between log lines of one
constexpr std::uint64_t kTakeOverTicks = 200;
constexpr std::size_t kEndedKept = 4096;

std::uint64_t now_s() noexcept {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count());
}

}  // namespace

SaStore::SaStore(Engine engine, World& world, Metrics& metrics, std::unique_ptr<netlink::XfrmKernel> kernel)
    : engine_(std::move(engine)),
      world_(world),
      metrics_(metrics),
      kernel_(std::move(kernel)),
      current_(world.config.tunnels.size()) {
    world_.sas.resize(world_.config.tunnels.size());
}

Result<void> SaStore::open_static(const std::vector<SaFile>& files) {
    return static_.open(engine_, world_.config, files, world_.sas);
}

void SaStore::apply(netlink::XfrmEvent event) {
    const auto* sa = std::get_if<netlink::SaEvent>(&event);
    if (sa != nullptr && (sa->larval || sa->if_id == 0)) {  // without if_id it is another program's
        return;
    }
    if (dumping_ && sa != nullptr) {
        dumped_.push_back(std::get<netlink::SaEvent>(std::move(event)));
        return;
    }
    if (batch_.empty()) {
        batch_began_ = Clock::now();
    }
    batch_.push_back(std::move(event));
}

// What is inbound is published before anything that Linux must be asked for: packets come as soon as the peer knows.
// From a deletion on, all goes in its order.
void SaStore::take_batch() {
    std::vector<netlink::XfrmEvent> batch = std::exchange(batch_, {});
    const auto only_added = [](const netlink::XfrmEvent& event) {
        return !std::holds_alternative<netlink::SaDeleted>(event) &&
               !std::holds_alternative<netlink::SasFlushed>(event);
    };
    const auto inbound = [this](const netlink::XfrmEvent& event) {
        const auto* sa = std::get_if<netlink::SaEvent>(&event);
        const auto match = sa != nullptr ? match_sa(world_.config, *sa) : std::unexpected(SaRefusal{});
        return match && !match->outbound;
    };
    const auto rest = std::ranges::find_if_not(batch, only_added);
    const auto slow = std::stable_partition(batch.begin(), rest, inbound);
    std::for_each(batch.begin(), slow, [this](netlink::XfrmEvent& event) { act_on(std::move(event)); });
    publish();
    std::for_each(slow, batch.end(), [this](netlink::XfrmEvent& event) { act_on(std::move(event)); });
}

void SaStore::act_on(netlink::XfrmEvent event) {
    if (auto* sa = std::get_if<netlink::SaEvent>(&event)) {
        take(std::move(*sa));
    } else if (const auto* deleted = std::get_if<netlink::SaDeleted>(&event)) {
        remove(deleted->id);
    } else if (std::holds_alternative<netlink::SasFlushed>(event)) {
        remove_all();
    }
}

void SaStore::begin_dump() {
    commit();  // what came before it
    dumping_ = true;
    for (const Owned& sa : sas_) {
        sa->seen = false;
    }
    for (auto& [id, refused] : refused_) {
        refused.seen = false;
    }
}

// The oldest first, as events would have brought them. Linux knows their age in seconds and dumps the newest first.
void SaStore::end_dump(bool complete) {
    dumping_ = false;
    batch_began_ = Clock::now();
    std::ranges::reverse(dumped_);
    std::ranges::stable_sort(dumped_, {}, [](const netlink::SaEvent& sa) { return sa.lifetime.add_time; });
    for (netlink::SaEvent& sa : std::exchange(dumped_, {})) {
        take(std::move(sa));
    }
    if (!complete) {
        return;
    }
    std::vector<netlink::SaId> gone;
    for (const Owned& sa : sas_) {
        if (!sa->seen) {
            gone.push_back(sa->id());
        }
    }
    std::ranges::for_each(gone, [this](const netlink::SaId& id) { remove(id); });
    std::erase_if(refused_, [](const auto& item) { return !item.second.seen; });
}

void SaStore::take(netlink::SaEvent event) {
    const auto match = match_sa(world_.config, event);
    if (!match) {
        refuse(event, match.error().metric, match.error().why);
        return;
    }
    const auto known = std::ranges::find(sas_, event.id, &KernelSa::id);
    if (known == sas_.end()) {
        add(std::move(event), *match);
        return;
    }
    const KeyFingerprint key = fingerprint(
        engine_,
        SaConfig{.spi = event.id.spi, .suite = match->suite, .keymat = SecretBytes::copy_of(event.keymat.span())});
    if ((*known)->key() == key && ((*known)->out() != nullptr) == match->outbound &&
        (*known)->tunnel() == match->tunnel) {
        (*known)->seen = true;
        (*known)->update(event);
        attempt(**known, (*known)->reassert(*kernel_, event.replay.sent));
        changed_ = true;
    } else {  // its deletion was lost
        remove(event.id);
        add(std::move(event), *match);
    }
}

void SaStore::add(netlink::SaEvent event, const SaMatch& match) {
    const KeyFingerprint key = fingerprint(
        engine_,
        SaConfig{.spi = event.id.spi, .suite = match.suite, .keymat = SecretBytes::copy_of(event.keymat.span())});
    if (conflicts(event, match, key)) {
        return;
    }
    if (std::ranges::find(dying_, key, &KernelSa::key) != dying_.end()) {
        publish();  // workers may use its key still: only after a grace period is known where its numbers end
        release();
    }
    const auto ended = ended_.find(key);
    auto sa = KernelSa::make(engine_, *kernel_, event, match, ended == ended_.end() ? 1 : ended->second);
    if (!sa) {
        refuse(event, Metric::xfrm_sa_failed, sa.error());
        return;
    }
    if ((*sa)->out() != nullptr) {
        if (const auto covered = (*sa)->reserve(*kernel_); !covered) {
            refuse(event, Metric::xfrm_sa_failed, covered.error().what);
            return;
        }
    }
    refused_.erase(event.id);
    spdlog::info("tunnel {}: {} SA {:#010x}, {}{}", tunnel_name(**sa), match.outbound ? "outbound" : "inbound",
                 event.id.spi, name(match.suite), event.esn ? ", extended sequence numbers" : "");
    (*sa)->since_tick = ticks_;
    if ((*sa)->in() != nullptr && !inbound_since_) {
        inbound_since_ = batch_began_;
    }
    sas_.push_back(std::move(*sa));
    changed_ = true;
}

bool SaStore::conflicts(const netlink::SaEvent& event, const SaMatch& match, const KeyFingerprint& key) {
    const auto in_of = [](const Owned& sa) { return sa->in() != nullptr; };
    const auto same_static_spi = [&](const StaticSas::Entry& sa) { return sa.in->spi() == event.id.spi; };
    if (!match.outbound && (std::ranges::any_of(sas_, [&](const Owned& sa) {
        return in_of(sa) && sa->id().spi == event.id.spi;
    }) || std::ranges::any_of(static_.entries(), same_static_spi))) {
        refuse(event, Metric::xfrm_sa_spi_conflict, "another inbound SA has its SPI", true);
        return true;
    }
    const auto same_static_key = [&](const StaticSas::Entry& sa) {
        return sa.outbound_key == key || sa.inbound_key == key;
    };
    if (std::ranges::any_of(sas_, [&](const Owned& sa) { return sa->key() == key; }) ||
        std::ranges::any_of(static_.entries(), same_static_key)) {
        refuse(event, Metric::xfrm_sa_key_reused, "another SA has its key and salt, and IVs would repeat", true);
        return true;
    }
    return false;
}

void SaStore::refuse(const netlink::SaEvent& event, Metric metric, const std::string& why, bool for_another) {
    Refused& refused = refused_[event.id];
    refused.seen = true;
    if (refused.why == why) {
        return;  // a dump repeats what was said
    }
    refused = {.why = why, .metric = metric, .for_another = for_another, .seen = true};
    metrics_.add(metric);
    spdlog::warn("{} with if_id {} is not used: {}", event.id.text(), event.if_id, why);
}

void SaStore::remove(const netlink::SaId& id) {
    refused_.erase(id);
    const auto found = std::ranges::find(sas_, id, &KernelSa::id);
    if (found == sas_.end()) {
        return;
    }
    Owned sa = std::move(*found);
    sas_.erase(found);
    spdlog::info("tunnel {}: {} SA {:#010x} is deleted", tunnel_name(*sa), sa->out() ? "outbound" : "inbound", id.spi);
    retire(std::move(sa));
}

void SaStore::remove_all() {
    wants_resync_ = true;
    refused_.clear();
    for (Owned& sa : std::exchange(sas_, {})) {
        retire(std::move(sa));
    }
}

void SaStore::retire(Owned sa) {
    wants_resync_ |= std::ranges::any_of(refused_, [](const auto& item) { return item.second.for_another; });
    std::erase(released_, sa.get());
    std::ranges::replace(current_, sa.get(), static_cast<KernelSa*>(nullptr));
    dying_.push_back(std::move(sa));
    changed_ = true;
}

// The newest that can send, but the one in use stays until Linux deletes it: RFC 7296 section 2.8 lets the other end
// not yet take what a new SA seals when a responder adds it here, and the old one is deleted when it does. Where nobody
// deletes it, the new one takes over after a while. One that was passed over before has its numbers reserved again.
KernelSa* SaStore::choose_outbound(std::size_t tunnel) {
    const KernelSa* const current = current_[tunnel];
    const bool stays = current != nullptr && current->usable && !current->dry();
    for (const Owned& sa : std::views::reverse(sas_)) {
        KernelSa& candidate = *sa;
        if (candidate.tunnel() != tunnel || candidate.out() == nullptr || !candidate.usable) {
            continue;
        }
        if (stays && current == &candidate) {
            return &candidate;
        }
        if (stays && ticks_ - candidate.since_tick < kTakeOverTicks) {
            continue;
        }
        const auto covered = candidate.reserve(*kernel_);
        attempt(candidate, covered);
        if (covered) {
            return &candidate;
        }
    }
    return nullptr;
}

std::vector<TunnelSas> SaStore::wanted() {
    std::vector<TunnelSas> sas = world_.sas;
    for (std::size_t i = 0; i < sas.size(); ++i) {
        if (!world_.config.tunnels[i].ike) {
            continue;
        }
        sas[i] = {};
        KernelSa* out = choose_outbound(i);
        if (current_[i] != nullptr && current_[i] != out) {
            released_.push_back(current_[i]);
        }
        std::erase(released_, out);
        current_[i] = out;
        if (out != nullptr) {
            sas[i].out = out->out();
            sas[i].encapsulation = out->encapsulation();
        }
    }
    for (const Owned& sa : sas_) {
        if (sa->in() != nullptr) {
            sas[sa->tunnel()].in.push_back({sa->id().spi, sa->in()});
        }
    }
    return sas;
}

// One publication for all that came in one batch, and one before it for what is inbound.
void SaStore::commit() {
    take_batch();
    publish();
    release();
}

void SaStore::publish() {
    if (!std::exchange(changed_, false)) {
        return;
    }
    std::vector<TunnelSas> sas = wanted();
    if (sas == world_.sas) {
        return;
    }
    world_.sas = std::move(sas);
    if (workers_.publish) {
        workers_.publish();
    }
    if (const auto since = std::exchange(inbound_since_, {})) {
        const auto took = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - *since);
        const auto us = static_cast<std::uint64_t>(took.count());
        metrics_.set(Metric::sa_publication_us, us);
        metrics_.set(Metric::sa_publication_most_us, std::max(us, metrics_[Metric::sa_publication_most_us]));
    }
}

// What is no longer in World::sas: nobody uses it after a grace period.
void SaStore::release() {
    if (dying_.empty() && released_.empty()) {
        return;
    }
    if (workers_.synchronize) {
        workers_.synchronize();
    }
    for (KernelSa* sa : std::exchange(released_, {})) {
        if (sa->told != SaLimit::hard) {  // Linux has none such any more
            attempt(*sa, sa->give_back(*kernel_, now_s()));
        }
    }
    for (const Owned& sa : dying_) {
        remember(*sa);
    }
    dying_.clear();  // wipes the keys
}

void SaStore::remember(const KernelSa& sa) {
    if (sa.out() == nullptr) {
        return;
    }
    if (ended_.insert_or_assign(sa.key(), sa.next_seq()).second) {
        ended_order_.push_back(sa.key());
    }
    if (ended_order_.size() > kEndedKept) {
        ended_.erase(ended_order_.front());
        ended_order_.pop_front();
    }
}

void SaStore::attempt(KernelSa& sa, const netlink::Answer<void>& done) {
    if (done) {
        return;
    }
    metrics_.add(Metric::xfrm_write_failures);
    if (ticks_ >= sa.quiet_until) {
        sa.quiet_until = ticks_ + kRetryTicks;
        spdlog::warn("tunnel {}: {}", tunnel_name(sa), done.error().what);
        wants_resync_ |= done.error().code == ESRCH;  // its deletion was lost
    }
}

// Once for each limit, and again until it is told. Past a hard one nothing is sent any more, and Linux deletes the SA.
void SaStore::watch_limit(KernelSa& sa) {
    const SaLimit limit = std::max(sa.limit_reached(), sa.worn_out ? SaLimit::soft : SaLimit::none);
    if (limit <= sa.told) {
        return;
    }
    const bool hard = limit == SaLimit::hard;
    if (hard && sa.out() != nullptr && std::exchange(sa.usable, false)) {
        sa.out()->stop();
        changed_ = true;
    }
    const auto told = kernel_->expire(sa.id(), hard);
    attempt(sa, told);
    if (told) {
        sa.told = limit;
        metrics_.add(hard ? Metric::xfrm_hard_expires : Metric::xfrm_soft_expires);
        spdlog::info("tunnel {}: SA {:#010x} has reached its {} limit", tunnel_name(sa), sa.id().spi,
                     hard ? "hard" : "soft");
    }
}

// A tunnel whose SA can reserve no more takes another one, or none, and its key daemon is to make one.
void SaStore::reserve() {
    for (KernelSa* sa : current_) {
        if (sa == nullptr) {
            continue;
        }
        attempt(*sa, sa->reserve(*kernel_));
        if (sa->dry()) {
            sa->worn_out = changed_ = true;
        }
    }
    changed_ |= std::ranges::any_of(sas_, [this](const Owned& sa) {
        return sa->out() != nullptr && sa->usable && current_[sa->tunnel()] == nullptr;
    });
}

void SaStore::tick() {
    static_.top_up(world_.config);
    const bool checkpoint = ++ticks_ % kCheckpointTicks == 0;
    const auto failed = [](const auto& item) { return item.second.metric == Metric::xfrm_sa_failed; };
    wants_resync_ |= ticks_ % kRetryTicks == 0 && std::ranges::any_of(refused_, failed);
    reserve();
    for (const Owned& sa : sas_) {
        watch_limit(*sa);
        const bool idle = sa->out() != nullptr && current_[sa->tunnel()] != sa.get();
        if (idle) {
            changed_ |= ticks_ - sa->since_tick == kTakeOverTicks;
        } else if (checkpoint) {
            attempt(*sa, sa->checkpoint(*kernel_, now_s()));
        }
    }
    commit();
}

void SaStore::close() {
    workers_ = {};
    static_.give_back();
    for (const Owned& sa : sas_) {
        const bool given_back = sa->out() != nullptr && current_[sa->tunnel()] != sa.get();
        if (!given_back) {
            attempt(*sa, sa->give_back(*kernel_, now_s()));
        }
    }
}

std::vector<SaRow> SaStore::rows() const {
    std::vector<SaRow> rows;
    const auto add_out = [&](std::size_t tunnel, const OutboundSa& sa, bool in_use, const KernelSa* kernel) {
        rows.push_back({.tunnel = tunnel,
                        .spi = sa.spi(),
                        .outbound = true,
                        .from_kernel = kernel != nullptr,
                        .in_use = in_use,
                        .suite = sa.suite(),
                        .esn = sa.width() == SequenceWidth::bits64,
                        .sequence = sa.next_seq() - 1,
                        .reserved_until = sa.limit(),
                        .usage = kernel != nullptr ? kernel->usage() : sa.usage()});
    };
    const auto add_in = [&](std::size_t tunnel, const InboundSa& sa, const KernelSa* kernel) {
        rows.push_back({.tunnel = tunnel,
                        .spi = sa.spi(),
                        .from_kernel = kernel != nullptr,
                        .in_use = true,
                        .suite = sa.suite(),
                        .esn = sa.width() == SequenceWidth::bits64,
                        .sequence = sa.replay().highest(),
                        .window_bits = sa.replay().bits(),
                        .usage = kernel != nullptr ? kernel->usage() : sa.usage()});
    };
    for (const StaticSas::Entry& sa : static_.entries()) {
        add_out(sa.tunnel, *sa.out, true, nullptr);
        add_in(sa.tunnel, *sa.in, nullptr);
    }
    for (const Owned& sa : sas_) {
        sa->out() != nullptr ? add_out(sa->tunnel(), *sa->out(), current_[sa->tunnel()] == sa.get(), sa.get())
                             : add_in(sa->tunnel(), *sa->in(), sa.get());
    }
    std::ranges::stable_sort(rows, {}, &SaRow::tunnel);
    return rows;
}

}  // namespace twinspan
