// What the control socket shows: the daemon's knowledge as the JSON of docs/control-socket.md. Reads, never changes.
#pragma once

#include "control/failover.hpp"
#include "control/metrics.hpp"
#include "control/model/world.hpp"
#include "control/nat/nat_drain.hpp"
#include "control/nat/nat_status.hpp"
#include "control/sa/sa_store.hpp"
#include "dataplane/dataplane.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

namespace twinspan {

// Where the numbers come from. Everything outlives a call of show().
struct StatusSources {
    const Failover* failover = nullptr;
    std::vector<PortInfo> ports;  // as Config::ports
    std::function<PortStats(std::uint16_t port)> port_stats;
    std::function<SteeringCounters(std::uint16_t port)> steered;  // of shared ports
    std::vector<const WorkerCounters*> counters;  // workers, then the punt thread
    const NatTable* nat = nullptr;                // may be null: no sessions
    const NatKept* nat_kept = nullptr;            // may be null: sessions end with the process
    NatStatus* nat_status = nullptr;              // may be null: nobody watches the pools
    const NatDrain* nat_drain = nullptr;          // the same
    const Metrics* metrics = nullptr;
    const SaStore* sas = nullptr;  // may be null: tunnels are shown without their SAs
    std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
};

// `what`: ports, legs, tunnels, sas, groups, routes, neighbours, nat, drops, metrics, workers or accounting. Unknown:
// an error that lists them.
Result<nlohmann::json> show(const StatusSources& sources, std::string_view what);

// A pool that a reload has taken away, and that has drained: only its number is left.
inline bool is_gone(const PoolConfig& pool) { return pool.removed() && pool.draining.empty(); }

// One function each; in show_*.cpp and nat_metrics.cpp.
nlohmann::json show_ports(const StatusSources& sources);
nlohmann::json show_legs(const StatusSources& sources);
nlohmann::json show_tunnels(const StatusSources& sources);
nlohmann::json show_sas(const StatusSources& sources);
nlohmann::json show_groups(const StatusSources& sources);
nlohmann::json show_routes(const StatusSources& sources);
nlohmann::json show_neighbours(const StatusSources& sources);
nlohmann::json show_nat(const StatusSources& sources);
void add_nat_metrics(const StatusSources& sources, nlohmann::json& metrics);  // by pool, address and protocol
nlohmann::json show_drops(const StatusSources& sources);
nlohmann::json show_metrics(const StatusSources& sources);
nlohmann::json show_workers(const StatusSources& sources);
nlohmann::json show_accounting(const StatusSources& sources);

}  // namespace twinspan
