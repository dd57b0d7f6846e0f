// How a running daemon follows a changed configuration file: all of it or nothing, with one publication.
#include "control/daemon.hpp"
#include "control/log.hpp"
#include "control/reload/pools.hpp"
#include "dataplane/state/nat_table.hpp"

#include <algorithm>
#include <utility>

namespace twinspan {
namespace {

Error error_of(const std::vector<ConfigError>& errors) {
    std::string text;
    for (const ConfigError& error : errors) {
        text += (text.empty() ? "" : "\n") + to_string(error);
        spdlog::error("not reloaded: {}", to_string(error));
    }
    return Error{text};
}

}  // namespace

Result<std::vector<std::string>> Daemon::reload(bool only_check) {
    const auto refuse = [&](Error why) {
        metrics_.add(Metric::config_reloads_refused);
        return std::unexpected(std::move(why));
    };
    auto wanted = load_config_file(config_file_);
    if (!wanted) {
        return refuse(error_of(wanted.error()));
    }
    if (const auto sa_files = load_sa_files(wanted->config);
        !sa_files) {  // as at the start, but their keys stay as they are
        return refuse(error_of(sa_files.error()));
    }
    note_blocks(had_blocks_, world_.config.pools);
    auto plan = plan_reload(world_.config, config_text_, *wanted, dataplane_->nat().capacity(), had_blocks_);
    if (!plan) {
        return refuse(error_of(plan.error()));
    }
    std::vector<std::string> changes = plan->changes;
    if (only_check) {
        return changes;
    }
    if (const auto done = follow_configuration(std::move(*plan)); !done) {
        spdlog::error("not reloaded: {}", done.error().what);
        return refuse(done.error());
    }
    config_text_ = std::move(wanted->text);
    metrics_.add(Metric::config_reloads);
    spdlog::info("{} read again: {} changes", config_file_, changes.size());
    for (const std::string& change : changes) {
        spdlog::info("changed {}", change);
    }
    return changes;
}

Result<void> Daemon::follow_configuration(ReloadPlan plan) {
    if (plan.changes.empty()) {
        return {};
    }
    Config before = std::exchange(world_.config, std::move(plan.config));
    if (auto done = failover_->follow_configuration(plan.routes); !done) {
        world_.config = std::move(before);
        if (const auto back = failover_->take_back(); !back) {
            spdlog::error("the former configuration: {}", back.error().what);
        }
        return done;
    }
    if (const auto steered = steer(); !steered) {
        spdlog::error("{}", steered.error().what);
    }
    nat_status_->follow(world_.config.pools);
    if (plan.log) {
        nat_log_->follow(*world_.config.nat_log);
    }
    for (const PoolConfig& pool : world_.config.pools) {
        if (!pool.draining.empty()) {
            spdlog::info("pool {}: {} drains", name_of(pool), to_string(pool.draining));
        }
    }
    dataplane_->synchronize();  // from here on no session begins on what drains
    nat_drain_.watch(world_.config.pools);
    resolve_neighbours();
    return {};
}

void Daemon::tick_drain() {
    const auto drained = nat_drain_.tick(dataplane_->nat(), std::chrono::steady_clock::now());
    if (drained.empty()) {
        return;
    }
    for (const NatDrain::Drained& done : drained) {
        PoolConfig& pool = world_.config.pools[done.pool];
        give_up(pool, done.addresses);
        spdlog::info("pool {}: {} has drained and is given up", name_of(pool), to_string(done.addresses));
    }
    if (const auto done = failover_->follow_configuration(false); !done) {
        spdlog::error("{}", done.error().what);
    }
    if (const auto steered = steer(); !steered) {
        spdlog::error("{}", steered.error().what);
    }
    nat_drain_.watch(world_.config.pools);
}

}  // namespace twinspan
