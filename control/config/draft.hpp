// Between parsing and a finished Config: the values, and where in the file they stand.
#pragma once

#include "control/config/config.hpp"
#include "control/config/yaml_reader.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace twinspan {

template <class T>
struct Located {
    T value;
    SourcePosition at;
    std::size_t owner = 0;  // index in Config::legs, pools or accept
};

struct TunnelPositions {
    SourcePosition tunnel, if_id, link, local, remote, mtu, sa_file;  // line 0: not given, or bad
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
    std::vector<Located<Prefix4>> accept4;
    std::vector<Located<Prefix6>> accept6;
    std::vector<Located<Prefix4>> encrypt4;
    bool peerings_complete = false;            // no error in them: what refers to their addresses can be checked
};

// Fill `draft` from the sections of the file. Values that are bad are reported and left out.
void read_top_level(Diagnostics& diagnostics, const YAML::Node& root, Draft& draft);
void read_peerings(Diagnostics& diagnostics, const YAML::Node& peerings, Draft& draft);
void read_tunnels(Diagnostics& diagnostics, const YAML::Node& tunnels, Draft& draft);

// Reports what contradicts itself or the rules of the circuit, and completes what depends on the whole: a tunnel's leg.
void check_draft(Diagnostics& diagnostics, Draft& draft);

}  // namespace twinspan
