// The sections named bgp: our autonomous system, and the sessions over legs and inside tunnels.
#include "control/config/draft.hpp"
#include "control/config/scalar.hpp"
#include "control/config/schema.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace twinspan {

namespace {

constexpr std::string_view kAsnText = "an autonomous system number from 1 to 4294967294";
constexpr std::string_view kPrefixText = "a prefix without host bits, like 10.10.0.0/16 or \"fd10:10::/48\"";

std::optional<std::uint64_t> parse_asn(std::string_view text) { return parse_unsigned(text, 1, 4294967294); }

// RFC 6996: not for the public Internet; Microsoft takes them out of paths.
bool is_private_asn(std::uint32_t asn) { return (asn >= 64512 && asn <= 65534) || asn >= 4200000000; }

// Why Azure, or BGP itself, does not take this number as a customer's; empty: it does.
std::string_view why_refused(std::uint32_t asn) {
    constexpr auto kAzure = std::to_array<std::uint32_t>({8074, 8075, kMicrosoftAsn});
    if (std::ranges::find(kAzure, asn) != kAzure.end() || (asn >= 65515 && asn <= 65520)) {
        return "Azure uses 8074, 8075, 12076 and 65515 to 65520 itself";
    }
    if (asn >= 64496 && asn <= 64511) {
        return "64496 to 64511 are for documents (RFC 5398), and Azure refuses them";
    }
    if (asn == 23456 || asn == 65535) {
        return "it is reserved (RFC 6793, RFC 7300)";
    }
    return {};
}

void read_announce(Diagnostics& diagnostics, const YAML::Node& node, std::vector<Prefix4>& v4, std::vector<Prefix6>& v6,
                   std::size_t owner, Draft& draft) {
    for_each_item(diagnostics, node, "a list of prefixes", [&](const YAML::Node& item) {
        if (const auto prefix4 = item.IsScalar() ? parse_prefix4(item.Scalar()) : std::nullopt) {
            v4.push_back(*prefix4);
            draft.announce4.push_back({*prefix4, position_of(item), owner});
        } else if (const auto prefix6 = read_scalar(diagnostics, item, kPrefixText, parse_prefix6)) {
            v6.push_back(*prefix6);
            draft.announce6.push_back({*prefix6, position_of(item), owner});
        }
    });
}

std::optional<Community> parse_community(std::string_view text) {
    const std::size_t colon = text.find(':');
    if (colon == std::string_view::npos) {
        return std::nullopt;
    }
    const auto asn = parse_unsigned(text.substr(0, colon), 0, 65535);
    const auto value = parse_unsigned(text.substr(colon + 1), 0, 65535);
    if (!asn || !value) {
        return std::nullopt;
    }
    return Community{static_cast<std::uint16_t>(*asn), static_cast<std::uint16_t>(*value)};
}

// RFC 4271 section 4.2: hold is three keepalives as a rule. Azure takes no less than 3 s and 10 s.
void read_timers(Diagnostics& diagnostics, const MapReader& map, std::uint32_t& keepalive, std::uint32_t& hold) {
    constexpr std::uint32_t kShortestKeepalive = 3, kShortestHold = 10, kLongest = 65535;
    const auto between = [](std::uint32_t least) {
        return [least](std::string_view text) {
            return parse_seconds(text).and_then(
                [least](std::uint32_t s) { return s >= least && s <= kLongest ? std::optional{s} : std::nullopt; });
        };
    };
    const std::size_t errors_before = diagnostics.count();
    map.read("keepalive", keepalive, "a time of 3s or more: Azure takes no shorter one", between(kShortestKeepalive));
    map.read("hold", hold, "a time of 10s or more: Azure takes no shorter one", between(kShortestHold));
    const auto at = map.find("hold") ? map.find("hold") : map.find("keepalive");
    if (at && diagnostics.count() == errors_before && hold < 3 * keepalive) {
        diagnostics.add(*at, "found hold " + std::to_string(hold) + "s with keepalive " + std::to_string(keepalive) +
                                 "s, expected at least three times as long");
    }
}

void read_bfd(Diagnostics& diagnostics, const MapReader& map, BgpSession& out) {
    constexpr std::uint32_t kShortest = 300;
    map.read("bfd", out.bfd, "true or false", parse_bool);
    for (const std::string_view key : {"bfd-interval", "bfd-multiplier"}) {
        if (const auto node = map.find(key); node && !out.bfd) {
            diagnostics.add(*node, "found '" + std::string{key} + "' with 'bfd: false', expected it with BFD only");
        }
    }
    map.read("bfd-interval", out.bfd_interval_ms,
             "a time from 300ms to 60s: Microsoft's routers send every 300 ms, and take no shorter one",
             [](std::string_view text) {
        return parse_milliseconds(text).and_then(
            [](std::uint32_t ms) { return ms >= kShortest ? std::optional{ms} : std::nullopt; });
    });
    map.read_unsigned("bfd-multiplier", out.bfd_multiplier, 2, 255);
}

void read_prefix_limit(Diagnostics& diagnostics, const MapReader& map, std::uint32_t& out, std::uint32_t limit,
                       const std::string& where) {
    map.read_unsigned("max-prefixes", out, 1, std::numeric_limits<std::uint32_t>::max());
    if (const auto node = map.find("max-prefixes"); node && out > limit) {
        diagnostics.add(*node, "found " + std::to_string(out) + ", expected at most " + std::to_string(limit) +
                                   ": with more Azure drops the session of " + where);
    }
}

// `where` is what takes our announcements, `strips`: private ASNs are taken out of our paths there.
void read_prepend(Diagnostics& diagnostics, const MapReader& map, std::uint32_t& out, const Draft& draft, bool strips) {
    map.read_unsigned("prepend", out, 0, 10);
    const auto node = map.find("prepend");
    if (node && out != 0 && strips && draft.config.bgp && is_private_asn(draft.config.bgp->asn)) {
        diagnostics.add(*node, "found prepend with the private ASN " + std::to_string(draft.config.bgp->asn) +
                                   ", expected none: Microsoft takes private ASNs out of the path on this peering");
    }
}

void read_session(Diagnostics& diagnostics, const MapReader& map, Zone zone, BgpSession& out, Draft& draft) {
    if (const auto file = read_file_name(diagnostics, map, "password-file", "the password of the BGP session", draft)) {
        out.password_file = *file;
    }
    read_timers(diagnostics, map, out.keepalive_s, out.hold_s);
    read_bfd(diagnostics, map, out);
    const std::uint32_t limit = prefix_limit4(draft.config, zone);
    read_prefix_limit(diagnostics, map, out.max_prefixes, limit, "peering " + to_string(zone));
    if (const auto list = map.find("communities")) {
        out.communities.clear();
        for_each_item(diagnostics, *list, "a list of communities", [&](const YAML::Node& item) {
            if (const auto community =
                    read_scalar(diagnostics, item, "a BGP community, like \"12076:51026\"", parse_community)) {
                out.communities.push_back(*community);
            }
        });
    }
    map.read_unsigned("local-preference", out.local_preference, 0, std::numeric_limits<std::uint32_t>::max());
    read_prepend(diagnostics, map, out.prepend, draft, carries_public_addresses_only(zone));
}

// Reports a session without a speaker.
void require_own_asn(Diagnostics& diagnostics, const MapReader& map, const Draft& draft, const std::string& where) {
    if (!draft.config.bgp) {
        diagnostics.add(map.position(),
                        "found bgp of " + where + ", expected a section 'bgp' at the top level with our ASN");
    }
}

void read_peer_asn(Diagnostics& diagnostics, const MapReader& map, std::uint32_t& out, const Draft& draft) {
    map.read("peer-asn", out, kAsnText, parse_asn);
    if (draft.config.bgp && draft.config.bgp->asn == out) {
        const auto node = map.find("peer-asn");
        diagnostics.add(
            node ? position_of(*node) : map.position(),
            "found peer-asn " + std::to_string(out) + ", expected another than our own: the session is external BGP");
    }
}

// Microsoft's end of a link: the address behind ours.
template <class Address>
Address next(Address address);
template <>
be32 next(be32 address) {
    return to_be32(address.host() + 1);
}
template <>
Ipv6Address next(Ipv6Address address) {
    ++address.back();  // ours is odd: a /126's first
    return address;
}

void default_peers(const LegConfig& leg, LegBgp& out) {
    if (!leg.addresses4.empty()) {
        out.peer4 = next(leg.addresses4.front().address);
    }
    for (const InterfaceAddress6& address : leg.addresses6) {
        if (!out.peer6 && !kLinkLocal6.contains(address.address)) {
            out.peer6 = next(address.address);
        }
    }
}

void read_peers(Diagnostics& diagnostics, const MapReader& map, const LegConfig& leg, LegBgp& out) {
    const auto node = map.find("peer");
    if (!node) {
        return;
    }
    const auto peer = read_scalar(diagnostics, *node, "the IPv4 address of the BGP neighbour", parse_address4);
    if (!peer) {
        return;
    }
    out.peer4 = *peer;
    const bool reachable = std::ranges::any_of(leg.addresses4, [&](InterfaceAddress4 ours) {
        return ours.network().contains(*peer) && ours.address != *peer;
    });
    if (!reachable) {
        diagnostics.add(*node, "found peer " + to_string(*peer) + ", expected a neighbour in the subnet of the leg");
    }
}

}  // namespace

void read_bgp(Diagnostics& diagnostics, const YAML::Node& node, Draft& draft) {
    const MapReader map{diagnostics, node, schema::kBgp};
    BgpConfig bgp;
    if (map.read_required("asn", bgp.asn, kAsnText, parse_asn)) {
        if (const std::string_view why = why_refused(bgp.asn); !why.empty()) {
            diagnostics.add(*map.find("asn"),
                            "found ASN " + std::to_string(bgp.asn) + ", expected another: " + std::string{why});
        }
    }
    map.read("router-id", bgp.router_id, "an IPv4 address", parse_address4);
    if (const auto list = map.find("announce")) {
        read_announce(diagnostics, *list, bgp.announce4, bgp.announce6, 0, draft);
    }
    draft.config.bgp = std::move(bgp);
}

void read_peering_bgp(Diagnostics& diagnostics, const YAML::Node& node, Zone zone, Draft& draft) {
    const MapReader map{diagnostics, node, schema::kPeeringBgp};
    require_own_asn(diagnostics, map, draft, "peering " + to_string(zone));
    PeeringBgp bgp;
    bgp.zone = zone;
    bgp.session.max_prefixes = prefix_limit4(draft.config, zone);
    read_session(diagnostics, map, zone, bgp.session, draft);
    if (const auto list = map.find("announce"); list && zone != Zone::private_peering) {
        diagnostics.add(*list, "found 'announce' on peering " + to_string(zone) +
                                   ", expected none: there it is the pool that is announced");
    } else if (list) {
        bgp.announce_given = true;
        read_announce(diagnostics, *list, bgp.announce4, bgp.announce6, 1 + draft.config.peering_bgp.size(), draft);
    }
    draft.config.peering_bgp.push_back(std::move(bgp));
}

void read_leg_bgp(Diagnostics& diagnostics, const YAML::Node* node, LegConfig& leg, Draft& draft) {
    const auto peering = std::ranges::find(draft.config.peering_bgp, leg.zone, &PeeringBgp::zone);
    const bool inherits = peering != draft.config.peering_bgp.end();
    if (node == nullptr && !inherits) {
        return;
    }
    LegBgp bgp;
    bgp.session.max_prefixes = prefix_limit4(draft.config, leg.zone);
    if (inherits) {
        bgp.session = peering->session;
    }
    default_peers(leg, bgp);
    if (node != nullptr) {
        const MapReader map{diagnostics, *node, schema::kLegBgp};
        require_own_asn(diagnostics, map, draft, "leg " + leg.netdev);
        read_peers(diagnostics, map, leg, bgp);
        read_peer_asn(diagnostics, map, bgp.peer_asn, draft);
        read_session(diagnostics, map, leg.zone, bgp.session, draft);
    }
    leg.bgp = std::move(bgp);
}

void read_tunnel_bgp(Diagnostics& diagnostics, const YAML::Node& node, TunnelConfig& tunnel, Draft& draft) {
    const MapReader map{diagnostics, node, schema::kTunnelBgp};
    require_own_asn(diagnostics, map, draft, "a tunnel");
    TunnelBgp bgp;
    map.read_required("peer", bgp.peer, "the IPv4 address of the BGP neighbour behind the tunnel", parse_address4);
    read_peer_asn(diagnostics, map, bgp.peer_asn, draft);
    if (bgp.peer_asn == kAzureGatewayAsn) {
        for (const std::string_view key : {"keepalive", "hold"}) {
            if (const auto timer = map.find(key)) {
                diagnostics.add(*timer, "found '" + std::string{key} +
                                            "', expected none towards ASN 65515: Azure's gateway has 60 s and 180 s "
                                            "fixed, and sessions with shorter ones flap");
            }
        }
    }
    read_timers(diagnostics, map, bgp.keepalive_s, bgp.hold_s);
    read_prefix_limit(diagnostics, map, bgp.max_prefixes, bgp.max_prefixes, "a tunnel");
    map.read_unsigned("local-preference", bgp.local_preference, 1, std::numeric_limits<std::uint32_t>::max());
    read_prepend(diagnostics, map, bgp.prepend, draft, false);
    tunnel.bgp = bgp;
}

}  // namespace twinspan
