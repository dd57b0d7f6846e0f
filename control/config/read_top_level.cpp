// The sections that stand alone: instance, DPDK, workers, limits, ports, circuit, encrypt.
#include "control/config/draft.hpp"
#include "control/config/scalar.hpp"
#include "control/config/schema.hpp"

#include <algorithm>

namespace twinspan {

namespace {

std::optional<Role> parse_role(std::string_view text) {
    return text == "on-premises" ? std::optional{Role::on_premises}
           : text == "azure"     ? std::optional{Role::azure}
                                 : std::nullopt;
}

std::optional<IdlePolicy> parse_idle(std::string_view text) {
    return text == "sleep"  ? std::optional{IdlePolicy::sleep}
           : text == "poll" ? std::optional{IdlePolicy::poll}
                            : std::nullopt;
}

std::optional<std::string> parse_text(std::string_view text) {
    return text.empty() ? std::nullopt : std::optional{std::string{text}};
}

constexpr std::string_view kNameText = "a name of at most 32 letters, digits and - _ .";

void read_dpdk(Diagnostics& diagnostics, const YAML::Node& node, DpdkConfig& out) {
    const MapReader map{diagnostics, node, schema::kDpdk};
    map.read("hugepages", out.hugepages, "true or false", parse_bool);
    map.read("memory", out.memory_mib, "a size of 64MiB or more, like 1024MiB or 2GiB", [](std::string_view text) {
        return parse_mib(text).and_then(
            [](std::uint64_t mib) { return mib >= 64 ? std::optional{mib} : std::nullopt; });
    });
    map.read_unsigned("buffers", out.buffers, 1024, 1u << 22);
    if (const auto args = map.find("args")) {
        for_each_item(diagnostics, *args, "a list of EAL arguments", [&](const YAML::Node& item) {
            if (auto text = read_scalar(diagnostics, item, "an EAL argument", parse_text)) {
                out.args.push_back(std::move(*text));
            }
        });
    }
}

void read_workers(Diagnostics& diagnostics, const YAML::Node& node, WorkersConfig& out) {
    const MapReader map{diagnostics, node, schema::kWorkers};
    map.read_unsigned("count", out.count, 1, 64);
    map.read("idle", out.idle, "sleep or poll", parse_idle);
    const auto cpus = map.find("cpus");
    if (!cpus) {
        return;
    }
    const std::size_t errors_before = diagnostics.count();
    for_each_item(diagnostics, *cpus, "a list of CPU numbers", [&](const YAML::Node& item) {
        const auto cpu =
            read_scalar(diagnostics, item, MapReader::unsigned_text(0, 1023), MapReader::unsigned_parser(0, 1023));
        if (cpu && std::ranges::find(out.cpus, *cpu) != out.cpus.end()) {
            diagnostics.unexpected(item, "each CPU once");
        } else if (cpu) {
            out.cpus.push_back(static_cast<unsigned>(*cpu));
        }
    });
    if (diagnostics.count() == errors_before && !out.cpus.empty() && out.cpus.size() != out.count) {
        diagnostics.add(*cpus, "found " + std::to_string(out.cpus.size()) + " CPUs, expected one for each of " +
                                   std::to_string(out.count) + " workers");
    }
}

void read_limits(Diagnostics& diagnostics, const YAML::Node& node, LimitsConfig& out) {
    constexpr std::string_view kRate = "a rate like 10000pps or 10kpps";
    const MapReader map{diagnostics, node, schema::kLimits};
    map.read("punt", out.punt_pps, kRate, parse_rate);
    map.read("icmp-errors", out.icmp_errors_pps, kRate, parse_rate);
    map.read_unsigned("routes-ipv4", out.routes_ipv4, 1024, 1u << 22);
    map.read_unsigned("routes-ipv6", out.routes_ipv6, 1024, 1u << 20);
}

// The NIC is DPDK's, or Linux keeps it.
void read_device(Diagnostics& diagnostics, const MapReader& map, PortConfig& port) {
    const auto shared = map.find("shared");
    if (shared && map.find("device")) {
        diagnostics.add(*shared,
                        "found both 'shared' and 'device', expected one of them: the NIC is Linux's or DPDK's");
    }
    if (shared) {
        map.read("shared", port.shared, "the name of a network interface of Linux, like eth0", parse_netdev_name);
        return;
    }
    map.read_required("device", port.device, "a DPDK device, like 0000:65:00.0 or net_af_packet0,iface=eth1",
                      parse_text);
}

void read_ports(Diagnostics& diagnostics, const YAML::Node& node, Draft& draft) {
    for_each_entry(diagnostics, node, "a mapping of port names", [&](const YAML::Node& key, const YAML::Node& value) {
        PortConfig port;
        const auto name = read_scalar(diagnostics, key, kNameText, parse_name);
        const MapReader map{diagnostics, value, schema::kPort};
        read_device(diagnostics, map, port);
        map.read_unsigned("mtu", port.mtu, 576, 9216);
        port.name = name.value_or("");
        draft.config.ports.push_back(std::move(port));  // also when it is bad, for what refers to it
    });
    if (draft.config.ports.empty()) {
        diagnostics.unexpected(node, "at least one port");
    }
}

void read_port_name(Diagnostics& diagnostics, const MapReader& map, std::string_view key, const Draft& draft,
                    std::string& out) {
    const auto node = map.require(key, "the name of a port");
    if (!node) {
        return;
    }
    std::vector<std::string_view> names;
    for (const PortConfig& port : draft.config.ports) {
        names.push_back(port.name);
    }
    if (node->IsScalar() && std::ranges::find(names, node->Scalar()) != names.end()) {
        out = node->Scalar();
    } else {
        diagnostics.unknown_name(*node, "the name of a port (" + join(names) + ")", names);
    }
}

void read_circuit(Diagnostics& diagnostics, const YAML::Node& node, Draft& draft) {
    CircuitConfig circuit;
    const MapReader map{diagnostics, node, schema::kCircuit};
    map.read_required("name", circuit.name, kNameText, parse_name);
    map.read_required("bandwidth", circuit.bandwidth_bps, "a bandwidth like 50Mbps or 10Gbps", parse_bandwidth);
    map.read("sku", circuit.sku, "standard or premium", [](std::string_view text) {
        return text == "standard"  ? std::optional{CircuitSku::standard}
               : text == "premium" ? std::optional{CircuitSku::premium}
                                   : std::nullopt;
    });
    read_port_name(diagnostics, map, "primary", draft, circuit.primary_port);
    read_port_name(diagnostics, map, "secondary", draft, circuit.secondary_port);
    if (draft.config.role == Role::azure) {
        diagnostics.add(map.position(), "found a circuit with role azure, expected it with role on-premises only");
    }
    draft.config.circuit = std::move(circuit);
}

void read_encrypt(Diagnostics& diagnostics, const YAML::Node& node, Draft& draft) {
    for_each_item(diagnostics, node, "a list of prefixes", [&](const YAML::Node& item) {
        if (const auto v4 = item.IsScalar() ? parse_prefix4(item.Scalar()) : std::nullopt) {
            draft.config.encrypt4.push_back(*v4);
            draft.encrypt4.push_back({*v4, position_of(item)});
        } else if (const auto v6 = read_scalar(diagnostics, item,
                                               "a prefix without host bits, like 10.20.0.0/16 or \"fd10:20::/64\"",
                                               parse_prefix6)) {
            draft.config.encrypt6.push_back(*v6);
            draft.encrypt6.push_back({*v6, position_of(item)});
        }
    });
}

}  // namespace

void read_top_level(Diagnostics& diagnostics, const YAML::Node& root, Draft& draft) {
    const MapReader map{diagnostics, root, schema::kTop};
    Config& config = draft.config;
    map.read_required("version", config.version, "1", [](std::string_view text) { return parse_unsigned(text, 1, 1); });
    map.read("name", config.name, kNameText, parse_name);
    map.read_required("role", config.role, "on-premises or azure", parse_role);
    config.state_dir = "/var/lib/twinspan/" + config.name;
    map.read("state-dir", config.state_dir, "an absolute path",
             [](std::string_view text) { return text.starts_with('/') ? std::optional{text} : std::nullopt; });
    const auto section = [&](std::string_view key, auto&& reader) {
        if (const auto node = map.find(key)) {
            reader(*node);
        }
    };
    section("dpdk", [&](const YAML::Node& node) { read_dpdk(diagnostics, node, config.dpdk); });
    section("workers", [&](const YAML::Node& node) { read_workers(diagnostics, node, config.workers); });
    section("limits", [&](const YAML::Node& node) { read_limits(diagnostics, node, config.limits); });
    if (const auto node = map.require("ports", "a mapping of port names")) {
        read_ports(diagnostics, *node, draft);
    }
    section("circuit", [&](const YAML::Node& node) { read_circuit(diagnostics, node, draft); });
    section("bgp", [&](const YAML::Node& node) { read_bgp(diagnostics, node, draft); });
    if (const auto node = map.require("peerings", "a mapping with the keys " + join(schema::kPeerings))) {
        read_peerings(diagnostics, *node, draft);
    }
    section("tunnels", [&](const YAML::Node& node) { read_tunnels(diagnostics, node, draft); });
    section("nat-log", [&](const YAML::Node& node) { read_nat_log(diagnostics, node, draft); });
    section("encrypt", [&](const YAML::Node& node) { read_encrypt(diagnostics, node, draft); });
}

}  // namespace twinspan
