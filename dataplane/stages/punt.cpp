#include "dataplane/stages/punt.hpp"

#include "dataplane/config/snapshot.hpp"
#include "dataplane/packet/icmp_error.hpp"
#include "dataplane/stages/forward_policy.hpp"
#include "dataplane/stages/punt_class.hpp"

#include <cstring>

namespace twinspan {
namespace {

// Where Linux is to see the packet; kNone: it has no netdev for it.
std::uint16_t netdev_of(const Snapshot& config, const PacketMeta& pm) noexcept {
    if (pm.zone == Zone::tunnel && pm.tunnel < config.tunnels.size() && config.tunnels[pm.tunnel].netdev != kNone) {
        return config.tunnels[pm.tunnel].netdev;
    }
    return pm.rx_leg < config.legs.size() ? config.legs[pm.rx_leg].netdev : kNone;
}

// Gives the frame back its Ethernet header, without VLAN tags: a TAP stands for one leg.
bool restore_frame(rte_mbuf& m, const PacketMeta& pm, const Leg& leg) noexcept {
    constexpr std::size_t kMacs = 2 * sizeof(MacAddress);
    char* frame = rte_pktmbuf_prepend(&m, sizeof(EthernetHeader));
    if (frame == nullptr) {
        return false;
    }
    if (pm.l2_length == sizeof(EthernetHeader)) {
        return true;
    }
    if (pm.l2_length > sizeof(EthernetHeader)) {
        // The last ethertype already lies right before the packet; the addresses move up over the tags.
        std::memmove(frame, frame - (pm.l2_length - sizeof(EthernetHeader)), kMacs);
        return true;
    }
    const EthernetHeader header{
        .dst = leg.mac, .src = {}, .type = pm.ip == IpVersion::v4 ? kEtherTypeIpv4 : kEtherTypeIpv6};
    std::memcpy(frame, &header, sizeof(header));
    return true;
}

// `kind` is of what is for us. What Linux is only to find a neighbour for is never urgent, whatever its ports say.
void punt(Context& ctx, rte_mbuf& m, PuntClass kind) noexcept {
    PacketMeta& pm = meta(m);
    std::uint64_t& tokens = ctx.punt_tokens[static_cast<std::size_t>(kind)];
    pm.netdev = netdev_of(*ctx.config, pm);
    if (pm.netdev == kNone) [[unlikely]] {
        // A leg without a netdev of ours is the untagged one of a shared port.
        ctx.drop(&m, pm.rx_leg < ctx.config->legs.size() ? Drop::shared_port_kernel : Drop::kernel_refused);
        return;
    }
    if (tokens == 0) [[unlikely]] {
        ctx.drop(&m, over_rate(kind));
        return;
    }
    if (!ctx.config->netdevs[pm.netdev].is_tunnel && !restore_frame(m, pm, ctx.config->legs[pm.rx_leg])) [[unlikely]] {
        ctx.drop(&m, Drop::no_headroom);
        return;
    }
    --tokens;
    if (kind != PuntClass::other) {
        pm.flags |= meta_flag::kUrgent;
    }
    ctx.punted.push(&m);
}

Verdict may_glean(const Snapshot& config, rte_mbuf& m) noexcept {
    const PacketMeta& pm = meta(m);
    const RouteResult route = RouteResult::from_raw(pm.route);
    if (route.kind() == RouteKind::connected && route.index() >= config.legs.size()) [[unlikely]] {
        return Drop::no_route;  // a route younger than this loop's snapshot
    }
    const bool on_link = route.kind() == RouteKind::connected;
    const Zone to = on_link ? config.legs[route.index()].zone : config.egresses[pm.egress].zone;
    if (route.must_encrypt()) {
        return Drop::encrypt_required;
    }
    const Verdict verdict = may_send(config, m, pm, to);
    // Hosts on an internet leg's own link are Linux's to find: what it then forwards itself, InjectFrame drops.
    const bool needs_nat = on_link ? carries_public_addresses_only(to) : must_translate(config, to, pm.ip);
    if (verdict.kept() && pm.zone != Zone::self && needs_nat) {
        return Drop::neighbour_unresolved;
    }
    return verdict;
}

}  // namespace

void Punt::process(Context& ctx, Batch& batch) noexcept {
    for (rte_mbuf* m : batch) {
        punt(ctx, *m, punt_class(*ctx.config, *m, meta(*m)));
    }
    batch.clear();
}

void Glean::process(Context& ctx, Batch& batch) noexcept {
    batch.for_each(ctx, [&ctx](rte_mbuf& m) noexcept { return may_glean(*ctx.config, m); });
    for (rte_mbuf* m : batch) {
        punt(ctx, *m, PuntClass::other);
    }
    batch.clear();
}

void NoSecondTime::process(Context& ctx, Batch& batch) noexcept {
    for (rte_mbuf* m : batch) {
        ctx.drop(m, Drop::policy_denied);
    }
    batch.clear();
}

void DropRoute::process(Context& ctx, Batch& batch) noexcept {
    for (rte_mbuf* m : batch) {
        const Drop reason = RouteResult::from_raw(meta(*m).route).reason();
        // RFC 1812 section 5.2.7.1: no route is told to the sender, but not to the outside.
        if (reason == Drop::no_route && !is_outside(meta(*m).zone)) {
            end_with_icmp(ctx, *m, reason, IcmpError::unreachable);
        } else {
            ctx.drop(m, reason);
        }
    }
    batch.clear();
}

}  // namespace twinspan
