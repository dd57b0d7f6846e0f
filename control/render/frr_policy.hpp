// What FRR takes from each neighbour and what it tells it: prefix lists, community lists and route maps.
#pragma once

#include "control/config/config.hpp"
#include "control/render/text.hpp"

#include <string>
#include <vector>

namespace twinspan::render {

// The prefixes that one neighbour is told; nothing else is.
struct Announced {
    std::vector<Prefix4> v4;
    std::vector<Prefix6> v6;
};
Announced announced_on(const Config& config, const LegConfig& leg);
Announced announced_in_tunnels(const Config& config);

// Names of the route maps of a neighbour: netdev or tunnel, "in" or "out", 4 or 6.
std::string map_name(const std::string& interface, const char* direction, unsigned version);

void write_policies(Text& text, const Config& config);

}  // namespace twinspan::render
