#include "control/sa/sa_store.hpp"

#include "control/log.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace twinspan {
namespace {

constexpr std::uint64_t kRetryTicks = 200;  // 10 s: between log lines of one SA

// Only a counter that makes the IV must not begin again; the IVs of CBC are random.
bool repeats_ivs(Suite suite) noexcept { return info(suite).kind != SuiteKind::cbc_hmac; }

}  // namespace

SaStore::SaStore(Engine engine, World& world, Metrics& metrics, std::unique_ptr<netlink::XfrmKernel> kernel)
    : engine_(std::move(engine)),
      world_(world),
      metrics_(metrics),
      kernel_(std::move(kernel)),
      matcher_(world.config),
      places_(world.config.tunnels.size()) {
    world_.sas.resize(world_.config.tunnels.size());
}

Result<void> SaStore::open_static(const std::vector<SaFile>& files) {
    auto opened = static_.open(engine_, world_.config, files, world_.sas);
    for (const StaticSas::Entry& sa : static_.entries()) {
        ++inbound_spis_[sa.in->spi()];
        ++keys_[sa.outbound_key];
        ++keys_[sa.inbound_key];
    }
    return opened;
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
        const auto match = sa != nullptr ? matcher_.match(*sa) : std::unexpected(SaRefusal{});
        return match && !match->outbound;
    };
    const auto rest = std::ranges::find_if_not(batch, only_added);
    const auto slow = std::stable_partition(batch.begin(), rest, inbound);
    std::for_each(batch.begin(), slow, [this](netlink::XfrmEvent& event) { act_on(std::move(event)); });
    if (slow != batch.begin() && may_publish()) {
        publish();
    }
    std::for_each(slow, batch.end(), [this](netlink::XfrmEvent& event) { act_on(std::move(event)); });
}

void SaStore::act_on(netlink::XfrmEvent event) {
    if (auto* sa = std::get_if<netlink::SaEvent>(&event)) {
        take(std::move(*sa));
    } else if (const auto* deleted = std::get_if<netlink::SaDeleted>(&event)) {
        remove(deleted->id);
    } else if (const auto* mapped = std::get_if<netlink::SaMapped>(&event)) {
        if (const auto found = sas_.find(mapped->id); found != sas_.end()) {
            move_peer(found->second->tunnel(), {mapped->source, mapped->source_port});
        }
    } else if (std::holds_alternative<netlink::SasFlushed>(event)) {
        remove_all();
    } else if (std::holds_alternative<netlink::SasMigrated>(event)) {
        wants_resync_ = true;
    }
}

SaConfig SaStore::config_of(netlink::SaEvent& event, const SaMatch& match) {
    return {.spi = event.id.spi,
            .suite = match.suite,
            .keymat = std::move(event.algorithms.keymat),
            .width = event.esn ? SequenceWidth::bits64 : SequenceWidth::bits32,
            .icv_len = match.icv_len};
}

void SaStore::take(netlink::SaEvent event) {
    suspects_.erase(event.id);
    const auto match = matcher_.match(event);
    if (!match) {
        refuse(event, match.error().metric, match.error().why);
        return;
    }
    const SaConfig config = config_of(event, *match);
    const KeyFingerprint key = fingerprint(engine_, config);
    const auto known = sas_.find(event.id);
    if (known == sas_.end()) {
        add(std::move(event), *match, config, key);
        return;
    }
    KernelSa& sa = *known->second;
    if (sa.is(*match, key)) {
        sa.seen = true;
        sa.update(event);
        attempt(sa, sa.reassert(*kernel_, event.replay.sent));
        follow_linux(sa.tunnel());
        change(sa.tunnel());
    } else {  // its deletion was lost
        remove(event.id);
        add(std::move(event), *match, config, key);
    }
}

void SaStore::add(netlink::SaEvent event, const SaMatch& match, const SaConfig& config, const KeyFingerprint& key) {
    if (conflicts(event, match, key)) {
        return;
    }
    if (dying_keys_.contains(key)) {
        publish();  // workers may use its key still: only after a grace period is known where its numbers end
        release();
    }
    const auto ended = ended_.find(key);
    auto sa = KernelSa::make(engine_, *kernel_, event, match, config, key, ended == ended_.end() ? 1 : ended->second);
    if (!sa) {
        refuse(event, Metric::xfrm_sa_failed, sa.error());
        return;
    }
    if ((*sa)->out() != nullptr) {
        if (const auto covered = (*sa)->reserve(*kernel_); !covered) {
            refuse(event, Metric::xfrm_sa_failed, covered.error().what);
            return;
        }
    } else {
        ++inbound_spis_[event.id.spi];
    }
    forget_refusal(event.id);
    spdlog::info("tunnel {}: {} SA {:#010x}, {}{}", tunnel_name(**sa), match.outbound ? "outbound" : "inbound",
                 event.id.spi, name(match.suite), event.esn ? ", extended sequence numbers" : "");
    (*sa)->since_tick = ticks_;
    if ((*sa)->in() != nullptr && !inbound_since_) {
        inbound_since_ = batch_began_;
    }
    ++keys_[key];
    places_[match.tunnel].sas.push_back(sa->get());
    sas_.emplace(event.id, std::move(*sa));
    follow_linux(match.tunnel);
    change(match.tunnel);
}

bool SaStore::conflicts(const netlink::SaEvent& event, const SaMatch& match, const KeyFingerprint& key) {
    if (!match.outbound && inbound_spis_.contains(event.id.spi)) {
        refuse(event, Metric::xfrm_sa_spi_conflict, "another inbound SA has its SPI", true);
        return true;
    }
    if (repeats_ivs(match.suite) && keys_.contains(key)) {
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
    refused_for_another_ += for_another ? 1 : 0;
    refused_for_another_ -= refused.for_another ? 1 : 0;
    refused = {.why = why, .metric = metric, .for_another = for_another, .seen = true};
    metrics_.add(metric);
    spdlog::warn("{} with if_id {} is not used: {}", event.id.text(), event.if_id, why);
}

void SaStore::forget_refusal(const netlink::SaId& id) {
    const auto found = refused_.find(id);
    if (found != refused_.end()) {
        refused_for_another_ -= found->second.for_another ? 1 : 0;
        refused_.erase(found);
    }
}

void SaStore::remove(const netlink::SaId& id) {
    suspects_.erase(id);
    forget_refusal(id);
    auto node = sas_.extract(id);
    if (node.empty()) {
        return;
    }
    spdlog::info("tunnel {}: {} SA {:#010x} is deleted", tunnel_name(*node.mapped()),
                 node.mapped()->out() ? "outbound" : "inbound", id.spi);
    retire(std::move(node.mapped()));
}

void SaStore::remove_all() {
    wants_resync_ = true;
    refused_.clear();
    refused_for_another_ = 0;
    for (auto& [id, sa] : std::exchange(sas_, {})) {
        retire(std::move(sa));
    }
}

void SaStore::retire(Owned sa) {
    wants_resync_ |= refused_for_another_ != 0;
    Place& place = places_[sa->tunnel()];
    std::erase(place.sas, sa.get());
    if (place.current == sa.get()) {
        place.current = nullptr;
    }
    if (sa->in() != nullptr) {
        inbound_spis_.erase(sa->id().spi);
        heard_.erase(sa->id().spi);
    }
    if (const auto key = keys_.find(sa->key()); --key->second == 0) {
        keys_.erase(key);
    }
    sa->released = false;
    change(sa->tunnel());
    dying_keys_.insert(sa->key());
    dying_.push_back(std::move(sa));
}

void SaStore::change(std::size_t tunnel) {
    if (!std::exchange(places_[tunnel].changed, true)) {
        changed_.push_back(tunnel);
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

}  // namespace twinspan
