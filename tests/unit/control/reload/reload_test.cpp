// What a running daemon does about each key of a changed configuration file.
#include "control/config/schema.hpp"
#include "control/reload/plan.hpp"
#include "control/reload/pools.hpp"
#include "tests/unit/control/config/refusal.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace twinspan {
namespace {

constexpr std::uint32_t kRoom = 262144 + 65536;  // of every-key.yaml

using Edits = std::vector<std::pair<std::string, std::string>>;

ConfigFile file_of(const std::string& text) {
    auto config = parse_config(text, "f");
    EXPECT_TRUE(config) << errors_of(text);
    return {"f", text, config ? *config : Config{}};
}

std::string edited(std::string text, const Edits& edits) {
    for (const auto& [from, to] : edits) {
        const std::size_t at = text.find(from);
        EXPECT_NE(at, std::string::npos) << from;
        text = at == std::string::npos ? text : text.replace(at, from.size(), to);
    }
    return text;
}

auto reloaded(const std::string& before, const std::string& after) {
    const Config running = file_of(before).config;
    std::vector<PoolConfig> had_blocks;
    note_blocks(had_blocks, running.pools);
    return plan_reload(running, before, file_of(after), kRoom, had_blocks);
}

std::string lines(const std::vector<std::string>& all) {
    std::string text;
    for (const std::string& line : all) {
        text += line + '\n';
    }
    return text;
}

std::string lines(const std::vector<ConfigError>& all) {
    std::string text;
    for (const ConfigError& error : all) {
        text += to_string(error) + '\n';
    }
    return text;
}

struct Row {
    const char* section;  // of schema::kSections
    const char* key;
    bool follows;
    Edits edits;
    const char* named;  // the key as it is named
};

const std::vector<Row>& rows() {
    static const std::vector<Row> all = {
        {"Top level", "name", false, {{"name: every-key", "name: other"}}, "name"},
        {"Top level", "state-dir", false, {{"/srv/twinspan", "/srv/other"}}, "state-dir"},
        {"Top level", "encrypt", true, {{"encrypt: [", "encrypt: [10.21.0.0/16, "}}, "encrypt"},
        {"dpdk", "hugepages", false, {{"hugepages: false", "hugepages: true"}}, "dpdk.hugepages"},
        {"dpdk", "memory", false, {{"2GiB", "3GiB"}}, "dpdk.memory"},
        {"dpdk", "buffers", false, {{"buffers: 65536", "buffers: 32768"}}, "dpdk.buffers"},
        {"dpdk", "args", false, {{"--no-telemetry", "--no-pci"}}, "dpdk.args"},
        {"workers", "count", false, {{"count: 2", "count: 3"}, {"[2, 3]", "[2, 3, 4]"}}, "workers.count"},
        {"workers", "idle", false, {{"idle: poll", "idle: sleep"}}, "workers.idle"},
        {"workers", "cpus", false, {{"[2, 3]", "[2, 4]"}}, "workers.cpus"},
        {"limits", "punt", false, {{"20kpps", "30kpps"}}, "limits.punt"},
        {"limits", "icmp-errors", false, {{"500pps", "501pps"}}, "limits.icmp-errors"},
        {"limits", "routes-ipv4", false, {{"200000", "200001"}}, "limits.routes-ipv4"},
        {"limits", "routes-ipv6", false, {{"routes-ipv6: 65536", "routes-ipv6: 65537"}}, "limits.routes-ipv6"},
        {"ports.NAME", "device", false, {{"0000:17:00.1", "0000:17:00.2"}}, "ports.wan.device"},
        {"ports.NAME", "shared", false, {{"shared: eth0", "shared: eth1"}}, "ports.management.shared"},
        {"ports.NAME", "mtu", false, {{"mtu: 9000", "mtu: 8000"}}, "ports.lan.mtu"},
        {"circuit", "name", true, {{"er-1", "er-2"}}, "circuit.name"},
        {"circuit", "bandwidth", true, {{"500Mbps", "1Gbps"}}, "circuit.bandwidth"},
        {"circuit",
         "sku",
         true,
         {{"premium", "standard"}, {"max-prefixes: 5000", "max-prefixes: 4000"}},
         "circuit.sku"},
        {"circuit",
         "primary",
         false,
         {{"primary: primary, secondary: secondary", "primary: secondary, secondary: primary"}},
         "circuit.primary"},
        {"circuit",
         "secondary",
         false,
         {{"primary: primary, secondary: secondary", "primary: secondary, secondary: primary"}},
         "circuit.secondary"},
        {"bgp", "asn", true, {{"asn: 65010", "asn: 65011"}}, "bgp"},
        {"bgp", "announce", true, {{"announce: [10.10.0.0/16", "announce: [10.9.0.0/16"}}, "bgp"},
        {"peerings.PEERING", "accept", true, {{"accept: [", "accept: [13.107.6.0/24, "}}, "peerings.microsoft.accept"},
        {"peerings.PEERING", "fallback", true, {{"    fallback: [inet-0]\n", ""}}, "peerings.private.fallback"},
        {"peerings.PEERING.bgp", "hold", true, {{"hold: 15s", "hold: 16s"}}, "peerings.private.bgp"},
        {"peerings.PEERING.legs[]",
         "link",
         false,
         {{"link: secondary, vlan: 200", "link: primary, vlan: 200"}, {"192.0.2.5/30", "192.0.2.5/30"}},
         "peerings.public.legs[0].link"},
        {"peerings.PEERING.legs[]",
         "port",
         false,
         {{"port: lan, vlan: 7", "port: wan, vlan: 7"}},
         "peerings.lan.legs[1].port"},
        {"peerings.PEERING.legs[]", "vlan", false, {{"vlan: 7", "vlan: 8"}}, "peerings.lan.legs[1].vlan"},
        {"peerings.PEERING.legs[]",
         "addresses",
         false,
         {{"10.11.0.1/24", "10.11.0.2/24"}},
         "peerings.lan.legs[1].addresses"},
        {"peerings.PEERING.legs[]", "netdev", false, {{"guests", "visitors"}}, "peerings.lan.legs[1].netdev"},
        {"peerings.PEERING.legs[]", "mtu", false, {{"mtu: 1400", "mtu: 1300"}}, "peerings.lan.legs[1].mtu"},
        {"peerings.PEERING.legs[].bgp", "peer-asn", true, {{"65020", "65021"}}, "peerings.private.legs[0].bgp"},
        {"peerings.PEERING.legs[].vlan", "outer", false, {{"outer: 10", "outer: 11"}}, "peerings.private.legs[0].vlan"},
        {"peerings.PEERING.legs[].vlan",
         "inner",
         false,
         {{"inner: 100", "inner: 101"}},
         "peerings.private.legs[0].vlan"},
        {"peerings.PEERING.legs[].vlan", "ethertype", false, {{"0x88a8", "0x8100"}}, "peerings.private.legs[0].vlan"},
        {"peerings.PEERING.nat", "pool", true, {{"198.51.100.7]", "198.51.100.6]"}}, "peerings.microsoft.nat.pool"},
        {"peerings.PEERING.nat", "ports", true, {{"2048-60000", "2048-60500"}}, "peerings.microsoft.nat.ports"},
        {"peerings.PEERING.nat",
         "inbound-refresh",
         true,
         {{"inbound-refresh: false", "inbound-refresh: true"}},
         "peerings.microsoft.nat.inbound-refresh"},
        {"peerings.PEERING.nat",
         "protocols",
         true,
         {{"protocols: any", "protocols: tcp-udp-icmp"}},
         "peerings.microsoft.nat.protocols"},
        {"peerings.PEERING.nat", "static", true, {{"10.66.0.20", "10.66.0.22"}}, "peerings.microsoft.nat.static"},
        {"peerings.PEERING.nat",
         "from-microsoft",
         true,
         {{"10.66.255.0/28", "10.66.255.0/27"}},
         "peerings.microsoft.nat.from-microsoft"},
        {"peerings.PEERING.nat", "reserved", true, {{"5060-5061", "5070-5071"}}, "peerings.microsoft.nat.reserved"},
        {"peerings.PEERING.nat",
         "mode",
         true,
         {{"endpoint-independent", "endpoint-dependent"}},
         "peerings.microsoft.nat.mode"},
        {"peerings.PEERING.nat",
         "host-limit",
         true,
         {{"host-limit: 4000", "host-limit: 4001"}},
         "peerings.microsoft.nat.host-limit"},
        {"peerings.PEERING.nat",
         "host-rate",
         true,
         {{"host-rate: 500", "host-rate: 501"}},
         "peerings.microsoft.nat.host-rate"},
        {"peerings.PEERING.nat",
         "sessions",
         true,
         {{"sessions: 262144", "sessions: 131072"}},
         "peerings.microsoft.nat.sessions"},
        {"peerings.PEERING.nat",
         "high-water",
         true,
         {{"high-water: 90%", "high-water: 91%"}},
         "peerings.microsoft.nat.high-water"},
        {"peerings.PEERING.nat",
         "low-water",
         true,
         {{"low-water: 50%", "low-water: 51%"}},
         "peerings.microsoft.nat.low-water"},
        {"peerings.PEERING.nat.port-blocks", "size", false, {{"size: 512", "size: 1024"}}, "blocks of 1024 ports"},
        {"peerings.PEERING.nat.port-blocks",
         "per-host",
         true,
         {{"per-host: 4", "per-host: 5"}},
         "peerings.microsoft.nat.port-blocks.per-host"},
        {"peerings.PEERING.nat.timeouts",
         "udp",
         true,
         {{"udp: 120s", "udp: 121s"}},
         "peerings.microsoft.nat.timeouts.udp"},
        {"peerings.PEERING.nat.timeouts",
         "tcp-established",
         true,
         {{"3h", "4h"}},
         "peerings.microsoft.nat.timeouts.tcp-established"},
        {"peerings.PEERING.nat.timeouts",
         "tcp-transitory",
         true,
         {{"tcp-transitory: 5m", "tcp-transitory: 6m"}},
         "peerings.microsoft.nat.timeouts.tcp-transitory"},
        {"peerings.PEERING.nat.timeouts",
         "tcp-closing",
         true,
         {{"tcp-closing: 6m", "tcp-closing: 7m"}},
         "peerings.microsoft.nat.timeouts.tcp-closing"},
        {"peerings.PEERING.nat.timeouts",
         "icmp",
         true,
         {{"icmp: 30s", "icmp: 31s"}},
         "peerings.microsoft.nat.timeouts.icmp"},
        {"peerings.PEERING.nat.timeouts",
         "other",
         true,
         {{"other: 10m", "other: 11m"}},
         "peerings.microsoft.nat.timeouts.other"},
        {"nat-log", "collector", true, {{"]:2055", "]:2056"}}, "nat-log.collector"},
        {"nat-log",
         "transport",
         true,
         {{"transport: udp", "transport: tcp"}, {"  template-refresh: 5m\n  template-messages: 20\n", ""}},
         "nat-log.transport"},
        {"nat-log", "sessions", false, {{"sessions: true", "sessions: false"}}, "nat-log.sessions"},
        {"nat-log", "mappings", false, {{"mappings: true", "mappings: false"}}, "nat-log.mappings"},
        {"nat-log", "rate", true, {{"rate: 1000\n", "rate: 1001\n"}}, "nat-log.rate"},
        {"nat-log", "domain", true, {{"domain: 7", "domain: 8"}}, "nat-log.domain"},
        {"nat-log",
         "template-refresh",
         true,
         {{"template-refresh: 5m", "template-refresh: 4m"}},
         "nat-log.template-refresh"},
        {"nat-log",
         "template-messages",
         true,
         {{"template-messages: 20", "template-messages: 21"}},
         "nat-log.template-messages"},
        {"tunnels.NAME", "if-id", false, {{"if-id: 7", "if-id: 17"}}, "tunnels.azure-0.if-id"},
        {"tunnels.NAME",
         "local",
         false,
         {{"local: 192.0.2.129\n    remote: 20.51.0.6", "local: 203.0.113.1\n    remote: 20.51.0.6"}},
         "tunnels.inet-1.local"},
        {"tunnels.NAME", "remote", false, {{"20.51.0.6", "20.51.0.7"}}, "tunnels.inet-1.remote"},
        {"tunnels.NAME", "mtu", false, {{"mtu: 1450", "mtu: 1440"}}, "tunnels.azure-0.mtu"},
        {"tunnels.NAME",
         "sa-file",
         false,
         {{"/etc/twinspan/azure-0", "/etc/twinspan/azure-1"}},
         "tunnels.azure-0.sa-file"},
        {"tunnels.NAME", "netdev", false, {{"netdev: false", "netdev: true"}}, "tunnels.azure-0.netdev"},
        {"tunnels.NAME",
         "address",
         false,
         {{"169.254.21.1/30", "169.254.21.5/30"}, {"peer: 169.254.21.2", "peer: 169.254.21.6"}},
         "tunnels.inet-0.address"},
        {"tunnels.NAME", "dscp", true, {{"dscp: microsoft", "dscp: copy"}}, "tunnels.azure-0.dscp"},
        {"tunnels.NAME", "ecn", true, {{"ecn: clear", "ecn: copy"}}, "tunnels.azure-0.ecn"},
        {"tunnels.NAME", "df", true, {{"df: copy", "df: set"}}, "tunnels.azure-0.df"},
        {"tunnels.NAME", "ttl", true, {{"ttl: copy", "ttl: 64"}}, "tunnels.azure-0.ttl"},
        {"tunnels.NAME",
         "flow-label",
         true,
         {{"flow-label: zero", "flow-label: hash"}},
         "tunnels.private-6.flow-label"},
        {"tunnels.NAME",
         "peer-window",
         false,
         {{"peer-window: 4096", "peer-window: 2048"}},
         "tunnels.azure-0.peer-window"},
        {"tunnels.NAME", "decrypt", false, {{"decrypt: spread", "decrypt: one"}}, "tunnels.azure-0.decrypt"},
        {"tunnels.NAME.lifetime", "bytes", false, {{"bytes: 100GB", "bytes: 200GB"}}, "tunnels.azure-0.lifetime"},
        {"tunnels.NAME.lifetime",
         "packets",
         false,
         {{"packets: 4000000000", "packets: 3000000000"}},
         "tunnels.azure-0.lifetime"},
        {"tunnels.NAME.lifetime", "time", false, {{"time: 24h", "time: 23h"}}, "tunnels.azure-0.lifetime"},
        {"tunnels.NAME.ike", "dpd", true, {{"dpd: 30s", "dpd: 31s"}}, "tunnels.inet-0.ike"},
        {"tunnels.NAME.ike",
         "esp-proposals",
         false,
         {{"aes-256-gcm, aes128gcm12-ecp384", "aes128gcm12-ecp384, aes-256-gcm"}},
         "tunnels.inet-0.ike"},
        {"tunnels.NAME.bgp",
         "prepend",
         true,
         {{"local-preference: 90, prepend: 2", "local-preference: 90, prepend: 3"}},
         "tunnels.inet-0.bgp"},
    };
    return all;
}

TEST(Reload, EveryKeyIsFollowedOrNamed) {
    const std::string before = vector_text("every-key.yaml");
    for (const Row& row : rows()) {
        SCOPED_TRACE(std::string{row.section} + ' ' + row.key);
        const auto plan = reloaded(before, edited(before, row.edits));
        ASSERT_EQ(plan.has_value(), row.follows) << (plan ? lines(plan->changes) : lines(plan.error()));
        EXPECT_NE((plan ? lines(plan->changes) : lines(plan.error())).find(row.named), std::string::npos)
            << (plan ? lines(plan->changes) : lines(plan.error()));
        if (plan) {
            EXPECT_TRUE(plan->changes.size() == 1 || row.edits.size() > 1) << lines(plan->changes);
            const bool grows_only = row.key == std::string{"from-microsoft"};
            EXPECT_EQ(reloaded(edited(before, row.edits), before).has_value(), !grows_only) << "and back";
        }
    }
}

// Sections that are compared as a whole, and keys that lead to another section or cannot change alone.
TEST(Reload, TheTableAboveHasEveryKey) {
    const std::set<std::string> whole{"bgp",
                                      "peerings.PEERING.bgp",
                                      "peerings.PEERING.legs[].bgp",
                                      "tunnels.NAME.ike",
                                      "tunnels.NAME.ike.selectors",
                                      "tunnels.NAME.bgp",
                                      "peerings",
                                      "peerings.PEERING.nat.pool",
                                      "peerings.PEERING.nat.static[]"};
    const std::set<std::string> sections{"version", "role",        "dpdk",     "workers", "limits",  "ports",
                                         "circuit", "bgp",         "peerings", "tunnels", "nat-log", "legs",
                                         "nat",     "port-blocks", "timeouts", "ike",     "lifetime"};
    for (const schema::Section& section : schema::kSections) {
        const std::string path{section.path};
        if (whole.contains(path) || path.starts_with("SA file")) {
            continue;
        }
        for (const std::string_view key : section.keys) {
            const bool known =
                std::ranges::any_of(rows(), [&](const Row& row) { return row.section == path && row.key == key; });
            const bool link_of_tunnel = path == "tunnels.NAME" && key == "link";
            EXPECT_TRUE(known || sections.contains(std::string{key}) || link_of_tunnel) << path << ' ' << key;
        }
    }
}

TEST(Reload, TheSameFileChangesNothing) {
    const std::string text = vector_text("every-key.yaml");
    const auto plan = reloaded(text, "# a comment\n" + text);
    ASSERT_TRUE(plan);
    EXPECT_TRUE(plan->changes.empty());
    EXPECT_EQ(plan->config, file_of(text).config);
}

TEST(Reload, SaysWhatWasAndWhatIs) {
    const std::string before = vector_text("every-key.yaml");
    const auto plan =
        reloaded(before, edited(before, {{"udp: 120s", "udp: 2h"}, {"      host-rate: 500\n", ""}, {"er-1", "er-2"}}));
    ASSERT_TRUE(plan);
    EXPECT_EQ(lines(plan->changes),
              "circuit.name: er-1 -> er-2 (nothing in the daemon; 'render' writes it)\n"
              "peerings.microsoft.nat.host-rate: 500 -> default\n"
              "peerings.microsoft.nat.timeouts.udp: 120s -> 2h\n");
    EXPECT_FALSE(plan->routes);
    EXPECT_FALSE(plan->log);
}

// One key that cannot change keeps all others from changing.
TEST(Reload, RefusesAsAWholeAndNamesEveryPlace) {
    const std::string before = vector_text("every-key.yaml");
    const auto plan = reloaded(before, edited(before, {{"mtu: 9000", "mtu: 8000"},
                                                       {"count: 2", "count: 3"},
                                                       {"[2, 3]", "[2, 3, 4]"},
                                                       {"udp: 120s", "udp: 2h"}}));
    ASSERT_FALSE(plan);
    EXPECT_EQ(lines(plan.error()),
              "f:6:19: found workers.count 3, expected 2 as it runs: a change takes a restart\n"
              "f:6:40: found workers.cpus [2, 3, 4], expected [2, 3] as it runs: a change takes a restart\n"
              "f:9:45: found ports.lan.mtu 8000, expected 9000 as it runs: a change takes a restart\n");
}

TEST(Reload, WhatIsGoneIsNamedWhereItWas) {
    const std::string before = vector_text("every-key.yaml");
    const auto plan = reloaded(before, edited(before, {{"limits: { punt: 20kpps, ", "limits: { "}}));
    ASSERT_FALSE(plan);
    EXPECT_EQ(lines(plan.error()),
              "f:7:9: found limits.punt default, expected 20kpps as it runs: a change takes a restart\n");
}

TEST(Reload, PortsLegsAndTunnelsNeitherComeNorGo) {
    const std::string before = vector_text("every-key.yaml");
    const auto expect_refused = [&](const Edits& edits, const char* named) {
        const auto plan = reloaded(before, edited(before, edits));
        ASSERT_FALSE(plan) << named;
        EXPECT_NE(lines(plan.error()).find(named), std::string::npos) << lines(plan.error());
    };
    expect_refused({{"  management: { shared: eth0 }\n", ""}}, "ports ");
    expect_refused({{"      - { port: lan, vlan: 7, addresses: [10.11.0.1/24], netdev: guests, mtu: 1400 }\n", ""}},
                   "peerings.lan.legs ");
    expect_refused({{"  inet-1:\n    if-id: 9\n    local: 192.0.2.129\n    remote: 20.51.0.6\n    ike: { certificate: "
                     "nva.pem, key: nva.key, ca: azure.pem }\n",
                     ""}},
                   "tunnels ");
    expect_refused(
        {{"nat-log:\n", "state-dir: /srv/twinspan\n"},
         {"  collector: \"[2001:db8::5]:2055\"\n  transport: udp\n  sessions: true\n  mappings: true\n  rate: 1000\n  "
          "domain: 7\n  template-refresh: 5m\n  template-messages: 20\nstate-dir: /srv/twinspan\n",
          ""}},
        "nat-log ");
}

TEST(Reload, LooksAtRoutesOnlyWhereTheirMeaningChanges) {
    const std::string before = vector_text("every-key.yaml");
    for (const Row& row : rows()) {
        const std::string key = row.key;
        if (row.follows) {
            EXPECT_EQ(reloaded(before, edited(before, row.edits))->routes,
                      key == "encrypt" || key == "accept" || key == "fallback")
                << key;
        }
    }
}

}  // namespace
}  // namespace twinspan
