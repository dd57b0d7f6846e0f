// What of the SA store's SAs workers use, and when they learn of it.
#include "control/log.hpp"
#include "control/sa/sa_store.hpp"

#include <algorithm>
#include <ranges>
#include <utility>

namespace twinspan {
namespace {

constexpr std::size_t kEndedKept = 4096;

std::string text_of(const Peer& peer) {
    return peer.address.text() + (peer.port.raw == 0 ? "" : " port " + std::to_string(peer.port.host()));
}

}  // namespace

// The newest that can send, but the one in use stays until Linux deletes it: RFC 7296 section 2.8 lets the other end
// not yet take what a new SA seals when a responder adds it here, and the old one is deleted when it does. Where nobody
// deletes it, the new one takes over after a while. One that was passed over before has its numbers reserved again.
KernelSa* SaStore::choose_outbound(Place& place) {
    const bool stays = place.current != nullptr && place.current->usable && !place.current->dry();
    for (KernelSa* candidate : std::views::reverse(place.sas)) {
        if (!candidate->can_send()) {
            continue;
        }
        if (stays && place.current == candidate) {
            return candidate;
        }
        if (stays && ticks_ - candidate->since_tick < kTakeOverTicks) {
            continue;
        }
        const auto covered = candidate->reserve(*kernel_);
        attempt(*candidate, covered);
        if (covered) {
            return candidate;
        }
    }
    return nullptr;
}

TunnelSas SaStore::wanted(std::size_t tunnel) {
    Place& place = places_[tunnel];
    const TunnelConfig& config = world_.config.tunnels[tunnel];
    TunnelSas sas;
    if (!config.ike) {
        sas = static_.sas_of(tunnel);
    } else {
        KernelSa* out = choose_outbound(place);
        if (place.current != nullptr && place.current != out && !std::exchange(place.current->released, true)) {
            released_.push_back(place.current);
        }
        place.current = out;
        if (out != nullptr) {
            out->released = false;
            sas.out = out->out();
            sas.encapsulation = out->encapsulation();
            sas.layout = out->layout();
            sas.moved_to = out->peer();
        }
        for (const KernelSa* sa : place.sas) {
            if (sa->in() != nullptr) {
                sas.in.push_back({sa->id().spi, sa->in(), sa->encapsulation()});
            }
        }
    }
    if (place.moved_from) {
        sas.moved_to = place.moved_to.address;
        if (sas.encapsulation.udp()) {
            sas.encapsulation.remote_port = place.moved_to.port;
        }
    }
    if (sas.moved_to == config.remote) {
        sas.moved_to.reset();
    }
    return sas;
}

void SaStore::commit() {
    take_batch();
    if (may_publish()) {
        publish();
        release();
    }
}

void SaStore::publish() {
    std::vector<std::size_t> tunnels;
    for (const std::size_t tunnel : std::exchange(changed_, {})) {
        places_[tunnel].changed = false;
        TunnelSas now = wanted(tunnel);
        if (now != world_.sas[tunnel]) {
            world_.sas[tunnel] = std::move(now);
            tunnels.push_back(tunnel);
        }
    }
    if (tunnels.empty()) {
        return;
    }
    if (workers_.publish) {
        const std::chrono::nanoseconds took = workers_.publish(tunnels);
        not_before_ = Clock::now() + took;
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
        if (std::exchange(sa->released, false) && sa->told != SaLimit::hard) {  // Linux has none such any more
            attempt(*sa, sa->give_back(*kernel_, now_s()));
        }
    }
    for (const Owned& sa : dying_) {
        remember(*sa);
    }
    dying_keys_.clear();
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

// An authenticated packet of the peer came from there (RFC 7296 section 2.23).
void SaStore::move_peer(std::size_t tunnel, const Peer& to) {
    const TunnelSas& now = world_.sas[tunnel];
    const Peer from{remote_of(world_.config.tunnels[tunnel], now), now.encapsulation.remote_port};
    if (to == from || !now.encapsulation.udp()) {
        return;
    }
    if (const std::string why = refusal_of_peer(world_.config, tunnel, to.address); !why.empty()) {
        metrics_.add(Metric::tunnel_moves_refused);
        spdlog::warn("tunnel {}: its peer sends from {}, {}: its packets go to {} as before", tunnel_name(tunnel),
                     text_of(to), why, text_of(from));
        return;
    }
    Place& place = places_[tunnel];
    if (!place.moved_from) {
        place.moved_from = from;
    }
    place.moved_to = to;
    metrics_.add(Metric::tunnel_moves);
    spdlog::info("tunnel {}: the peer has moved from {} to {}", tunnel_name(tunnel), text_of(from), text_of(to));
    change(tunnel);
}

// Where the newest packets came from. An old SA that says the same as before says nothing.
void SaStore::follow_packets() {
    const auto follow = [this](std::size_t tunnel, const InboundSa& sa) {
        const auto from = sa.peer().load();
        if (!from) {
            return;
        }
        const auto [heard, is_new] = heard_.try_emplace(sa.spi(), *from);
        if (is_new || heard->second != *from) {
            heard->second = *from;
            be16 port;
            port.raw = from->port_be;
            move_peer(tunnel, {IpAddress{from->ipv6 ? IpFamily::v6 : IpFamily::v4, from->address}, port});
        }
    };
    for (const StaticSas::Entry& sa : static_.entries()) {
        follow(sa.tunnel, *sa.in);
    }
    for (const auto& [id, sa] : sas_) {
        if (sa->in() != nullptr) {
            follow(sa->tunnel(), *sa->in());
        }
    }
}

// The key daemon knows of a move too, sooner or later: when it says something new, that counts. A rekey that repeats
// what it said before is not new.
void SaStore::follow_linux(std::size_t tunnel) {
    Place& place = places_[tunnel];
    const auto newest =
        std::ranges::find_if(std::views::reverse(place.sas), [](const KernelSa* sa) { return sa->out() != nullptr; });
    if (place.moved_from && newest != place.sas.rend() &&
        *place.moved_from != Peer{(*newest)->peer(), (*newest)->encapsulation().remote_port}) {
        place.moved_from.reset();
    }
}

}  // namespace twinspan
