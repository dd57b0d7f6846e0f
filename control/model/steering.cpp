#include "control/model/steering.hpp"

#include <algorithm>

namespace twinspan {
namespace {

SteeredTags tags_of(const LegConfig& leg) noexcept {
    const auto id = [&](std::size_t tag) { return static_cast<std::uint16_t>(leg.tags[tag].tci.host() & kVlanIdMask); };
    return {.outer_tpid = leg.tags[0].tpid.host(),
            .outer_id = id(0),
            .inner_id = leg.tag_count > 1 ? id(1) : SteeredTags::kNone};
}

void add_untagged(const World& world, Steering& out) {
    for (const TunnelConfig& tunnel : world.config.tunnels) {
        if (tunnel.local.is_v4()) {  // a shared port has no tunnel over IPv6
            out.tunnel_addresses.push_back(tunnel.local.v4());
        }
    }
    std::vector<IpPrefix> pools;
    for (const PoolConfig& pool : world.config.pools) {
        for (const auto* ranges : {&pool.ranges, &pool.draining, &pool.from_microsoft}) {
            for (const Ipv4Range range : *ranges) {
                std::ranges::transform(prefixes_of(range), std::back_inserter(pools),
                                       [](Prefix4 p) { return to_prefix(p); });
            }
        }
    }
    for (const IpPrefix& prefix : encrypt_prefixes(world.config)) {
        out.prefixes.push_back({prefix, SteerTo::encrypt});
    }
    // Longer than what holds them, so these come before it: Linux must not lose its own packets to a wide `encrypt:`.
    const auto keep = [&](const IpAddress& address) {
        if (std::ranges::none_of(pools, [&](const IpPrefix& pool) { return pool.contains(address); })) {
            out.prefixes.push_back({IpPrefix::host(address), SteerTo::linux_host});
        }
    };
    for (const netlink::AddressEvent& address : world.kernel.addresses) {
        keep(address.prefix.address);
    }
    for (const LegConfig& leg : world.config.legs) {
        for (const IpPrefix& address : addresses_of(leg)) {
            keep(address.address);
        }
    }
    for (const IpPrefix& pool : pools) {
        out.prefixes.push_back({pool, SteerTo::pool});
    }
}

}  // namespace

Steering steering_of(const World& world, std::size_t port) {
    Steering result;
    for (const LegConfig& leg : world.config.legs) {
        if (leg.port != world.config.ports[port].name) {
            continue;
        }
        if (leg.tag_count == 0) {
            add_untagged(world, result);
        } else {
            result.tags.push_back(tags_of(leg));
        }
    }
    return result;
}

}  // namespace twinspan
