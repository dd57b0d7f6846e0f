// What lets Microsoft begin sessions: static mappings, and the addresses that its hosts have inside.
#include "control/config/draft.hpp"
#include "control/config/scalar.hpp"
#include "control/config/schema.hpp"

#include <algorithm>
#include <span>

namespace twinspan {

namespace {

std::optional<std::uint8_t> parse_transport(std::string_view text) {
    return text == "tcp"   ? std::optional{+IpProtocol::tcp}
           : text == "udp" ? std::optional{+IpProtocol::udp}
                           : std::nullopt;
}

std::optional<be32> parse_host4(std::string_view text) {
    const auto address = IpAddress::parse(text);
    return address && address->is_v4() ? std::optional{address->v4()} : std::nullopt;
}

// A port, when the protocol is given; else the whole host.
std::optional<NatStatic> read_static(Diagnostics& diagnostics, const YAML::Node& node) {
    const MapReader map{diagnostics, node, schema::kStatic};
    if (!map.is_map()) {
        return std::nullopt;
    }
    const std::size_t errors = diagnostics.count();
    NatStatic mapping;
    map.read_required("outside", mapping.outside, "an address of the pool", parse_host4);
    map.read_required("inside", mapping.inside, "the address of an inside host", parse_host4);
    map.read("protocol", mapping.protocol, "tcp or udp", parse_transport);
    std::uint16_t port = 0;
    map.read_unsigned("port", port, 1, 65535);
    std::uint16_t inside_port = port;
    map.read_unsigned("inside-port", inside_port, 1, 65535);
    if (diagnostics.count() == errors && ((mapping.protocol == 0) != (port == 0) || (port == 0 && inside_port != 0))) {
        diagnostics.add(map.position(),
                        "found half a port mapping, expected protocol and port, or neither: then all of "
                        "the host is mapped");
    }
    mapping.outside_port = to_be16(port);
    mapping.inside_port = to_be16(inside_port);
    return diagnostics.count() == errors ? std::optional{mapping} : std::nullopt;
}

}  // namespace

void read_nat_inbound(Diagnostics& diagnostics, const MapReader& map, Zone zone, std::size_t first, Draft& draft) {
    const std::span pools = std::span{draft.config.pools}.subspan(first);
    const auto list = map.find("static");
    const auto from = map.find("from-microsoft");
    for (const auto& [node, key] : {std::pair{list, "static"}, std::pair{from, "from-microsoft"}}) {
        if (node && zone != Zone::microsoft_peering) {
            diagnostics.add(*node, std::string{"found "} + key + " on peering " + to_string(zone) +
                                       ", expected it on microsoft only: nobody begins sessions from " +
                                       to_string(zone));
            return;
        }
    }
    if (pools.empty()) {
        return;  // reported
    }
    if (list) {
        for_each_item(diagnostics, *list, "a list of static mappings", [&](const YAML::Node& item) {
            if (const auto mapping = read_static(diagnostics, item)) {
                const auto has = [&](const PoolConfig& pool) { return pool.has(mapping->outside); };
                const auto found = std::ranges::find_if(pools, has);
                const auto nth = found == pools.end() ? 0 : found - pools.begin();
                pools[static_cast<std::size_t>(nth)].statics.push_back(*mapping);
                draft.statics.push_back({*mapping, position_of(item), first + static_cast<std::size_t>(nth)});
            }
        });
    }
    if (from && pools.size() != 1) {
        diagnostics.add(*from,
                        "found from-microsoft with a pool for each link, expected one pool for both: replies to "
                        "these addresses name no link");
    } else if (from) {
        pools[0].from_microsoft = read_nat_ranges(
            diagnostics, *from, "a list of addresses that the inside routes to us", first, draft.from_microsoft);
    }
}

}  // namespace twinspan
