// Contradictions about BGP, fallbacks and the addresses of tunnels; and what is derived from the whole: the router-id.
#include "control/config/draft.hpp"

#include <algorithm>
#include <map>

namespace twinspan {

namespace {

std::string line(SourcePosition at) { return "line " + std::to_string(at.line); }

constexpr Prefix4 kLinkLocal4{to_be32(0xa9fe0000), 16};
// Those that Azure's gateway takes as addresses of BGP inside a tunnel.
constexpr Ipv4Range kAzureLinkLocal{to_be32(0xa9fe1500), to_be32(0xa9fe16ff)};

// RFC 4271 section 4.2 wants an address of ours. The lowest of the inside does not change with a link.
void choose_router_id(Diagnostics& diagnostics, Draft& draft) {
    BgpConfig& bgp = *draft.config.bgp;
    if (bgp.router_id != be32{}) {
        return;
    }
    const auto lowest = [&](auto&& leg_counts) {
        be32 best{};
        for (const Located<InterfaceAddress4>& address : draft.addresses4) {
            const be32 mine = address.value.address;
            if (leg_counts(draft.config.legs[address.owner]) && (best == be32{} || mine < best)) {
                best = mine;
            }
        }
        return best;
    };
    bgp.router_id = lowest([](const LegConfig& leg) { return leg.zone == Zone::lan; });
    if (bgp.router_id == be32{}) {
        bgp.router_id = lowest([](const LegConfig&) { return true; });
    }
    if (bgp.router_id == be32{} && draft.peerings_complete) {
        diagnostics.add(SourcePosition{},
                        "found bgp without 'router-id' and no leg with an IPv4 address, expected one");
    }
}

// What lies behind a tunnel must not come back as ours: Azure would send it to us, or drop the session over the loop.
template <class Prefix>
void check_announced(Diagnostics& diagnostics, const std::vector<Located<Prefix>>& announced,
                     const std::vector<Located<Prefix>>& encrypt) {
    for (std::size_t i = 0; i < announced.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            if (announced[i].owner == announced[j].owner && announced[i].value == announced[j].value) {
                diagnostics.add(announced[i].at, "found " + to_string(announced[i].value) +
                                                     " again, expected it once (first at " + line(announced[j].at) +
                                                     ")");
            }
        }
        for (const Located<Prefix>& far : encrypt) {
            if (far.value.covers(announced[i].value)) {
                diagnostics.add(announced[i].at, "found " + to_string(announced[i].value) +
                                                     ", expected a prefix of this side: " + to_string(far.value) +
                                                     " is behind a tunnel (encrypt, " + line(far.at) + ")");
            }
        }
    }
}

// Our own announcements alone must stay below what makes the peer drop the session.
void check_announced_count(Diagnostics& diagnostics, const Draft& draft) {
    const Config& config = draft.config;
    for (std::size_t i = 0; i < config.legs.size(); ++i) {
        const LegConfig& leg = config.legs[i];
        if (!leg.bgp) {
            continue;
        }
        std::size_t v4 = config.bgp->announce4.size(), v6 = config.bgp->announce6.size();
        if (leg.zone != Zone::private_peering) {
            v4 = v6 = 0;
            for (const PoolConfig& pool : config.pools) {
                for (const Ipv4Range& range : pool.ranges) {
                    v4 += pool.zone == leg.zone ? prefixes_of(range).size() : 0;
                }
            }
        } else if (const auto own = std::ranges::find(config.peering_bgp, leg.zone, &PeeringBgp::zone);
                   own != config.peering_bgp.end() && own->announce_given) {
            v4 = own->announce4.size();
            v6 = own->announce6.size();
        }
        if (v4 > leg.bgp->session.max_prefixes || v6 > prefix_limit6(leg.zone)) {
            diagnostics.add(draft.legs[i], "found " + std::to_string(v4) + " IPv4 and " + std::to_string(v6) +
                                               " IPv6 prefixes to announce, expected at most " +
                                               std::to_string(leg.bgp->session.max_prefixes) + " and " +
                                               std::to_string(prefix_limit6(leg.zone)) + " on peering " +
                                               to_string(leg.zone));
        }
    }
}

void check_leg_sessions(Diagnostics& diagnostics, const Draft& draft) {
    for (std::size_t i = 0; i < draft.config.legs.size(); ++i) {
        const LegConfig& leg = draft.config.legs[i];
        if (leg.bgp && !leg.bgp->peer4 && !leg.bgp->peer6) {
            diagnostics.add(draft.legs[i], "found bgp on leg " + leg.netdev +
                                               " without addresses, expected the first of its /30 or /126");
        }
    }
}

void resolve_fallback_tunnels(Diagnostics& diagnostics, Draft& draft) {
    std::vector<std::string_view> names;
    for (const TunnelConfig& tunnel : draft.config.tunnels) {
        names.push_back(tunnel.name);
    }
    for (const Located<std::string>& name : draft.fallback_tunnels) {
        const auto found = std::ranges::find(names, name.value);
        if (found == names.end()) {
            diagnostics.add(name.at, "found '" + name.value + "', expected the name of a tunnel (" + join(names) + ")");
            continue;
        }
        const auto index = static_cast<std::size_t>(found - names.begin());
        const TunnelConfig& tunnel = draft.config.tunnels[index];
        std::vector<std::size_t>& chosen = draft.config.fallback[name.owner].tunnels;
        if (std::ranges::find(chosen, index) != chosen.end()) {
            diagnostics.add(name.at, "found '" + name.value + "' again, expected each tunnel once");
        } else if (draft.peerings_complete && draft.config.legs[tunnel.leg].zone != Zone::internet) {
            diagnostics.add(name.at, "found '" + name.value + "' over peering " +
                                         to_string(draft.config.legs[tunnel.leg].zone) +
                                         ", expected a tunnel over internet: it must live when the circuit does not");
        } else {
            chosen.push_back(index);
        }
    }
}

void check_fallback(Diagnostics& diagnostics, Draft& draft) {
    resolve_fallback_tunnels(diagnostics, draft);
    for (std::size_t i = 0; i < draft.config.fallback.size(); ++i) {
        if (!draft.config.fallback[i].internet || !draft.peerings_complete) {
            continue;
        }
        const auto is_internet = [](const auto& thing) { return thing.zone == Zone::internet; };
        if (std::ranges::none_of(draft.config.legs, is_internet)) {
            diagnostics.add(draft.fallback[i], "found fallback 'internet', expected a peering internet with a leg");
        } else if (std::ranges::none_of(draft.config.pools, is_internet)) {
            diagnostics.add(draft.fallback[i],
                            "found fallback 'internet', expected a pool on peering internet ('nat'): the circuit's "
                            "pool must not be seen on the internet");
        }
    }
}

// A tunnel that only stands in must not win against the peering while that one is there.
void complete_preferences(Config& config) {
    for (const FallbackConfig& fallback : config.fallback) {
        for (const std::size_t index : fallback.tunnels) {
            if (auto& bgp = config.tunnels[index].bgp; bgp && bgp->local_preference == 0) {
                bgp->local_preference = 50;
            }
        }
    }
    for (TunnelConfig& tunnel : config.tunnels) {
        if (tunnel.bgp && tunnel.bgp->local_preference == 0) {
            tunnel.bgp->local_preference = 100;
        }
    }
}

void check_tunnel_address(Diagnostics& diagnostics, const Draft& draft, std::size_t index,
                          std::map<be32, SourcePosition>& seen) {
    const TunnelConfig& tunnel = draft.config.tunnels[index];
    const SourcePosition at = draft.tunnels[index].address;
    const std::string found = "found " + to_string(*tunnel.address) + ", expected ";
    if (!tunnel.netdev) {
        diagnostics.add(at, found + "none with 'netdev: false': there is no interface that could have it");
    }
    if (const auto [first, is_new] = seen.emplace(tunnel.address->address, at); !is_new) {
        diagnostics.add(at, found + "another address than that of " + line(first->second));
    }
    for (const Located<InterfaceAddress4>& leg : draft.addresses4) {
        if (leg.value.network().overlaps(tunnel.address->network())) {
            diagnostics.add(at,
                            found + "a subnet apart from " + to_string(leg.value) + " of a leg (" + line(leg.at) + ")");
        }
    }
}

void check_tunnel_bgp(Diagnostics& diagnostics, const TunnelConfig& tunnel, const TunnelPositions& at) {
    const std::string found = "found bgp in tunnel " + tunnel.name;
    if (!tunnel.address) {
        diagnostics.add(at.tunnel, found + ", expected 'address' too: BGP speaks from the tunnel's own address");
        return;
    }
    if (tunnel.address->address == tunnel.bgp->peer || tunnel.remote == IpAddress::from(tunnel.bgp->peer)) {
        diagnostics.add(at.tunnel, found + " with peer " + to_string(tunnel.bgp->peer) +
                                       ", expected an address that is reached through the tunnel");
    }
    const auto azure_takes = [](be32 address) {
        return !kLinkLocal4.contains(address) || (kAzureLinkLocal.first <= address && address <= kAzureLinkLocal.last);
    };
    if (tunnel.bgp->peer_asn == kAzureGatewayAsn &&
        !(azure_takes(tunnel.bgp->peer) && azure_takes(tunnel.address->address))) {
        diagnostics.add(at.tunnel, found + " between " + to_string(tunnel.address->address) + " and " +
                                       to_string(tunnel.bgp->peer) +
                                       ", expected link-local addresses from 169.254.21.0 to 169.254.22.255: Azure's "
                                       "gateway takes no others");
    }
}

}  // namespace

void check_routing(Diagnostics& diagnostics, Draft& draft) {
    if (draft.config.bgp) {
        choose_router_id(diagnostics, draft);
        check_announced(diagnostics, draft.announce4, draft.encrypt4);
        check_announced(diagnostics, draft.announce6, draft.encrypt6);
        check_announced_count(diagnostics, draft);
    }
    check_leg_sessions(diagnostics, draft);
    check_fallback(diagnostics, draft);
    complete_preferences(draft.config);
    std::map<be32, SourcePosition> seen;
    for (std::size_t i = 0; i < draft.config.tunnels.size(); ++i) {
        const TunnelConfig& tunnel = draft.config.tunnels[i];
        if (tunnel.address) {
            check_tunnel_address(diagnostics, draft, i, seen);
        }
        if (tunnel.bgp) {
            check_tunnel_bgp(diagnostics, tunnel, draft.tunnels[i]);
        }
    }
}

}  // namespace twinspan
