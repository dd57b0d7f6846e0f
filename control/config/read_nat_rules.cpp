// How a pool gives its ports: mode, reserved ports, limits of one inside host, blocks.
#include "control/config/draft.hpp"
#include "control/config/scalar.hpp"
#include "control/config/schema.hpp"

#include <algorithm>
#include <optional>
#include <string>

namespace twinspan {

namespace {

std::optional<NatMapping> parse_mapping(std::string_view text) {
    return text == "endpoint-dependent"     ? std::optional{NatMapping::endpoint_dependent}
           : text == "endpoint-independent" ? std::optional{NatMapping::endpoint_independent}
                                            : std::nullopt;
}

std::optional<PortRange> parse_port_or_range(std::string_view text) {
    if (const auto port = parse_unsigned(text, 1, 65535)) {
        return PortRange{static_cast<std::uint16_t>(*port), static_cast<std::uint16_t>(*port)};
    }
    const auto range = parse_ports(text);
    return range ? std::optional{PortRange{range->first, range->second}} : std::nullopt;
}

// Disjoint and ascending, as NatPool has them.
void merge(std::vector<PortRange>& ranges) {
    std::ranges::sort(ranges, {}, &PortRange::first);
    std::vector<PortRange> merged;
    for (const PortRange range : ranges) {
        if (!merged.empty() && range.first <= merged.back().last + 1u) {
            merged.back().last = std::max(merged.back().last, range.last);
        } else {
            merged.push_back(range);
        }
    }
    ranges = std::move(merged);
}

void read_reserved(Diagnostics& diagnostics, const YAML::Node& list, PoolConfig& pool) {
    const std::string ports = std::to_string(pool.first_port) + "-" + std::to_string(pool.last_port);
    for_each_item(diagnostics, list, "a list of ports", [&](const YAML::Node& item) {
        const auto range =
            read_scalar(diagnostics, item, "a port or a range of ports like 5060 or 5060-5061", parse_port_or_range);
        if (range && (range->last < pool.first_port || range->first > pool.last_port)) {
            diagnostics.unexpected(item, "ports of the pool's " + ports);
        } else if (range) {
            pool.reserved.push_back({std::max(range->first, pool.first_port), std::min(range->last, pool.last_port)});
        }
    });
    merge(pool.reserved);
    if (pool.reserved.size() == 1 && pool.reserved[0].first == pool.first_port &&
        pool.reserved[0].last == pool.last_port) {
        diagnostics.add(list, "found all of the pool's " + ports + " reserved, expected some to give");
    }
}

void read_blocks(Diagnostics& diagnostics, const YAML::Node& node, PoolConfig& pool) {
    const MapReader map{diagnostics, node, schema::kPortBlocks};
    if (!map.is_map()) {
        return;
    }
    const unsigned ports = pool.last_port - pool.first_port + 1u;
    constexpr unsigned kFewest = 8;  // fewer would not serve one browser
    if (ports < kFewest) {
        diagnostics.add(node, "found blocks of ports in a pool of " + std::to_string(ports) + ", expected at least " +
                                  std::to_string(kFewest) + " ports");
        return;
    }
    map.read_required("size", pool.block_ports, MapReader::unsigned_text(kFewest, ports),
                      MapReader::unsigned_parser(kFewest, ports));
    map.read_unsigned("per-host", pool.host_blocks, 1, 16);
}

}  // namespace

void read_nat_rules(Diagnostics& diagnostics, const MapReader& map, PoolConfig& pool) {
    map.read("mode", pool.mapping, "endpoint-dependent or endpoint-independent", parse_mapping);
    if (const auto reserved = map.find("reserved")) {
        read_reserved(diagnostics, *reserved, pool);
    }
    map.read_unsigned("host-limit", pool.host_sessions, 1, 1u << 26);
    map.read_unsigned("host-rate", pool.host_rate, 1, 1u << 26);
    if (const auto blocks = map.find("port-blocks")) {
        read_blocks(diagnostics, *blocks, pool);
    }
}

}  // namespace twinspan
