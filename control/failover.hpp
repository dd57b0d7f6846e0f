// Keeps the data plane in step with the world. A change of links is repaired at once with one publication, whatever the
// number of routes; everything else waits for the next compile. Control thread only.
#pragma once

#include "control/metrics.hpp"
#include "control/model/planner.hpp"
#include "control/model/world.hpp"
#include "dataplane/base/error.hpp"
#include "dataplane/config/snapshot.hpp"

#include <spdlog/common.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace twinspan {

// What Failover does to the data plane, in the order that packets on their way allow.
class Tables {
public:
    virtual ~Tables() = default;
    virtual void publish(std::unique_ptr<const Snapshot> next) = 0;
    virtual void synchronize() = 0;
    virtual Result<void> insert(const IpPrefix& prefix, RouteResult result) = 0;
    virtual void erase(const IpPrefix& prefix) = 0;
    virtual void set_carrier(std::uint16_t netdev, bool up) = 0;
};

class Failover {
public:
    // All outlive this.
    Failover(World& world, Tables& tables, Metrics& metrics) : world_(world), tables_(tables), metrics_(metrics) {}

    // Fills the FIB and returns the snapshot to start with. Call announce() when the workers run. An error: the FIB has
    // no room for the guard of an encrypted prefix, whose packets a shorter route would carry in clear, or for a pool.
    Result<std::unique_ptr<const Snapshot>> first();
    void announce();

    // Reads the whole world again. Publishes, then changes routes, so that no route names what is not there yet.
    void recompile();
    // After a change of World::config, with one publication. Guards of encrypted prefixes and addresses of pools are in
    // the FIB before. `routes`: what they mean has changed. An error: it has no room for one of them, and workers act
    // as they did; put the configuration back and call take_back().
    Result<void> follow_configuration(bool routes);
    Result<void> take_back();
    // The same without routes, and the routes of some prefixes alone: each costs what has changed.
    void refresh();
    void routes_changed(std::span<const IpPrefix> prefixes);

    // The fast path: one publication, no look at routes. Returned is whether anything changed.
    bool port_changed(std::size_t port, bool up);
    // A while after the start: a port without link until then is as one that has lost it.
    void await_ports_no_longer();
    bool drain(Link link, bool drained);
    bool drain_tunnel(std::size_t tunnel, bool drained);
    // Neighbours that Linux has given up on, and those that it has again: these the next compile takes back, with the
    // MAC addresses that they have now.
    struct NeighbourChange {
        LegAddress neighbour;
        bool failed = false;
    };
    bool neighbours_changed(const std::vector<NeighbourChange>& changes);
    // After World::sas of these tunnels: when it returns, workers may still use an SA that is gone until
    // Tables::synchronize().
    bool sas_changed(std::span<const std::size_t> tunnels);

    const World& world() const noexcept { return world_; }
    const Plan& current_plan() const noexcept { return planner_->plan(); }
    // What workers read now.
    const Snapshot& snapshot() const noexcept { return *current_; }
    std::uint64_t publications() const noexcept { return generation_; }
    std::size_t routes_without_room() const noexcept { return without_room_.size(); }

private:
    // Whether workers got a new snapshot for it.
    bool repair(Metric cause, spdlog::level::level_enum level, const std::string& what);
    void publish(std::unique_ptr<Snapshot> next);
    Result<void> make_room_for_guards(std::vector<IpPrefix>& made);
    Result<void> find_room_for_guards() const;
    Result<void> find_room_for_pools() const;
    void apply(PlanChanges changes);
    void change_routes(FibChanges changes);
    void write_routes(FibChanges changes);
    void log_refusals(const std::vector<RefusedRoute>& refused) const;
    Plan& plan() noexcept { return planner_->plan(); }

    World& world_;
    Tables& tables_;
    Metrics& metrics_;
    std::optional<Planner> planner_;
    std::set<IpPrefix> without_room_;  // of the plan's FIB, all else is installed
    bool must_publish_ = false;  // what equivalent() does not compare has changed
    bool synchronized_ = true;  // every worker has the last publication
    const Snapshot* current_ = nullptr;  // owned by the data plane until the next publication
    std::vector<bool> carriers_;  // as told to Linux
    std::uint64_t generation_ = 0;
};

// Whether workers would act the same on both. Not compared: what follows from the configuration alone.
bool equivalent(const Snapshot& a, const Snapshot& b) noexcept;

}  // namespace twinspan
