// NAT, drops, metrics, workers and the accounting that must add up.
#include "control/rpc/status.hpp"
#include "dataplane/base/drop.hpp"
#include "dataplane/packet/batch.hpp"
#include "dataplane/state/nat_table.hpp"

#include <algorithm>

namespace twinspan {
namespace {

using nlohmann::json;

constexpr std::size_t kSessionsShown = 1000;

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

std::string end_text(be32 address, be16 port) {
    return IpAddress::from(address).text() + ":" + std::to_string(port.host());
}

std::string protocol_text(std::uint8_t protocol) {
    return protocol == +IpProtocol::tcp ? "tcp" : protocol == +IpProtocol::udp ? "udp" : "icmp";
}

std::string session_state(const NatSessionView& session) {
    if (session.protocol() != +IpProtocol::tcp) {
        return "";
    }
    return nat_tcp::closing(session.tcp) ? "closing" : nat_tcp::opened(session.tcp) ? "established" : "opening";
}

// Sessions are stamped by the workers' coarse clock; the one seen last tells what time that clock has, at least.
json sessions_json(const NatTable& nat) {
    std::vector<NatSessionView> views;  // a heap of those used last, the stalest first
    nat.for_each(nat.capacity(), [&](const NatSessionView& view) {
        if (views.size() == kSessionsShown) {
            if (view.last_seen <= views.front().last_seen) {
                return;
            }
            std::ranges::pop_heap(views, std::greater{}, &NatSessionView::last_seen);
            views.pop_back();
        }
        views.push_back(view);
        std::ranges::push_heap(views, std::greater{}, &NatSessionView::last_seen);
    });
    std::ranges::sort_heap(views, std::greater{}, &NatSessionView::last_seen);
    const std::uint32_t now = views.empty() ? 0 : views.front().last_seen;
    json result = json::array();
    for (const NatSessionView& view : views) {
        result.push_back({{"protocol", protocol_text(view.protocol())},
                          {"inside", end_text(view.inside.address(), view.inside.port())},
                          {"outside", end_text(view.outside.address(), view.outside.port())},
                          {"remote", end_text(view.inside.remote(), view.inside.remote_port())},
                          {"state", session_state(view)},
                          {"idle_s", now - view.last_seen}});
    }
    return result;
}

json pool_json(const PoolConfig& pool, const NatUsage& usage) {
    json addresses = json::array();
    for (const Ipv4Range range : pool.ranges) {
        addresses.push_back(IpAddress::from(range.first).text() + "-" + IpAddress::from(range.last).text());
    }
    const auto in_use = [&](NatProtocol p) { return usage.in_use[static_cast<std::size_t>(p)]; };
    return {
        {"peering", to_string(pool.zone)},
        {"addresses", std::move(addresses)},
        {"ports", std::to_string(pool.first_port) + "-" + std::to_string(pool.last_port)},
        {"sessions", usage.sessions},
        {"created", usage.opened},
        {"expired", usage.expired},
        {"ports_exhausted", usage.ports_exhausted},
        {"sessions_exhausted", usage.sessions_exhausted},
        {"by_protocol",
         {{"tcp", in_use(NatProtocol::tcp)}, {"udp", in_use(NatProtocol::udp)}, {"icmp", in_use(NatProtocol::icmp)}}}};
}

}  // namespace

json show_nat(const StatusSources& s) {
    json pools = json::array();
    const std::vector<PoolConfig>& configured = s.failover->world().config.pools;
    for (std::size_t i = 0; i < configured.size(); ++i) {
        pools.push_back(
            pool_json(configured[i], s.nat != nullptr ? s.nat->usage(static_cast<std::uint16_t>(i)) : NatUsage{}));
    }
    return {{"pools", std::move(pools)},
            {"sessions", s.nat != nullptr ? sessions_json(*s.nat) : json::array()},
            {"capacity", s.nat != nullptr ? s.nat->capacity() : 0u},
            {"memory_bytes", s.nat != nullptr ? s.nat->memory_bytes() : std::size_t{0}}};
}

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
