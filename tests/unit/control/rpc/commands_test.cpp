#include "control/rpc/commands.hpp"

#include "dataplane/base/drop.hpp"
#include "dataplane/packet/batch.hpp"
#include "tests/unit/control/model/test_world.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>

namespace twinspan::test {
namespace {

using nlohmann::json;

class Discard : public Tables {
public:
    void publish(std::unique_ptr<const Snapshot> next) override { current = std::move(next); }
    void synchronize() override {}
    Result<void> insert(const IpPrefix&, RouteResult) override { return {}; }
    void erase(const IpPrefix&) override {}
    void set_carrier(std::uint16_t, bool) override {}
    std::unique_ptr<const Snapshot> current;
};

class Commands : public testing::Test, public TestWorld {
protected:
    Commands() {
        world.sas.assign(2, {});  // the storage behind the test's SAs is not to be read
        both_msees();
        split_over_microsoft("13.107.6.0/24");
        tables.current = failover.first().value();
        sources.failover = &failover;
        sources.counters = {&worker, &punt};
        sources.metrics = &metrics;
    }
    json show(const std::string& what) {
        const json reply = run_command({{"command", "show"}, {"what", what}}, sources, failover);
        EXPECT_EQ(reply["ok"], true) << reply;
        return reply["data"];
    }
    static json row(const json& rows, const char* key, const std::string& value) {
        const auto it = std::ranges::find_if(rows, [&](const json& r) { return r[key] == value; });
        return it == rows.end() ? json{} : *it;
    }
    Discard tables;
    Metrics failover_metrics;
    Failover failover{world, tables, failover_metrics};
    WorkerCounters worker, punt;
    Metrics metrics;
    StatusSources sources;
};

TEST_F(Commands, show_metrics_lists_every_metric_with_its_value) {
    metrics.add(Metric::mirror_overruns, 3);
    const json rows = show("metrics");
    EXPECT_EQ(rows.size(), kMetricCount);
    EXPECT_EQ(row(rows, "name", "twinspan_mirror_overruns_total")["value"], 3);
    EXPECT_EQ(row(rows, "name", "twinspan_mirror_lag_us")["kind"], "gauge");
}

TEST_F(Commands, ping_names_the_daemon) {
    world.config.name = "nva";
    const json reply = run_command({{"command", "ping"}}, sources, failover);
    EXPECT_EQ(reply["data"]["name"], "nva");
    EXPECT_EQ(reply["data"]["version"], TWINSPAN_VERSION);
    EXPECT_TRUE(reply["data"]["uptime_s"].is_number());
}

TEST_F(Commands, unknown_words_are_answered_with_the_known_ones) {
    const json command = run_command({{"command", "reboot"}}, sources, failover);
    EXPECT_EQ(command["ok"], false);
    EXPECT_EQ(command["error"], "unknown command 'reboot', expected one of ping, show, drain, undrain, reload");
    const json what = run_command({{"command", "show"}, {"what", "sessions"}}, sources, failover);
    EXPECT_EQ(
        what["error"],
        "cannot show 'sessions', expected one of ports, legs, tunnels, sas, groups, routes, neighbours, nat, drops, "
        "metrics, workers, accounting");
    EXPECT_EQ(run_command({{"command", 7}}, sources, failover)["ok"], false);
    EXPECT_EQ(run_command({{"command", "drain"}, {"link", "west"}}, sources, failover)["error"],
              "found link 'west', expected primary, secondary or the name of a tunnel");
}

TEST_F(Commands, reload_passes_on_what_changed_or_why_nothing_did) {
    std::vector<bool> asked;
    Result<std::vector<std::string>> answer{{"bgp: a -> b"}};
    const Reload reload = [&](bool only_check) {
        asked.push_back(only_check);
        return answer;
    };
    EXPECT_EQ(run_command({{"command", "reload"}}, sources, failover, reload),
              (json{{"ok", true}, {"data", {{"changes", {"bgp: a -> b"}}, {"check", false}}}}));
    EXPECT_EQ(run_command({{"command", "reload"}, {"check", true}}, sources, failover, reload)["data"]["check"], true);
    EXPECT_EQ(run_command({{"command", "reload"}, {"check", "yes"}}, sources, failover, reload)["ok"], true);
    EXPECT_EQ(asked, (std::vector<bool>{false, true, false}));
    answer = std::unexpected(Error{"f:1:2: found x"});
    EXPECT_EQ(run_command({{"command", "reload"}}, sources, failover, reload),
              (json{{"ok", false}, {"error", "f:1:2: found x"}}));
}

TEST_F(Commands, show_nat_tells_what_drains) {
    PoolConfig& pool = world.config.pools[0];
    EXPECT_TRUE(show("nat")["pools"][0]["draining"].is_null());
    pool.draining = {{ip("198.51.100.20").v4(), ip("198.51.100.21").v4()}};
    EXPECT_EQ(show("nat")["pools"][0]["state"], "active");
    EXPECT_EQ(show("nat")["pools"][0]["draining"],
              (json{{"addresses", {"198.51.100.20-198.51.100.21"}}, {"sessions", nullptr}}));
    pool.ranges.clear();
    EXPECT_EQ(show("nat")["pools"][0]["state"], "draining");
    pool.draining.clear();
    EXPECT_TRUE(show("nat")["pools"].empty()) << "it has gone, but for its number";
}

TEST_F(Commands, drain_moves_the_buckets_before_it_answers) {
    const json reply = run_command({{"command", "drain"}, {"link", "primary"}}, sources, failover);
    EXPECT_EQ(reply, (json{{"ok", true}, {"data", {{"link", "primary"}, {"state", "drained"}}}}));
    const json groups = show("groups");
    const auto buckets_of = [&](const char* egress) {
        for (const json& group : groups) {
            if (group["members"].size() == 2) {
                return row(group["members"], "egress", egress);
            }
        }
        return json{};
    };
    EXPECT_EQ(buckets_of("203.0.113.2 dev msft-pri")["buckets"], 0);
    EXPECT_EQ(buckets_of("203.0.113.2 dev msft-pri")["state"], "drained");
    EXPECT_EQ(buckets_of("203.0.113.6 dev msft-sec")["buckets"], 256);
    EXPECT_EQ(row(show("legs"), "name", "msft-pri")["state"], "drained");
    EXPECT_EQ(run_command({{"command", "undrain"}, {"link", "primary"}}, sources, failover)["data"]["state"], "up");
}

TEST_F(Commands, legs_ports_tunnels_and_neighbours_say_what_they_are) {
    const json leg = row(show("legs"), "name", "msft-sec");
    EXPECT_EQ(leg["peering"], "microsoft");
    EXPECT_EQ(leg["link"], "secondary");
    EXPECT_EQ(leg["vlan"], "300");
    EXPECT_EQ(leg["addresses"], json::array({"203.0.113.5/30"}));
    EXPECT_EQ(leg["state"], "up");
    EXPECT_TRUE(row(show("legs"), "name", "lan")["link"].is_null());
    const json port = row(show("ports"), "name", "primary");
    EXPECT_EQ(port["mac"], "02:00:00:00:00:11");
    EXPECT_TRUE(port["netdev"].is_null());
    const json tunnel = row(show("tunnels"), "name", "azure-0");
    EXPECT_EQ(tunnel["state"], "down");
    EXPECT_EQ(tunnel["reason"], "no security associations");
    EXPECT_TRUE(tunnel["spi_out"].is_null());
    const json neighbour = row(show("neighbours"), "address", "203.0.113.2");
    EXPECT_EQ(neighbour["netdev"], "msft-pri");
    EXPECT_EQ(neighbour["mac"], "02:00:00:00:00:a1");
}

TEST_F(Commands, routes_show_kind_way_guard_and_refusals) {
    route("10.0.0.0/8", {{"msft-pri", "203.0.113.2"}});
    failover.recompile();
    const json shown = show("routes");
    EXPECT_EQ(row(shown, "prefix", "13.107.6.0/24")["via"],
              json::array({"203.0.113.2 dev msft-pri", "203.0.113.6 dev msft-sec"}));
    EXPECT_EQ(row(shown, "prefix", "10.20.0.0/16")["kind"], "drop");
    EXPECT_EQ(row(shown, "prefix", "10.20.0.0/16")["encrypt"], true);
    EXPECT_EQ(row(shown, "prefix", "10.10.0.1/32")["kind"], "local");
    EXPECT_EQ(row(shown, "prefix", "198.51.100.0/28")["kind"], "pool");
    EXPECT_TRUE(row(shown, "prefix", "10.0.0.0/8")["note"].get<std::string>().starts_with(
        "not used: private_or_default_route"));
}

TEST_F(Commands, accounting_and_drops_add_up) {
    worker.rx.add(8);
    worker.taken.add(2);
    worker.tx.add(6);
    worker.handed.add(1);
    worker.punted.add(1);
    worker[Drop::no_route].add(2);
    punt.injected.add(1);
    const json accounting = show("accounting");
    EXPECT_EQ(accounting["rx"], 8);
    EXPECT_EQ(accounting["taken"], 2);
    EXPECT_EQ(accounting["drops"], 2);
    EXPECT_EQ(accounting["exact"], false) << "the punt thread still holds one";
    EXPECT_EQ(accounting["threads"][0]["exact"], true);
    EXPECT_EQ(accounting["threads"][1]["name"], "punt");
    punt.punted.add(1);
    EXPECT_EQ(show("accounting")["exact"], true);
    EXPECT_EQ(row(show("drops"), "reason", "no_route")["count"], 2);
    EXPECT_EQ(show("drops").size(), kDropCount);
    EXPECT_EQ(show("workers").size(), 1u);
    EXPECT_EQ(show("workers")[0]["handed"], 1);
    worker.helped.add(3);
    EXPECT_EQ(show("workers")[0]["helped"], 3);
    EXPECT_EQ(show("nat")["pools"][0]["addresses"], json::array({"198.51.100.0-198.51.100.15"}));
}

}  // namespace
}  // namespace twinspan::test
