#include "control/reload/plan.hpp"

#include "control/reload/pools.hpp"

#include <algorithm>
#include <iterator>

namespace twinspan {

namespace {

std::string line_of(const ConfigChange& change, const KeyFinder& before, const KeyFinder& now) {
    const std::string was = before.brief(change.key), is = now.brief(change.key);
    const std::string note = change.effect == Effect::nothing ? " (nothing in the daemon; 'render' writes it)" : "";
    return to_string(change.key) + ": " + (was == is ? "changed" : was + " -> " + is) + note;
}

std::string restart_text(const ConfigChange& change, const KeyFinder& before, const KeyFinder& now) {
    if (change.key.empty()) {
        return "found a change that takes a restart";
    }
    return "found " + to_string(change.key) + " " + now.brief(change.key) + ", expected " + before.brief(change.key) +
           " as it runs: a change takes a restart";
}

// What only follows from another key, as a leg's MTU from its port's, is left out unless it is all there is.
std::vector<ConfigChange> as_written(const std::vector<ConfigChange>& changes, const KeyFinder& before,
                                     const KeyFinder& now) {
    std::vector<ConfigChange> written;
    std::ranges::copy_if(changes, std::back_inserter(written),
                         [&](const ConfigChange& change) { return before.text(change.key) != now.text(change.key); });
    return written.empty() ? changes : written;
}

}  // namespace

std::expected<ReloadPlan, std::vector<ConfigError>> plan_reload(const Config& running, const std::string& before,
                                                                const ConfigFile& wanted, std::uint32_t room,
                                                                const std::vector<PoolConfig>& had_blocks) {
    Config next = wanted.config;
    adopt_running_addresses(next, running);
    std::vector<ConfigChange> changes = compare(running, next);
    std::ranges::move(compare_pools(running.pools, next.pools), std::back_inserter(changes));

    const KeyFinder old_text{before};
    const KeyFinder new_text{wanted.text};
    Diagnostics refused{wanted.name};
    std::vector<ConfigChange> restarts;
    std::ranges::copy_if(changes, std::back_inserter(restarts),
                         [](const ConfigChange& change) { return change.effect == Effect::restart; });
    for (const ConfigChange& change : as_written(restarts, old_text, new_text)) {
        refused.add(new_text.position(change.key), restart_text(change, old_text, new_text));
    }
    for (const PoolRefusal& refusal : refuse_pools(running.pools, next.pools, room, had_blocks)) {
        refused.add(new_text.position(refusal.key), refusal.why);
    }
    if (refused.count() != 0) {
        return std::unexpected(refused.take());
    }

    ReloadPlan plan;
    plan.config = follow(running, next);
    plan.config.pools = follow_pools(running.pools, next.pools);
    for (const ConfigChange& change : as_written(changes, old_text, new_text)) {
        plan.changes.push_back(line_of(change, old_text, new_text));
    }
    for (const ConfigChange& change : changes) {
        plan.routes = plan.routes || change.effect == Effect::routes;
        plan.log = plan.log || change.effect == Effect::log;
    }
    return plan;
}

}  // namespace twinspan
