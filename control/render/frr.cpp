// frr.conf: sessions with Microsoft's routers on each leg and with gateways inside tunnels; policies both ways.
#include "control/render/frr_policy.hpp"
#include "control/render/render.hpp"
#include "control/render/text.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

namespace twinspan::render {

namespace {

// Linux signs with keys of 80 bytes at most (RFC 2385 section 4.5); FRR reads up to the end of the line.
constexpr std::size_t kLongestPassword = 80;
// One connection of a circuit to a VNet brings 1,000 IPv4 prefixes at most.
constexpr std::uint32_t kMostFromOneVnet = 1000;

struct Neighbour {
    std::string address;
    unsigned version = 4;
    std::string source;
    std::string interface;  // names the route maps
    std::string description;
    std::uint32_t asn = 0;
    std::string password;
    std::uint32_t keepalive_s = 0, hold_s = 0;
    std::string bfd_profile;  // empty: none
    unsigned hops = 1;
    std::uint32_t max_out = 0;
    std::string max_in;       // behind maximum-prefix
};

std::string profile_name(const BgpSession& session) {
    return "tx" + std::to_string(session.bfd_interval_ms) + 'x' + std::to_string(session.bfd_multiplier);
}

// Whose limit is it, and what is worse than too many routes? On public and Microsoft peering the only number is the
// room in our own table: what does not fit must not come. From a VNet a thousand are Azure's promise: more is worth a
// log line, never the session.
std::string limit_in(const Config& config, const LegConfig& leg, unsigned version) {
    const std::uint32_t room = version == 4 ? config.limits.routes_ipv4 : config.limits.routes_ipv6;
    if (carries_public_addresses_only(leg.zone)) {
        return std::to_string(room) + " restart 5";
    }
    return std::to_string(std::min(room, kMostFromOneVnet)) + " warning-only";
}

Result<std::vector<Neighbour>> neighbours_of(const Config& config, const LegConfig& leg) {
    const BgpSession& session = leg.bgp->session;
    Neighbour both;
    both.interface = leg.netdev;
    both.description = to_string(leg.zone) + " peering, " + to_string(leg.link) + " link";
    both.asn = leg.bgp->peer_asn;
    both.keepalive_s = session.keepalive_s;
    both.hold_s = session.hold_s;
    both.bfd_profile = session.bfd ? profile_name(session) : "";
    if (!session.password_file.empty()) {
        auto password = secret_line(session.password_file, kLongestPassword);
        if (!password) {
            return std::unexpected(password.error());
        }
        if (password->find(' ') != std::string::npos) {
            return std::unexpected(
                Error{"reading " + session.password_file.string() + ": expected a password without spaces"});
        }
        both.password = std::move(*password);
    }
    std::vector<Neighbour> out;
    if (leg.bgp->peer4) {
        out.push_back(both);
        out.back().address = to_string(*leg.bgp->peer4);
        out.back().source = leg.addresses4.empty() ? "" : to_string(leg.addresses4.front().address);
        out.back().max_out = session.max_prefixes;
        out.back().max_in = limit_in(config, leg, 4);
    }
    if (leg.bgp->peer6) {
        out.push_back(std::move(both));
        out.back().version = 6;
        out.back().address = to_string(*leg.bgp->peer6);
        out.back().max_out = std::max(prefix_limit6(leg.zone), 1u);
        out.back().max_in = limit_in(config, leg, 6);
    }
    return out;
}

Neighbour neighbour_of(const Config& config, const TunnelConfig& tunnel) {
    Neighbour out;
    out.address = to_string(tunnel.bgp->peer);
    out.source = to_string(tunnel.address->address);
    out.interface = tunnel.name;
    out.description = "inside tunnel " + tunnel.name;
    out.asn = tunnel.bgp->peer_asn;
    out.keepalive_s = tunnel.bgp->keepalive_s;
    out.hold_s = tunnel.bgp->hold_s;
    // A gateway speaks from an address of its own behind the tunnel, and may be one router further in.
    out.hops = tunnel.address->network().contains(tunnel.bgp->peer) ? 1 : 5;
    out.max_out = tunnel.bgp->max_prefixes;
    out.max_in = std::to_string(std::min(config.limits.routes_ipv4, 4000u)) + " warning-only";
    return out;
}

void write_head(Text& text, const Config& config) {
    text.line("! Written by twinspanctl render frr from the configuration of ", config.name,
              ". Do not edit: render again.");
    text.line("frr defaults traditional");
    text.line("hostname ", config.name);
    text.line("log syslog informational");
    text.line("service integrated-vtysh-config");
    text.line("! zebra keeps a nexthop group that has lost a member to a carrier, and its routes with it.");
    text.line("no zebra nexthop kernel enable");
    text.line('!');
}

// Each BGP neighbour behind a tunnel is reached through that tunnel alone, whatever else is learned.
void write_statics(Text& text, const Config& config) {
    for (const TunnelConfig& tunnel : config.tunnels) {
        if (tunnel.bgp && !tunnel.address->network().contains(tunnel.bgp->peer)) {
            text.line("ip route ", to_string(tunnel.bgp->peer), "/32 ", tunnel.name);
        }
    }
}

void write_bfd(Text& text, const Config& config) {
    std::map<std::string, const BgpSession*> profiles;
    for (const LegConfig& leg : config.legs) {
        if (leg.bgp && leg.bgp->session.bfd) {
            profiles.emplace(profile_name(leg.bgp->session), &leg.bgp->session);
        }
    }
    if (profiles.empty()) {
        return;
    }
    text.line("! A path without packets for interval x multiplier counts as lost; Microsoft sends every 300 ms.");
    text.line("bfd");
    text.in();
    for (const auto& [name, session] : profiles) {
        text.line("profile ", name);
        text.in();
        text.line("detect-multiplier ", session->bfd_multiplier);
        text.line("receive-interval ", session->bfd_interval_ms);
        text.line("transmit-interval ", session->bfd_interval_ms);
        text.out();
        text.line("exit");
    }
    text.out();
    text.line("exit");
    text.line('!');
}

void write_neighbour(Text& text, const Neighbour& neighbour) {
    const std::string start = "neighbor " + neighbour.address + ' ';
    text.line(start, "remote-as ", neighbour.asn);
    text.line(start, "description ", neighbour.description);
    if (!neighbour.password.empty()) {
        text.line(start, "password ", neighbour.password);
    }
    text.line(start, "timers ", neighbour.keepalive_s, ' ', neighbour.hold_s);
    text.line(start, "timers connect 10");
    if (!neighbour.source.empty()) {
        text.line(start, "update-source ", neighbour.source);
    }
    if (neighbour.hops > 1) {
        text.line(start, "ebgp-multihop ", neighbour.hops);
    }
    if (!neighbour.bfd_profile.empty()) {
        text.line(start, "bfd");
        text.line(start, "bfd profile ", neighbour.bfd_profile);
    }
}

void write_activation(Text& text, const Neighbour& neighbour) {
    const std::string start = "neighbor " + neighbour.address + ' ';
    text.line(start, "activate");
    text.line(start, "route-map ", map_name(neighbour.interface, "in", neighbour.version), " in");
    text.line(start, "route-map ", map_name(neighbour.interface, "out", neighbour.version), " out");
    text.line(start, "maximum-prefix ", neighbour.max_in);
    text.line(start, "maximum-prefix-out ", neighbour.max_out);
}

// All that any neighbour is told; the route maps choose for each.
template <class Prefix>
std::set<Prefix> networks(const Config& config, std::vector<Prefix> Announced::* family) {
    std::set<Prefix> out;
    const auto add = [&](const Announced& announced) {
        out.insert((announced.*family).begin(), (announced.*family).end());
    };
    for (const LegConfig& leg : config.legs) {
        if (leg.bgp) {
            add(announced_on(config, leg));
        }
    }
    for (const TunnelConfig& tunnel : config.tunnels) {
        if (tunnel.bgp) {
            add(announced_in_tunnels(config));
        }
    }
    return out;
}

template <class Prefix>
void write_family(Text& text, const std::vector<Neighbour>& neighbours, unsigned version,
                  const std::set<Prefix>& announced) {
    const auto is_mine = [version](const Neighbour& neighbour) { return neighbour.version == version; };
    const auto count = std::ranges::count_if(neighbours, is_mine);
    if (count == 0) {
        return;
    }
    text.line('!');
    text.line("address-family ipv", version, " unicast");
    text.in();
    for (const Prefix& prefix : announced) {
        text.line("network ", to_string(prefix));
    }
    text.line("maximum-paths ", std::clamp<std::ptrdiff_t>(count, 2, 16));
    for (const Neighbour& neighbour : neighbours) {
        if (is_mine(neighbour)) {
            write_activation(text, neighbour);
        }
    }
    text.out();
    text.line("exit-address-family");
}

void write_router(Text& text, const Config& config, const std::vector<Neighbour>& neighbours) {
    text.line('!');
    text.line("router bgp ", config.bgp->asn);
    text.in();
    text.line("bgp router-id ", to_string(config.bgp->router_id));
    text.line("bgp log-neighbor-changes");
    text.line("no bgp default ipv4-unicast");
    text.line(
        "! What is announced needs no route of Linux: the data plane has the pools, the site's routers the rest.");
    text.line("no bgp network import-check");
    text.line(
        "! Both links carry traffic while local-preference and path length are the same; a longer path drains its "
        "link");
    text.line("! (Microsoft's maintenance), since the length still decides.");
    text.line("bgp bestpath as-path multipath-relax");
    text.line("! A path that BFD calls lost must not be kept for the sake of a restart.");
    text.line("bgp graceful-restart-disable");
    for (const Neighbour& neighbour : neighbours) {
        text.line('!');
        write_neighbour(text, neighbour);
    }
    write_family(text, neighbours, 4, networks(config, &Announced::v4));
    write_family(text, neighbours, 6, networks(config, &Announced::v6));
    text.out();
    text.line("exit");
}

std::string daemons_file() {
    return "# Written by twinspanctl render frr: which of FRR's daemons run, and how. zebra and staticd always do.\n"
           "bgpd=yes\n"
           "bfdd=yes\n"
           "vtysh_enable=yes\n"
           "zebra_options=\"-A 127.0.0.1 -s 90000000\"\n"
           "bgpd_options=\"-A 127.0.0.1\"\n"
           "bfdd_options=\"-A 127.0.0.1\"\n"
           "staticd_options=\"-A 127.0.0.1\"\n";
}

}  // namespace

Result<Files> frr(const Config& config) {
    if (!config.bgp) {
        return std::unexpected(Error{"rendering for FRR: found no section 'bgp' in the configuration, expected one"});
    }
    std::vector<Neighbour> neighbours;
    for (const LegConfig& leg : config.legs) {
        if (!leg.bgp) {
            continue;
        }
        auto of_leg = neighbours_of(config, leg);
        if (!of_leg) {
            return std::unexpected(of_leg.error());
        }
        std::ranges::move(*of_leg, std::back_inserter(neighbours));
    }
    for (const TunnelConfig& tunnel : config.tunnels) {
        if (tunnel.bgp) {
            neighbours.push_back(neighbour_of(config, tunnel));
        }
    }
    Text text{1};
    write_head(text, config);
    write_statics(text, config);
    write_bfd(text, config);
    write_policies(text, config);
    write_router(text, config, neighbours);
    const bool secret = std::ranges::any_of(neighbours, [](const Neighbour& n) { return !n.password.empty(); });
    return Files{{"frr.conf", text.str(), secret},
                 {"daemons", daemons_file(), false},
                 {"vtysh.conf", "service integrated-vtysh-config\n", false}};
}

}  // namespace twinspan::render
