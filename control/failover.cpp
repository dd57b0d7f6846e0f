#include "control/failover.hpp"

#include "control/log.hpp"

#include <algorithm>
#include <span>
#include <tuple>

namespace twinspan {
namespace {

constexpr std::size_t kMostLogged = 10;  // routes in one change: a peer may announce a million that are wrong
constexpr std::size_t kMostTriesForRoom = 1000;

auto content(const Egress& e) noexcept {
    return std::tie(e.kind, e.reason, e.zone, e.rewrite_length, e.port, e.leg, e.pool, e.tunnel, e.mtu, e.rewrite);
}
auto content(const Tunnel& t) noexcept {
    return std::tuple{t.out, t.outer_egress, t.up, t.encapsulation, t.outer, t.inner_mtu, t.mss4, t.mss6};
}
auto content(const Leg& leg) noexcept { return std::tuple{leg.up, leg.mac}; }
auto content(const Group& g) noexcept { return std::tuple{g.first_bucket, g.bucket_mask}; }

template <class T>
bool same(const std::vector<T>& a, const std::vector<T>& b) noexcept {
    return std::ranges::equal(a, b, [](const T& x, const T& y) { return content(x) == content(y); });
}

// Those whose flows went elsewhere.
std::uint64_t changed_groups(const std::vector<Group>& groups, const std::vector<std::uint16_t>& buckets,
                             const Snapshot& now) {
    std::uint64_t changed = 0;
    for (std::size_t i = 0; i < std::min(groups.size(), now.groups.size()); ++i) {
        const auto of = [](const Group& group, const std::vector<std::uint16_t>& all) {
            return std::span(all).subspan(group.first_bucket, std::size_t{group.bucket_mask} + 1);
        };
        changed += std::ranges::equal(of(groups[i], buckets), of(now.groups[i], now.buckets)) ? 0 : 1;
    }
    return changed;
}

// A leg's TAP follows its port; a tunnel's TUN follows the tunnel, so that Linux routes around it too.
std::vector<bool> carriers_of(const Snapshot& snapshot) {
    std::vector<bool> carriers;
    for (const Netdev& netdev : snapshot.netdevs) {
        carriers.push_back(netdev.is_tunnel ? snapshot.tunnels[netdev.index].up : snapshot.legs[netdev.index].up);
    }
    return carriers;
}

Error no_room_for_guard(const IpPrefix& prefix) {
    return {"encrypt " + prefix.text() + ": no room in the routing table, raise 'limits'"};
}

}  // namespace

bool equivalent(const Snapshot& a, const Snapshot& b) noexcept {
    return a.buckets == b.buckets && same(a.groups, b.groups) && same(a.egresses, b.egresses) &&
           same(a.tunnels, b.tunnels) && same(a.legs, b.legs) && a.inbound_sas == b.inbound_sas &&
           std::ranges::equal(a.pools, b.pools, {}, &NatPool::down, &NatPool::down);
}

Result<std::unique_ptr<const Snapshot>> Failover::first() {
    planner_.emplace(world_);
    PlanChanges changes = planner_->compile();
    std::unique_ptr<Snapshot> snapshot = assemble(plan(), world_, ++generation_);
    log_refusals(changes.refused);
    change_routes(std::move(changes.fib));
    for (const auto& room : {find_room_for_guards(), find_room_for_pools()}) {
        if (!room) {
            return std::unexpected(room.error());
        }
    }
    current_ = snapshot.get();
    carriers_.assign(snapshot->netdevs.size(), false);
    return snapshot;
}

Result<void> Failover::find_room_for_guards() const {
    for (const IpPrefix& prefix : encrypt_prefixes(world_.config)) {
        if (without_room_.contains(prefix)) {
            return std::unexpected(no_room_for_guard(prefix));
        }
    }
    return {};
}

Result<void> Failover::find_room_for_pools() const {
    for (const IpPrefix& prefix : without_room_) {
        const std::optional<RouteResult> wanted = planner_->plan().fib.find(prefix);
        if (wanted && wanted->kind() == RouteKind::pool) {
            return std::unexpected(Error{"pool " + prefix.text() + ": no room in the routing table, raise 'limits'"});
        }
    }
    return {};
}

// Entries of the prefixes that are to be guarded, which do as the packets there are done to already, but never in
// clear.
Result<void> Failover::make_room_for_guards(std::vector<IpPrefix>& made) {
    for (const IpPrefix& prefix : encrypt_prefixes(world_.config)) {
        if (plan().fib.contains(prefix) && !without_room_.contains(prefix)) {
            continue;
        }
        const auto around = longest_match(plan().fib, prefix);
        const RouteResult now = around ? around->second : RouteResult::dropped(Drop::no_route);
        if (now.kind() == RouteKind::local || now.kind() == RouteKind::pool) {
            continue;  // these need no guard
        }
        if (!tables_.insert(prefix, {now.kind(), now.index(), true})) {
            return std::unexpected(no_room_for_guard(prefix));
        }
        made.push_back(prefix);
    }
    return {};
}

Result<void> Failover::follow_configuration(bool routes) {
    std::vector<IpPrefix> made;
    if (auto room = make_room_for_guards(made); !room) {
        std::ranges::for_each(made, [this](const IpPrefix& prefix) { tables_.erase(prefix); });
        return room;
    }
    planner_->read_configuration();
    PlanChanges changes = routes ? planner_->compile() : planner_->refresh();
    // A pool's entry leads to no group, and a number that a snapshot has no pool for ends in a drop.
    const auto is_pool = [](const FibPlan::value_type& change) { return change.second.kind() == RouteKind::pool; };
    FibChanges pools;
    std::ranges::copy_if(changes.fib.insert, std::back_inserter(pools.insert), is_pool);
    std::erase_if(changes.fib.insert, is_pool);
    write_routes(std::move(pools));
    if (auto room = find_room_for_pools(); !room) {
        return room;  // nothing was published, and no session has begun there
    }
    must_publish_ = true;
    apply(std::move(changes));
    for (const IpPrefix& prefix : made) {
        if (!plan().fib.contains(prefix)) {
            tables_.erase(prefix);
        }
    }
    return {};
}

Result<void> Failover::take_back() {
    planner_->read_configuration();
    apply(planner_->compile());
    const auto guards = find_room_for_guards();
    return guards ? find_room_for_pools() : guards;
}

void Failover::announce() {
    const std::vector<bool> wanted = carriers_of(*current_);
    for (std::uint16_t netdev = 0; netdev < wanted.size(); ++netdev) {
        if (wanted[netdev] != carriers_[netdev]) {
            tables_.set_carrier(netdev, wanted[netdev]);
        }
    }
    carriers_ = wanted;
}

void Failover::recompile() { apply(planner_->compile()); }

void Failover::refresh() { apply(planner_->refresh()); }

void Failover::routes_changed(std::span<const IpPrefix> prefixes) { apply(planner_->update(prefixes)); }

void Failover::apply(PlanChanges changes) {
    if (changes.hops) {
        publish(assemble(plan(), world_, generation_ + 1));
    }
    change_routes(std::move(changes.fib));
    log_refusals(changes.refused);
}

bool Failover::port_changed(std::size_t port, bool up) {
    PortState& state = world_.ports[port];
    state.awaited = state.awaited && !up;
    if (state.up == up) {
        return false;
    }
    state.up = up;
    repair(Metric::failover_port, up ? spdlog::level::info : spdlog::level::warn,
           "port " + world_.config.ports[port].name + (up ? " is up" : " is down"));
    return true;
}

void Failover::await_ports_no_longer() {
    std::string names;
    for (std::size_t i = 0; i < world_.ports.size(); ++i) {
        if (std::exchange(world_.ports[i].awaited, false)) {
            names += " " + world_.config.ports[i].name;
        }
    }
    if (!names.empty()) {
        spdlog::warn("no link since the start:{}", names);
        publish(assemble(plan(), world_, generation_ + 1));
    }
}

bool Failover::drain(Link link, bool drained) {
    if (world_.drained[link_index(link)] == drained) {
        return false;
    }
    world_.drained[link_index(link)] = drained;
    repair(Metric::failover_drain, spdlog::level::info,
           to_string(link) + " link is " + (drained ? "drained" : "no longer drained"));
    return true;
}

bool Failover::neighbours_changed(const std::vector<NeighbourChange>& changes) {
    std::string names;
    for (const auto& [neighbour, failed] : changes) {
        if (!failed) {
            world_.failed.erase(neighbour);
        } else if (is_gateway(plan(), neighbour) && world_.failed.insert(neighbour).second) {
            names += " " + neighbour.second.text() + " dev " + world_.config.legs[neighbour.first].netdev;
        }
    }
    if (names.empty()) {
        return false;
    }
    return repair(Metric::failover_neighbour, spdlog::level::warn, "neighbour failed:" + names);
}

bool Failover::drain_tunnel(std::size_t tunnel, bool drained) {
    if (world_.drained_tunnels.contains(tunnel) == drained) {
        return false;
    }
    if (drained) {
        world_.drained_tunnels.insert(tunnel);
    } else {
        world_.drained_tunnels.erase(tunnel);
    }
    repair(Metric::failover_drain, spdlog::level::info,
           "tunnel " + world_.config.tunnels[tunnel].name + " is " + (drained ? "drained" : "no longer drained"));
    return true;
}

// Most often an SA took the place of another, and no bucket depends on that.
bool Failover::sas_changed(std::span<const std::size_t> tunnels) {
    const auto moved = [&](std::size_t i) {
        return plan().paths[i].remote != remote_of(world_.config.tunnels[i], world_.sas[i]);
    };
    if (std::ranges::any_of(tunnels, moved)) {  // the way to its new place may be another
        const std::uint64_t before = generation_;
        refresh();
        metrics_.add(Metric::failover_sas, generation_ - before);
        return generation_ != before;
    }
    auto next = with_sas(*current_, plan(), world_, tunnels, generation_ + 1);
    if (!next) {
        return repair(Metric::failover_sas, spdlog::level::debug, "security associations");
    }
    if (next->inbound_sas == current_->inbound_sas && same(next->tunnels, current_->tunnels)) {
        return false;
    }
    ++generation_;
    metrics_.add(Metric::failover_sas);
    const Snapshot* published = next.get();
    tables_.publish(std::move(next));
    synchronized_ = false;
    current_ = published;
    return true;
}

bool Failover::repair(Metric cause, spdlog::level::level_enum level, const std::string& what) {
    const auto began = std::chrono::steady_clock::now();
    const std::vector<std::uint16_t> buckets = current_->buckets;
    const std::vector<Group> groups = current_->groups;
    const std::uint64_t before = generation_;
    publish(assemble(plan(), world_, generation_ + 1));
    const auto took = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - began);
    if (generation_ == before) {
        return false;
    }
    const std::uint64_t repaired = changed_groups(groups, buckets, *current_);
    metrics_.add(cause);
    metrics_.add(Metric::failover_groups, repaired);
    metrics_.set(Metric::failover_repair_us, static_cast<std::uint64_t>(took.count()));
    spdlog::log(level, "{}: {} of {} groups repaired in {} us", what, repaired, plan().groups.groups().size(),
                took.count());
    return true;
}

// The publication comes first; carriers and the log may wait for it.
void Failover::publish(std::unique_ptr<Snapshot> next) {
    if (!std::exchange(must_publish_, false) && equivalent(*current_, *next)) {
        return;
    }
    ++generation_;
    std::vector<bool> was_up;
    was_up.reserve(current_->tunnels.size());
    for (const Tunnel& tunnel : current_->tunnels) {
        was_up.push_back(tunnel.up);
    }
    const Snapshot* published = next.get();
    tables_.publish(std::move(next));
    synchronized_ = false;
    current_ = published;
    announce();
    for (std::size_t i = 0; i < was_up.size(); ++i) {
        if (was_up[i] != published->tunnels[i].up) {
            const TunnelState state = tunnel_state(plan(), world_, i);
            const bool up = published->tunnels[i].up;
            spdlog::log(up ? spdlog::level::info : spdlog::level::warn, "tunnel {} is {}{}{}",
                        world_.config.tunnels[i].name, up ? "up" : "down", up ? "" : ": ", to_string(state));
        }
    }
}

// After the publication, and after every worker has it: a route may then name any of its groups. The old groups are in
// it until the next change, so routes that go may go late.
void Failover::change_routes(FibChanges changes) {
    std::size_t tries = kMostTriesForRoom;  // room comes when routes go
    for (auto it = without_room_.begin(); it != without_room_.end() && tries-- > 0;) {
        const std::optional<RouteResult> wanted = plan().fib.find(*it);
        if (wanted) {
            changes.insert.emplace_back(*it++, *wanted);
        } else {
            it = without_room_.erase(it);
        }
    }
    write_routes(std::move(changes));
}

// Encrypted prefixes come first: should the table be full, it is not their guards that find no room.
void Failover::write_routes(FibChanges changes) {
    if (changes.empty()) {
        return;
    }
    if (current_ != nullptr && !std::exchange(synchronized_, true)) {
        tables_.synchronize();
    }
    std::ranges::stable_partition(changes.insert, [](const auto& change) { return change.second.must_encrypt(); });
    std::size_t failed = 0;
    for (const auto& [prefix, result] : changes.insert) {
        if (const Result<void> done = tables_.insert(prefix, result); done) {
            without_room_.erase(prefix);
            continue;
        } else if (without_room_.insert(prefix).second && ++failed <= kMostLogged) {
            spdlog::error("route {}: {}", prefix.text(), done.error().what);
        }
        if (!result.must_encrypt()) {
            tables_.erase(prefix);  // the old result names a group that may go
        }
    }
    if (failed > kMostLogged) {
        spdlog::error("{} more routes found no room", failed - kMostLogged);
    }
    for (const IpPrefix& prefix : changes.erase) {
        tables_.erase(prefix);
        without_room_.erase(prefix);
    }
}

void Failover::log_refusals(const std::vector<RefusedRoute>& refused) const {
    for (std::size_t i = 0; i < std::min(refused.size(), kMostLogged); ++i) {
        spdlog::warn("route {} over {} refused: {}", refused[i].prefix.text(), refused[i].netdev, refused[i].why);
    }
    if (refused.size() > kMostLogged) {
        spdlog::warn("{} more routes refused", refused.size() - kMostLogged);
    }
}

}  // namespace twinspan
