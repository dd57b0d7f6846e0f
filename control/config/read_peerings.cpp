// The peerings section: legs, VLAN stacks, pools, accepted prefixes, fallbacks.
#include "control/config/draft.hpp"
#include "control/config/scalar.hpp"
#include "control/config/schema.hpp"

#include <algorithm>
#include <array>

namespace twinspan {

namespace {

// On the circuit: reached over a link, and numbered as the circuit's routers are.
bool is_circuit_zone(Zone zone) {
    return zone == Zone::private_peering || zone == Zone::public_peering || zone == Zone::microsoft_peering;
}

std::string_view netdev_stem(Zone zone) {
    switch (zone) {
        case Zone::private_peering:
            return "prv";
        case Zone::public_peering:
            return "pub";
        case Zone::microsoft_peering:
            return "msft";
        case Zone::internet:
            return "inet";
        default:
            return "lan";
    }
}

class PeeringReader {
public:
    PeeringReader(Diagnostics& diagnostics, Draft& draft, Zone zone)
        : diagnostics_(diagnostics), draft_(draft), zone_(zone) {}

    void read(const YAML::Node& node) {
        const MapReader map{diagnostics_, node, schema::kPeering};
        if (const auto bgp = map.find("bgp"); bgp && speaks_bgp(*bgp)) {  // before the legs, which take it over
            read_peering_bgp(diagnostics_, *bgp, zone_, draft_);
        }
        if (const auto legs = map.require("legs", "a list of legs")) {
            for_each_item(diagnostics_, *legs, "a list of legs", [this](const YAML::Node& leg) { read_leg(leg); });
        }
        if (const auto nat = map.find("nat")) {
            read_nat(diagnostics_, *nat, zone_, is_circuit_zone(zone_) && draft_.config.role == Role::on_premises,
                     draft_);
        }
        if (const auto accept = map.find("accept")) {
            read_accept(*accept);
        }
        if (const auto fallback = map.find("fallback")) {
            read_fallback(*fallback);
        }
    }

private:
    // Reports a section of BGP where there is nobody to speak to.
    bool speaks_bgp(const YAML::Node& node) {
        if (is_circuit_zone(zone_) && draft_.config.role == Role::on_premises) {
            return true;
        }
        diagnostics_.add(node, "found 'bgp' on peering " + to_string(zone_) +
                                   ", expected it on private, public or microsoft of role on-premises: there it is "
                                   "the circuit's routers that speak it");
        return false;
    }

    void read_fallback(const YAML::Node& node) {
        FallbackConfig fallback;
        fallback.zone = zone_;
        const std::size_t index = draft_.config.fallback.size();
        const auto read_tunnel = [&](const YAML::Node& item) {
            if (auto name = read_scalar(diagnostics_, item, "the name of a tunnel", parse_netdev_name)) {
                draft_.fallback_tunnels.push_back({std::move(*name), position_of(item), index});
            }
        };
        if (zone_ == Zone::private_peering) {
            for_each_item(diagnostics_, node, "a list of tunnel names", read_tunnel);
        } else if (carries_public_addresses_only(zone_) && !node.IsSequence()) {
            const auto good = read_scalar(diagnostics_, node, "internet", [](std::string_view text) {
                return text == "internet" ? std::optional{true} : std::nullopt;
            });
            fallback.internet = good.value_or(false);
        } else if (carries_public_addresses_only(zone_)) {
            for_each_item(diagnostics_, node, "a list of internet and tunnel names", [&](const YAML::Node& item) {
                if (item.IsScalar() && item.Scalar() == "internet") {
                    fallback.internet = true;
                } else {
                    read_tunnel(item);
                }
            });
        } else {
            diagnostics_.add(node, "found a fallback of peering " + to_string(zone_) +
                                       ", expected one on private, public or microsoft");
            return;
        }
        draft_.fallback.push_back(position_of(node));
        draft_.config.fallback.push_back(std::move(fallback));
    }

    void read_leg(const YAML::Node& node) {
        const MapReader map{diagnostics_, node, schema::kLeg};
        if (!map.is_map()) {
            return;
        }
        LegConfig leg;
        leg.zone = zone_;
        read_port(map, leg);
        if (const auto vlan = map.find("vlan")) {
            read_vlan(*vlan, leg);
        }
        read_mtu(map, leg);
        read_addresses(map, leg);
        const auto netdev = map.find("netdev");
        const PortConfig* port = find_port(leg.port);
        const bool kernel_has_it = port != nullptr && !port->shared.empty() && leg.tag_count == 0;
        leg.netdev = kernel_has_it ? port->shared : default_netdev(leg.link);
        if (kernel_has_it && netdev) {
            diagnostics_.add(*netdev,
                             "found 'netdev' on an untagged leg of a shared port, expected none: its "
                             "interface is Linux's own, '" +
                                 port->shared + "'");
        }
        map.read("netdev", leg.netdev, "a netdev name of at most 15 letters, digits and - _ .", parse_netdev_name);
        if (const auto bgp = map.find("bgp"); !bgp) {
            read_leg_bgp(diagnostics_, nullptr, leg, draft_);
        } else if (speaks_bgp(*bgp)) {
            read_leg_bgp(diagnostics_, &*bgp, leg, draft_);
        }
        draft_.legs.push_back(map.position());
        draft_.leg_netdevs.push_back(netdev ? position_of(*netdev) : map.position());
        draft_.config.legs.push_back(std::move(leg));
    }

    // Sets the port, directly or through the link; leaves it empty when that is wrong.
    void read_port(const MapReader& map, LegConfig& leg) {
        const bool over_link = is_circuit_zone(zone_) && draft_.config.role == Role::on_premises;
        const auto wrong = map.find(over_link ? "port" : "link");
        if (wrong) {
            diagnostics_.add(*wrong, over_link
                                         ? "found 'port' on a leg of peering " + to_string(zone_) +
                                               ", expected 'link': with role on-premises this peering is on the circuit"
                                         : "found 'link' on a leg of peering " + to_string(zone_) +
                                               ", expected 'port': this leg is not on a circuit");
            return;
        }
        if (over_link) {
            read_link(map, leg);
            return;
        }
        const auto node = map.require("port", "the port of the leg");
        if (!node) {
            return;
        }
        if (const PortConfig* port = node->IsScalar() ? find_port(node->Scalar()) : nullptr) {
            leg.port = port->name;
        } else {
            std::vector<std::string_view> names;
            for (const PortConfig& p : draft_.config.ports) {
                names.push_back(p.name);
            }
            diagnostics_.unknown_name(*node, "the name of a port (" + join(names) + ")", names);
        }
    }

    void read_link(const MapReader& map, LegConfig& leg) {
        const auto node = map.require("link", "the link of the leg: primary or secondary");
        const auto link = node ? read_scalar(diagnostics_, *node, "primary or secondary", parse_link) : std::nullopt;
        if (!link) {
            return;
        }
        leg.link = *link;
        if (!draft_.config.circuit) {
            diagnostics_.add(*node,
                             "found link '" + to_string(*link) + "', expected a circuit section that names its port");
            return;
        }
        leg.port = *link == Link::primary ? draft_.config.circuit->primary_port : draft_.config.circuit->secondary_port;
    }

    void read_vlan(const YAML::Node& node, LegConfig& leg) {
        constexpr std::uint64_t kLastVlan = 4094;  // 802.1Q: 0 is no VLAN, 4095 is reserved
        if (!node.IsMap()) {
            const auto id = read_scalar(diagnostics_, node,
                                        "a VLAN from 1 to 4094, or a mapping with the keys " + join(schema::kVlan),
                                        MapReader::unsigned_parser(1, kLastVlan));
            leg.tag_count = id ? 1 : 0;
            leg.tags[0] = {kEtherTypeVlan, to_be16(static_cast<std::uint16_t>(id.value_or(0)))};
            return;
        }
        const MapReader map{diagnostics_, node, schema::kVlan};
        std::uint16_t outer = 0, inner = 0, ethertype = kEtherTypeVlan.host();
        map.read_required("outer", outer, MapReader::unsigned_text(1, kLastVlan),
                          MapReader::unsigned_parser(1, kLastVlan));
        map.read_unsigned("inner", inner, 1, kLastVlan);
        map.read("ethertype", ethertype, "0x8100 or 0x88a8", [](std::string_view text) {
            const auto value = parse_unsigned(text, 0, 0xffff);
            return value == kEtherTypeVlan.host() || value == kEtherTypeQinQ.host() ? value : std::nullopt;
        });
        leg.tag_count = inner == 0 ? 1 : 2;
        leg.tags[0] = {to_be16(ethertype), to_be16(outer)};
        if (inner != 0) {
            leg.tags[1] = {kEtherTypeVlan, to_be16(inner)};
        }
    }

    void read_mtu(const MapReader& map, LegConfig& leg) {
        const PortConfig* port = find_port(leg.port);
        const std::uint16_t limit = port != nullptr ? port->mtu : std::uint16_t{9216};
        leg.mtu = port != nullptr ? port->mtu : leg.mtu;
        map.read("mtu", leg.mtu, MapReader::unsigned_text(576, limit) + " (the port's MTU)",
                 MapReader::unsigned_parser(576, limit));
    }

    void read_addresses(const MapReader& map, LegConfig& leg) {
        const auto list = map.find("addresses");
        if (!list) {
            return;
        }
        const std::size_t index = draft_.config.legs.size();
        for_each_item(diagnostics_, *list, "a list of addresses", [&](const YAML::Node& item) {
            if (const auto v4 = item.IsScalar() ? parse_interface_address4(item.Scalar()) : std::nullopt) {
                leg.addresses4.push_back(*v4);
                draft_.addresses4.push_back({*v4, position_of(item), index});
            } else if (const auto v6 =
                           read_scalar(diagnostics_, item,
                                       "an address with its prefix length, like 203.0.113.1/30 or \"2001:db8::1/126\"",
                                       parse_interface_address6)) {
                leg.addresses6.push_back(*v6);
                draft_.addresses6.push_back({*v6, position_of(item), index});
            }
        });
    }

    // lan, lan1, ...; msft-pri, msft-sec: the first that no leg before has.
    std::string default_netdev(Link link) const {
        std::string base{netdev_stem(zone_)};
        base += link == Link::primary ? "-pri" : link == Link::secondary ? "-sec" : "";
        std::string name = base;
        for (unsigned n = 1;
             std::ranges::find(draft_.config.legs, name, &LegConfig::netdev) != draft_.config.legs.end(); ++n) {
            name = base + std::to_string(n);
        }
        return name;
    }

    void read_accept(const YAML::Node& node) {
        AcceptConfig accept;
        accept.zone = zone_;
        const std::size_t index = draft_.config.accept.size();
        for_each_item(diagnostics_, node, "a list of prefixes", [&](const YAML::Node& item) {
            if (const auto v4 = item.IsScalar() ? parse_prefix4(item.Scalar()) : std::nullopt) {
                accept.prefixes4.push_back(*v4);
                draft_.accept4.push_back({*v4, position_of(item), index});
            } else if (const auto v6 = read_scalar(
                           diagnostics_, item, "a prefix without host bits, like 20.51.0.0/29 or \"2603:1000::/24\"",
                           parse_prefix6)) {
                accept.prefixes6.push_back(*v6);
                draft_.accept6.push_back({*v6, position_of(item), index});
            }
        });
        draft_.config.accept.push_back(std::move(accept));
    }

    const PortConfig* find_port(std::string_view name) const {
        const auto port = std::ranges::find(draft_.config.ports, name, &PortConfig::name);
        return port == draft_.config.ports.end() || name.empty() ? nullptr : &*port;
    }

    Diagnostics& diagnostics_;
    Draft& draft_;
    Zone zone_;
};

}  // namespace

void read_peerings(Diagnostics& diagnostics, const YAML::Node& peerings, Draft& draft) {
    static constexpr std::array kZones = {Zone::lan, Zone::private_peering, Zone::public_peering,
                                          Zone::microsoft_peering, Zone::internet};
    const std::size_t errors_before = diagnostics.count();
    const MapReader map{diagnostics, peerings, schema::kPeerings};
    for (const Zone zone : kZones) {
        if (const auto node = map.find(to_string(zone))) {
            PeeringReader{diagnostics, draft, zone}.read(*node);
        }
    }
    if (draft.config.legs.empty() && diagnostics.count() == errors_before) {
        diagnostics.unexpected(peerings, "at least one peering with a leg");
    }
    draft.peerings_complete = diagnostics.count() == errors_before;
}

}  // namespace twinspan
