// The nat section of a peering: its pools.
#include "control/config/draft.hpp"
#include "control/config/scalar.hpp"
#include "control/config/schema.hpp"

#include <algorithm>
#include <tuple>

namespace twinspan {

std::vector<Ipv4Range> read_nat_ranges(Diagnostics& diagnostics, const YAML::Node& list, std::string_view expected,
                                       std::size_t pool, std::vector<Located<Ipv4Range>>& located) {
    constexpr std::uint32_t kMostAddresses = 65536;
    std::vector<Ipv4Range> ranges;
    for_each_item(diagnostics, list, expected, [&](const YAML::Node& item) {
        const auto range =
            read_scalar(diagnostics, item,
                        "IPv4 addresses like 198.51.100.0/28, 198.51.100.7 or 198.51.100.2-198.51.100.9", parse_range4);
        if (range && range->last.host() - range->first.host() >= kMostAddresses) {
            diagnostics.unexpected(item, "at most 65536 addresses (a /16)");
        } else if (range) {
            located.push_back({*range, position_of(item), pool});
            ranges.push_back(*range);
        }
    });
    if (list.IsSequence() && list.size() == 0) {
        diagnostics.unexpected(list, "at least one address");
    }
    std::ranges::sort(ranges, {}, &Ipv4Range::first);
    return ranges;
}

namespace {

void read_timeouts(Diagnostics& diagnostics, const YAML::Node& node, NatTimeouts& out) {
    constexpr std::string_view kTime = "a time from 1s to 168h, like 300s, 5m or 2h";
    const MapReader map{diagnostics, node, schema::kTimeouts};
    map.read("udp", out.udp, kTime, parse_seconds);
    map.read("tcp-established", out.tcp_established, kTime, parse_seconds);
    map.read("tcp-transitory", out.tcp_transitory, kTime, parse_seconds);
    map.read("tcp-closing", out.tcp_closing, kTime, parse_seconds);
    map.read("icmp", out.icmp, kTime, parse_seconds);
    map.read("other", out.other, kTime, parse_seconds);
}

void read_water(Diagnostics& diagnostics, const MapReader& map, PoolConfig& pool) {
    constexpr std::string_view kShare = "a share from 1% to 100%";
    map.read("high-water", pool.high_water, kShare, parse_percent);
    map.read("low-water", pool.low_water, kShare, parse_percent);
    if (pool.low_water >= pool.high_water) {
        const auto low = map.find("low-water");
        diagnostics.add(low ? position_of(*low) : map.position(), "found low-water " + std::to_string(pool.low_water) +
                                                                      "%, expected less than high-water " +
                                                                      std::to_string(pool.high_water) + "%");
    }
}

// Whether it is "any".
std::optional<bool> parse_protocols(std::string_view text) {
    return text == "any" ? std::optional{true} : text == "tcp-udp-icmp" ? std::optional{false} : std::nullopt;
}

void add_pool(Diagnostics& diagnostics, const YAML::Node& list, PoolConfig pool, SourcePosition at, Draft& draft) {
    pool.ranges =
        read_nat_ranges(diagnostics, list, "a list of public addresses", draft.config.pools.size(), draft.ranges);
    draft.pools.push_back(at);
    draft.config.pools.push_back(std::move(pool));
}

// Each link has a pool of its own, and a session does not outlive its link.
void read_link_pools(Diagnostics& diagnostics, const YAML::Node& node, bool has_links, PoolConfig pool, Draft& draft) {
    const MapReader map{diagnostics, node, schema::kLinkPools};
    if (!has_links) {
        diagnostics.add(node, "found a pool for each link on peering " + to_string(pool.zone) +
                                  ", expected one list of addresses: its legs have no link");
        return;
    }
    for (const Link link : {Link::primary, Link::secondary}) {
        if (const auto list = map.require(to_string(link), "the public addresses of that link's pool")) {
            pool.link = link;
            add_pool(diagnostics, *list, pool, position_of(*list), draft);
        }
    }
}

}  // namespace

void read_nat(Diagnostics& diagnostics, const YAML::Node& node, Zone zone, bool has_links, Draft& draft) {
    const MapReader map{diagnostics, node, schema::kNat};
    if (!map.is_map()) {
        return;
    }
    if (zone == Zone::lan || zone == Zone::private_peering) {
        diagnostics.add(map.position(), "found a pool on peering " + to_string(zone) +
                                            ", expected one on public, microsoft or internet only: " + to_string(zone) +
                                            " addresses are never translated");
        return;
    }
    PoolConfig pool;
    pool.zone = zone;
    std::pair ports{pool.first_port, pool.last_port};
    map.read("ports", ports, "a range of ports like 1024-65535", parse_ports);
    std::tie(pool.first_port, pool.last_port) = ports;
    map.read("protocols", pool.any_protocol, "any, or tcp-udp-icmp", parse_protocols);
    map.read("inbound-refresh", pool.inbound_refresh, "true or false", parse_bool);
    read_nat_rules(diagnostics, map, pool);
    map.read_unsigned("sessions", pool.sessions, 1024, 1u << 26);
    read_water(diagnostics, map, pool);
    if (const auto timeouts = map.find("timeouts")) {
        read_timeouts(diagnostics, *timeouts, pool.timeouts);
    }
    const std::size_t first = draft.config.pools.size();
    const auto addresses = map.require("pool", "the public addresses of the pool");
    if (addresses && addresses->IsMap()) {
        read_link_pools(diagnostics, *addresses, has_links, pool, draft);
    } else if (addresses) {
        add_pool(diagnostics, *addresses, pool, map.position(), draft);
    }
    read_nat_inbound(diagnostics, map, zone, first, draft);
}

}  // namespace twinspan
