// Drops, metrics, workers and the accounting that must add up.
#include "control/rpc/status.hpp"
#include "dataplane/base/drop.hpp"
#include "dataplane/packet/batch.hpp"

#include <algorithm>

namespace twinspan {
namespace {

using nlohmann::json;

struct Account {
    std::uint64_t rx = 0, injected = 0, generated = 0, fragmented = 0, taken = 0;
    std::uint64_t tx = 0, punted = 0, merged = 0, handed = 0, held = 0, drops = 0;

    void add(const WorkerCounters& w) {
        rx += w.rx.read();
        injected += w.injected.read();
        generated += w.generated.read();
        fragmented += w.fragmented.read();
        taken += w.taken.read();
        tx += w.tx.read();
        punted += w.punted.read();
        merged += w.merged.read();
        handed += w.handed.read();
        held += w.held.read();
        for (const DropInfo& drop : kDropInfo) {
            drops += w[drop.id].read();
        }
    }
    json to_json() const {
        return {{"rx", rx},
                {"injected", injected},
                {"generated", generated},
                {"fragmented", fragmented},
                {"taken", taken},
                {"tx", tx},
                {"punted", punted},
                {"merged", merged},
                {"handed", handed},
                {"held", static_cast<std::int64_t>(held)},
                {"drops", drops}};
    }
    bool exact() const {
        return rx + injected + generated + fragmented + taken == tx + punted + merged + handed + held + drops;
    }
};

}  // namespace

json show_drops(const StatusSources& s) {
    json result = json::array();
    for (const DropInfo& drop : kDropInfo) {
        std::uint64_t count = 0;
        for (const WorkerCounters* worker : s.counters) {
            count += (*worker)[drop.id].read();
        }
        result.push_back({{"reason", drop.name}, {"count", count}, {"help", drop.help}});
    }
    return result;
}

json show_metrics(const StatusSources& s) {
    json metrics = json::array();
    for (const MetricInfo& info : kMetricInfo) {
        metrics.push_back({{"name", "twinspan_" + std::string{info.name}},
                           {"kind", info.kind == MetricKind::counter ? "counter" : "gauge"},
                           {"value", (*s.metrics)[info.id]},
                           {"help", info.help}});
    }
    add_nat_metrics(s, metrics);
    return metrics;
}

json show_workers(const StatusSources& s) {
    json result = json::array();
    const std::vector<unsigned>& cpus = s.failover->world().config.workers.cpus;
    for (std::size_t i = 0; i + 1 < s.counters.size(); ++i) {
        Account account;
        account.add(*s.counters[i]);
        json row = account.to_json();
        row["id"] = i;
        row["cpu"] = i < cpus.size() ? json(cpus[i]) : json{};
        row["loops"] = s.counters[i]->loops.read();
        row["busy_loops"] = s.counters[i]->busy_loops.read();
        row["helped"] = s.counters[i]->helped.read();
        result.push_back(std::move(row));
    }
    return result;
}

json show_accounting(const StatusSources& s) {
    Account total;
    bool exact = true;
    json threads = json::array();
    for (std::size_t i = 0; i < s.counters.size(); ++i) {
        const bool is_punt = i + 1 == s.counters.size();
        Account account;
        account.add(*s.counters[i]);
        if (!is_punt) {
            total.add(*s.counters[i]);
        }
        json row = account.to_json();
        row["name"] = is_punt ? "punt" : "worker " + std::to_string(i);
        row["exact"] = account.exact();
        exact = exact && account.exact();
        threads.push_back(std::move(row));
    }
    json result = total.to_json();
    result["exact"] = exact;
    result["threads"] = std::move(threads);
    return result;
}

}  // namespace twinspan
