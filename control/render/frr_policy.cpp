#include "control/render/frr_policy.hpp"

#include <algorithm>
#include <set>

namespace twinspan::render {

namespace {

constexpr const char* kOwn = "own";                    // what we announce somewhere
constexpr const char* kEncrypted = "encrypted";        // behind tunnels
constexpr const char* kNeverPublic = "never-public";   // private space and the default
constexpr const char* kDefault = "default-route";
constexpr const char* kTunnelEnds = "tunnel-ends";

const char* family(unsigned version) { return version == 4 ? "ip" : "ipv6"; }

// The entries of one prefix list, numbered in fives as engineers do.
class PrefixList {
public:
    PrefixList(Text& text, unsigned version, std::string name)
        : text_(text), version_(version), name_(std::move(name)) {}

    void permit(const std::string& prefix, const std::string& range = "") {
        sequence_ += 5;
        text_.line(family(version_), " prefix-list ", name_, " seq ", sequence_, " permit ", prefix, range);
    }
    template <class Prefix>
    void permit_all_below(const Prefix& prefix) {
        const unsigned width = version_ == 4 ? 32 : 128;
        permit(to_string(prefix), prefix.length == width ? "" : " le " + std::to_string(width));
    }
    // FRR takes a list that is not there for one that permits all.
    void close() {
        if (sequence_ == 0) {
            text_.line(family(version_), " prefix-list ", name_, " seq 5 deny any");
        }
    }

private:
    Text& text_;
    unsigned version_;
    std::string name_;
    unsigned sequence_ = 0;
};

const AcceptConfig* accepted(const Config& config, Zone zone) {
    const auto found = std::ranges::find(config.accept, zone, &AcceptConfig::zone);
    return found == config.accept.end() ? nullptr : &*found;
}

std::string accept_name(Zone zone) { return "accept-" + to_string(zone); }
std::string announce_name(const std::string& interface) { return "announce-" + interface; }
std::string wanted_name(const std::string& interface) { return "wanted-" + interface; }

template <class Prefix>
void list_all(Text& text, unsigned version, const std::string& name, const std::vector<Prefix>& prefixes, bool below) {
    PrefixList list{text, version, name};
    for (const Prefix& prefix : prefixes) {
        if (below) {
            list.permit_all_below(prefix);
        } else {
            list.permit(to_string(prefix));
        }
    }
    list.close();
}

void write_own(Text& text, const Config& config) {
    text.line(
        "! Ours: never taken from a neighbour. Parts of the site's prefixes may be Azure's, parts of a pool may not.");
    PrefixList own4{text, 4, kOwn};
    for (const Prefix4 prefix : config.bgp->announce4) {
        own4.permit(to_string(prefix));
    }
    for (const PoolConfig& pool : config.pools) {
        for (const Ipv4Range& range : pool.ranges) {
            std::ranges::for_each(prefixes_of(range), [&](Prefix4 prefix) { own4.permit_all_below(prefix); });
        }
    }
    own4.close();
    list_all(text, 6, kOwn, config.bgp->announce6, false);
    text.line("! Under encrypt: reached through tunnels, so not taken from where it would go in clear.");
    list_all(text, 4, kEncrypted, config.encrypt4, true);
    list_all(text, 6, kEncrypted, config.encrypt6, true);
    text.line(
        "! No place on public and Microsoft peering, in neither direction: RFC 1918, RFC 6598, the default route.");
    PrefixList never4{text, 4, kNeverPublic};
    never4.permit("0.0.0.0/0");
    std::ranges::for_each(kPrivate4, [&](Prefix4 prefix) { never4.permit_all_below(prefix); });
    PrefixList never6{text, 6, kNeverPublic};
    never6.permit("::/0");
    for (const Prefix6& prefix : {kUniqueLocal6, kLinkLocal6}) {
        never6.permit_all_below(prefix);
    }
    PrefixList{text, 4, kDefault}.permit("0.0.0.0/0");
    PrefixList{text, 6, kDefault}.permit("::/0");
}

// A route to a tunnel's other end through a tunnel would put the tunnel into itself.
void write_tunnel_ends(Text& text, const Config& config) {
    std::set<Prefix4> covers;  // in a tunnel BGP speaks of IPv4 only
    for (const TunnelConfig& tunnel : config.tunnels) {
        for (unsigned length = 1; tunnel.remote.is_v4() && length <= 32; ++length) {
            covers.insert({to_be32(tunnel.remote.v4().host() & mask4(length)), static_cast<std::uint8_t>(length)});
        }
    }
    text.line("! All that has the other end of a tunnel in it: not taken from inside a tunnel.");
    list_all(text, 4, kTunnelEnds, std::vector<Prefix4>{covers.begin(), covers.end()}, false);
}

void write_accept(Text& text, const Config& config) {
    for (const AcceptConfig& accept : config.accept) {
        text.line("! accept of peering ", to_string(accept.zone), '.');
        list_all(text, 4, accept_name(accept.zone), accept.prefixes4, true);
        list_all(text, 6, accept_name(accept.zone), accept.prefixes6, true);
    }
}

class RouteMap {
public:
    RouteMap(Text& text, unsigned version, std::string name) : text_(text), version_(version), name_(std::move(name)) {}

    void deny(const std::string& prefix_list) {
        open("deny");
        match(prefix_list);
        close();
    }
    void open(const char* action) {
        sequence_ += 10;
        text_.line("route-map ", name_, ' ', action, ' ', sequence_);
        text_.in();
    }
    void match(const std::string& prefix_list) {
        text_.line("match ", family(version_), " address prefix-list ", prefix_list);
    }
    void close() {
        text_.out();
        text_.line("exit");
    }

private:
    Text& text_;
    unsigned version_;
    std::string name_;
    unsigned sequence_ = 0;
};

void write_leg_in(Text& text, const Config& config, const LegConfig& leg, unsigned version) {
    RouteMap map{text, version, map_name(leg.netdev, "in", version)};
    map.deny(kOwn);
    map.deny(kEncrypted);
    const AcceptConfig* accept = accepted(config, leg.zone);
    if (carries_public_addresses_only(leg.zone)) {
        map.deny(kNeverPublic);
    } else if (accept == nullptr) {
        map.deny(kDefault);  // Azure's private peering has none; what comes is a mistake behind a router of the VNet
    }
    map.open("permit");
    if (accept != nullptr) {
        map.match(accept_name(leg.zone));
    }
    if (!leg.bgp->session.communities.empty()) {
        text.line("match community ", wanted_name(leg.netdev));
    }
    text.line("set local-preference ", leg.bgp->session.local_preference);
    map.close();
}

void write_out(Text& text, const std::string& interface, unsigned version, std::uint32_t asn, std::uint32_t prepend,
               bool public_only) {
    RouteMap map{text, version, map_name(interface, "out", version)};
    if (public_only) {
        map.deny(kNeverPublic);
    }
    map.open("permit");
    map.match(announce_name(interface));
    if (prepend != 0) {
        std::string asns;
        for (std::uint32_t i = 0; i < prepend; ++i) {
            asns += ' ' + std::to_string(asn);
        }
        text.line("set as-path prepend", asns);
    }
    map.close();
}

void write_leg(Text& text, const Config& config, const LegConfig& leg) {
    const Announced announced = announced_on(config, leg);
    const BgpSession& session = leg.bgp->session;
    text.line('!');
    text.line("! Leg ", leg.netdev, ": ", to_string(leg.zone), " peering, ", to_string(leg.link), " link.");
    for (std::size_t i = 0; i < session.communities.size(); ++i) {
        const Community wanted = session.communities[i];
        text.line("bgp community-list standard ", wanted_name(leg.netdev), " seq ", 5 * (i + 1), " permit ", wanted.asn,
                  ':', wanted.value);
    }
    for (const unsigned version : {4u, 6u}) {
        if (version == 4 ? !leg.bgp->peer4 : !leg.bgp->peer6) {
            continue;
        }
        if (version == 4) {
            list_all(text, 4, announce_name(leg.netdev), announced.v4, false);
        } else {
            list_all(text, 6, announce_name(leg.netdev), announced.v6, false);
        }
        write_leg_in(text, config, leg, version);
        write_out(text, leg.netdev, version, config.bgp->asn, session.prepend, carries_public_addresses_only(leg.zone));
    }
}

void write_tunnel(Text& text, const Config& config, const TunnelConfig& tunnel) {
    text.line('!');
    text.line("! Tunnel ", tunnel.name, ", if-id ", tunnel.if_id, '.');
    list_all(text, 4, announce_name(tunnel.name), announced_in_tunnels(config).v4, false);
    RouteMap in{text, 4, map_name(tunnel.name, "in", 4)};
    in.deny(kOwn);
    in.deny(kDefault);
    in.deny(kTunnelEnds);
    in.open("permit");
    text.line("set local-preference ", tunnel.bgp->local_preference);
    in.close();
    write_out(text, tunnel.name, 4, config.bgp->asn, tunnel.bgp->prepend, false);
}

// The other link's pool would bring replies over a link that their sessions do not know.
Announced pool_of(const Config& config, const LegConfig& leg) {
    Announced out;
    for (const PoolConfig& pool : config.pools) {
        for (const Ipv4Range& range : pool.ranges) {
            if (pool.zone == leg.zone && (pool.link == Link::none || pool.link == leg.link)) {
                std::ranges::copy(prefixes_of(range), std::back_inserter(out.v4));
            }
        }
    }
    return out;
}

}  // namespace

std::string map_name(const std::string& interface, const char* direction, unsigned version) {
    return interface + '-' + direction + std::to_string(version);
}

Announced announced_on(const Config& config, const LegConfig& leg) {
    if (leg.zone != Zone::private_peering) {
        return pool_of(config, leg);
    }
    const auto peering = std::ranges::find(config.peering_bgp, leg.zone, &PeeringBgp::zone);
    if (peering != config.peering_bgp.end() && peering->announce_given) {
        return {peering->announce4, peering->announce6};
    }
    // Azure prefers the circuit to a tunnel over it for one and the same prefix, and would answer in clear. An end is
    // reached over its own link alone: over the other one it would lead a router's own session to it astray, too.
    bool tunnels = false;
    std::set<Prefix4> ends4;
    std::set<Prefix6> ends6;
    for (const TunnelConfig& tunnel : config.tunnels) {
        const LegConfig& over = config.legs[tunnel.leg];
        tunnels |= over.zone == Zone::private_peering;
        if (over.netdev != leg.netdev) {
            continue;
        }
        if (tunnel.local.is_v4()) {
            ends4.insert({tunnel.local.v4(), 32});
        } else {
            ends6.insert({tunnel.local.v6(), 128});
        }
    }
    if (tunnels) {
        return {{ends4.begin(), ends4.end()}, {ends6.begin(), ends6.end()}};
    }
    return {config.bgp->announce4, config.bgp->announce6};
}

Announced announced_in_tunnels(const Config& config) { return {config.bgp->announce4, {}}; }

void write_policies(Text& text, const Config& config) {
    write_own(text, config);
    if (std::ranges::any_of(config.tunnels, [](const TunnelConfig& tunnel) { return tunnel.bgp.has_value(); })) {
        write_tunnel_ends(text, config);
    }
    write_accept(text, config);
    for (const LegConfig& leg : config.legs) {
        if (leg.bgp) {
            write_leg(text, config, leg);
        }
    }
    for (const TunnelConfig& tunnel : config.tunnels) {
        if (tunnel.bgp) {
            write_tunnel(text, config, tunnel);
        }
    }
}

}  // namespace twinspan::render
