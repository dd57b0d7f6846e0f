// Between parsing and a finished Config: the values, and where in the file they stand.
#pragma once

#include "control/config/config.hpp"
#include "control/config/yaml_reader.hpp"

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace twinspan {

template <class T>
struct Located {
    T value;
    SourcePosition at;
    std::size_t owner = 0;  // index in Config::legs, pools or accept
};

struct TunnelPositions {
    SourcePosition tunnel, if_id, link, local, remote, mtu, sa_file, address, df, flow_label,
        lifetime;  // line 0: not given, or bad
};

// A file with a secret or a certificate that must exist.
struct NamedFile {
    std::filesystem::path path;
    SourcePosition at;
    std::string content;  // what it should hold
};

struct Draft {
    Config config;
    std::vector<SourcePosition> legs;          // parallel to config.legs
    std::vector<SourcePosition> leg_netdevs;
    std::vector<SourcePosition> pools;         // parallel to config.pools
    std::vector<SourcePosition> tunnel_names;
    std::vector<TunnelPositions> tunnels;      // parallel to config.tunnels
    std::vector<Located<InterfaceAddress4>> addresses4;
    std::vector<Located<InterfaceAddress6>> addresses6;
    std::vector<Located<Ipv4Range>> ranges;
    std::vector<Located<NatStatic>> statics;       // owner: index in Config::pools
    std::vector<Located<Ipv4Range>> from_microsoft;
    std::vector<Located<Prefix4>> accept4;
    std::vector<Located<Prefix6>> accept6;
    std::vector<Located<Prefix4>> encrypt4;
    std::vector<Located<Prefix6>> encrypt6;
    std::vector<Located<Prefix4>> announce4;   // of all lists; owner: 0 the site's, else 1 + index in peering_bgp
    std::vector<Located<Prefix6>> announce6;
    std::vector<SourcePosition> fallback;      // parallel to config.fallback
    std::vector<Located<std::string>> fallback_tunnels;  // names; owner: index in config.fallback
    std::vector<NamedFile> files;
    bool peerings_complete = false;            // no error in them: what refers to their addresses can be checked
};

// Fill `draft` from the sections of the file. Values that are bad are reported and left out.
void read_top_level(Diagnostics& diagnostics, const YAML::Node& root, Draft& draft);
void read_peerings(Diagnostics& diagnostics, const YAML::Node& peerings, Draft& draft);
void read_tunnels(Diagnostics& diagnostics, const YAML::Node& tunnels, Draft& draft);
// The top-level section, and those of one peering, one leg and one tunnel. The first comes before the others.
void read_bgp(Diagnostics& diagnostics, const YAML::Node& node, Draft& draft);
void read_peering_bgp(Diagnostics& diagnostics, const YAML::Node& node, Zone zone, Draft& draft);
// Completes `leg` from its peering's section and from `node`, the leg's own: one of them may be missing.
void read_leg_bgp(Diagnostics& diagnostics, const YAML::Node* node, LegConfig& leg, Draft& draft);
void read_tunnel_bgp(Diagnostics& diagnostics, const YAML::Node& node, TunnelConfig& tunnel, Draft& draft);
// A peering's nat section. `has_links`: its legs are on the links of a circuit.
void read_nat(Diagnostics& diagnostics, const YAML::Node& node, Zone zone, bool has_links, Draft& draft);
// Ascending; each of them is in `located`, too, with `pool` as its owner.
std::vector<Ipv4Range> read_nat_ranges(Diagnostics& diagnostics, const YAML::Node& list, std::string_view expected,
                                       std::size_t pool, std::vector<Located<Ipv4Range>>& located);
// What `map`, such a section, says of sessions that begin outside. Its pools are those from `first` on.
void read_nat_inbound(Diagnostics& diagnostics, const MapReader& map, Zone zone, std::size_t first, Draft& draft);
// What `map` says of how ports are given. After its ports.
void read_nat_rules(Diagnostics& diagnostics, const MapReader& map, PoolConfig& pool);
void read_ike(Diagnostics& diagnostics, const YAML::Node& node, TunnelConfig& tunnel, Draft& draft);
void read_nat_log(Diagnostics& diagnostics, const YAML::Node& node, Draft& draft);
// `value` is a path from the folder of the configuration file when it is relative.
std::optional<std::filesystem::path> read_file_name(Diagnostics& diagnostics, const MapReader& map,
                                                    std::string_view key, std::string content, Draft& draft);

// Reports what contradicts itself or the rules of the circuit, and completes what depends on the whole: a tunnel's leg.
void check_draft(Diagnostics& diagnostics, Draft& draft);
// The part of it that is about pools.
void check_pools(Diagnostics& diagnostics, const Draft& draft);
// The part of it that is about tunnels.
void check_tunnels(Diagnostics& diagnostics, Draft& draft);
// The part of it that is about BGP, fallbacks and the addresses of tunnels.
void check_routing(Diagnostics& diagnostics, Draft& draft);

}  // namespace twinspan
