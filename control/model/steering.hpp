// What the XDP program of a shared port gives to the workers. Pure.
#pragma once

#include "control/model/world.hpp"
#include "dataplane/config/steering.hpp"

#include <cstddef>

namespace twinspan {

// The tags of the port's legs; and if one is untagged: ESP to the tunnels, the pools, and what is under `encrypt:` but
// for Linux's own addresses.
Steering steering_of(const World& world, std::size_t port);

}  // namespace twinspan
