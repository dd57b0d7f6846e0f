// What a changed configuration file changes, and which of it a running daemon cannot follow. Pure.
#pragma once

#include "control/config/config.hpp"
#include "control/config/key_path.hpp"

#include <cstdint>
#include <vector>

namespace twinspan {

enum class Effect : std::uint8_t {
    restart,  // devices, workers, memory, tunnels: made once
    routes,   // follows, with a look at every route
    plan,     // follows
    log,      // the NAT's log begins anew
    nothing,  // for people, or for what twinspanctl render writes
};

struct ConfigChange {
    KeyPath key;
    Effect effect = Effect::restart;
    friend bool operator==(const ConfigChange&, const ConfigChange&) = default;
};

// Each key with another value. All but the pools: see pools.hpp. A difference that no key is known for is an empty path
// with Effect::restart.
std::vector<ConfigChange> compare(const Config& running, const Config& wanted);

// `running` with all that can change taken from `wanted`. The pools stay.
Config follow(Config running, const Config& wanted);

// The legs of shared ports have what the NIC had at the start, where the file says nothing.
void adopt_running_addresses(Config& wanted, const Config& running);

}  // namespace twinspan
