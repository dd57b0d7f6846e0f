#include "control/ctl/views.hpp"

#include "control/ctl/table.hpp"

#include <algorithm>
#include <array>

namespace twinspan::ctl {

namespace {

using nlohmann::json;

constexpr Column kPorts[] = {
    {"port", "name"},     {"netdev", "netdev"}, {"link", "link"}, {"mac", "mac"}, {"mtu", "mtu", Format::integer},
    {"device", "device"},
};
constexpr Column kPortCounters[] = {
    {"port", "name"},
    {"rx packets", "rx_packets", Format::count},
    {"rx bytes", "rx_bytes", Format::bytes},
    {"tx packets", "tx_packets", Format::count},
    {"tx bytes", "tx_bytes", Format::bytes},
    {"rx missed", "rx_missed", Format::count},
    {"rx errors", "rx_errors", Format::count},
    {"tx errors", "tx_errors", Format::count},
};
constexpr Column kLegs[] = {
    {"leg", "name"},
    {"peering", "peering"},
    {"link", "link", Format::text, Empty::hide},
    {"port", "port"},
    {"vlan", "vlan", Format::text, Empty::hide},
    {"state", "state"},
    {"addresses", "addresses"},
};
constexpr Column kLegCounters[] = {
    {"leg", "name"},
    {"rx packets", "rx_packets", Format::count},
    {"rx bytes", "rx_bytes", Format::bytes},
    {"tx packets", "tx_packets", Format::count},
    {"tx bytes", "tx_bytes", Format::bytes},
};
constexpr Column kTunnels[] = {
    {"tunnel", "name"},
    {"if-id", "if_id", Format::integer},
    {"link", "link", Format::text, Empty::hide},
    {"local", "local"},
    {"remote", "remote"},
    {"state", "state"},
    {"suite", "suite"},
    {"mtu", "inner_mtu", Format::integer},
    {"mss", "mss4", Format::integer},
};
constexpr Column kTunnelCounters[] = {
    {"tunnel", "name"},
    {"spi out", "spi_out", Format::hex},
    {"spi in", "spi_in", Format::hex},
    {"sequence", "sequence", Format::count},
    {"reserved", "reserved_until", Format::count},
    {"rx packets", "rx_packets", Format::count},
    {"rx bytes", "rx_bytes", Format::bytes},
    {"tx packets", "tx_packets", Format::count},
    {"tx bytes", "tx_bytes", Format::bytes},
};
constexpr Column kSasOfTunnels[] = {
    {"tunnel", "tunnel"},
    {"spi", "spi", Format::hex},
    {"direction", "direction"},
    {"source", "source"},
    {"in use", "in_use", Format::yes_no},
    {"sequence", "sequence", Format::count},
    {"reserved", "reserved_until", Format::count, Empty::hide},
    {"window", "window", Format::integer, Empty::hide},
    {"packets", "packets", Format::count},
    {"bytes", "bytes", Format::bytes},
};
constexpr Column kSas[] = {
    {"tunnel", "tunnel"},
    {"spi", "spi", Format::hex},
    {"dir", "direction"},
    {"suite", "suite"},
    {"icv", "icv", Format::integer},
    {"esn", "esn", Format::yes_no},
    {"udp", "encapsulation"},
    {"peer", "peer"},
};
constexpr Column kSaCounters[] = {
    {"tunnel", "tunnel"},
    {"spi", "spi", Format::hex},
    {"sequence", "sequence", Format::count},
    {"window", "window", Format::integer, Empty::hide},
    {"packets", "packets", Format::count},
    {"bytes", "bytes", Format::bytes},
    {"packets left", "left.packets", Format::count, Empty::hide},
    {"bytes left", "left.bytes", Format::bytes, Empty::hide},
    {"time left", "left.seconds", Format::seconds, Empty::hide},
};
constexpr Column kGroups[] = {
    {"group", "id"},
    {"member", "egress"},
    {"state", "state"},
    {"weight", "weight", Format::count},
    {"buckets", "buckets", Format::count},
    {"share", "share", Format::percent},
};
constexpr Column kRoutes[] = {
    {"prefix", "prefix"},
    {"kind", "kind"},
    {"encrypt", "encrypt", Format::yes_no},
    {"via", "via"},
    {"note", "note", Format::text, Empty::hide},
};
constexpr Column kNeighbours[] = {{"address", "address"}, {"netdev", "netdev"}, {"mac", "mac"}, {"state", "state"}};
constexpr Column kPools[] = {
    {"peering", "peering"},
    {"link", "link", Format::text, Empty::hide},
    {"addresses", "addresses", Format::list},
    {"ports", "ports"},
    {"sessions", "sessions", Format::count},
    {"of", "limit", Format::count},
    {"tcp", "by_protocol.tcp", Format::count},
    {"udp", "by_protocol.udp", Format::count},
    {"icmp", "by_protocol.icmp", Format::count},
};
constexpr Column kPoolCounters[] = {
    {"peering", "peering"},
    {"link", "link", Format::text, Empty::hide},
    {"created", "created", Format::count},
    {"expired", "expired", Format::count},
    {"evicted", "evicted", Format::count},
    {"no port", "ports_exhausted", Format::count},
    {"no room", "sessions_exhausted", Format::count},
    {"water", "water.state", Format::text, Empty::hide},
    {"peak", "water.peak", Format::count, Empty::hide},
    {"full in", "full_in", Format::text, Empty::hide},
};
constexpr Column kDraining[] = {{"peering", "peering"},
                                {"state", "state"},
                                {"addresses", "addresses", Format::list},
                                {"sessions left", "sessions", Format::count}};
constexpr Column kPoolRules[] = {
    {"peering", "peering"},
    {"link", "link", Format::text, Empty::hide},
    {"mode", "mode"},
    {"host limit", "host_limited", Format::count},
    {"host rate", "host_rate_limited", Format::count},
    {"no block", "blocks_exhausted", Format::count},
};
constexpr Column kPoolAddresses[] = {
    {"peering", "peering"},
    {"address", "address"},
    {"protocol", "protocol"},
    {"sessions", "sessions", Format::count},
    {"ports in use", "ports", Format::count},
    {"free", "ports_free", Format::count},
};
constexpr Column kTalkers[] = {{"peering", "peering"}, {"top host", "host"}, {"sessions", "sessions", Format::count}};
constexpr Column kRemotes[] = {
    {"peering", "peering"},
    {"protocol", "protocol"},
    {"top remote", "remote"},
    {"sessions", "sessions", Format::count},
    {"ports free", "free", Format::count},
};
constexpr Column kSessions[] = {
    {"protocol", "protocol"}, {"inside", "inside"}, {"outside", "outside"},
    {"remote", "remote"},     {"state", "state"},   {"idle", "idle_s", Format::seconds},
};
constexpr Column kDrops[] = {{"reason", "reason"}, {"count", "count", Format::count}, {"meaning", "help"}};
constexpr Column kWorkers[] = {
    {"worker", "id"},
    {"cpu", "cpu"},
    {"loops", "loops", Format::count},
    {"busy", "busy", Format::percent},
    {"helped", "helped", Format::count},
    {"rx", "rx", Format::count},
    {"injected", "injected", Format::count},
    {"generated", "generated", Format::count},
    {"taken", "taken", Format::count},
    {"tx", "tx", Format::count},
    {"punted", "punted", Format::count},
    {"handed", "handed", Format::count},
    {"drops", "drops", Format::count},
};
constexpr Column kAccountingIn[] = {
    {"thread", "name"},
    {"rx", "rx", Format::count},
    {"injected", "injected", Format::count},
    {"generated", "generated", Format::count},
    {"fragmented", "fragmented", Format::count},
    {"taken", "taken", Format::count},
};
constexpr Column kAccountingOut[] = {
    {"thread", "name"},
    {"tx", "tx", Format::count},
    {"punted", "punted", Format::count},
    {"merged", "merged", Format::count},
    {"handed", "handed", Format::count},
    {"held", "held", Format::integer},
    {"drops", "drops", Format::count},
    {"exact", "exact", Format::yes_no},
};

json list_at(const json& object, const char* key) {
    const auto at = object.is_object() ? object.find(key) : object.end();
    return object.is_object() && at != object.end() && at->is_array() ? *at : json::array();
}

double number_at(const json& object, const char* key) {
    const auto at = object.is_object() ? object.find(key) : object.end();
    return object.is_object() && at != object.end() && at->is_number() ? at->get<double>() : 0;
}

std::uint64_t count_at(const json& object, const char* key) {
    const auto at = object.is_object() ? object.find(key) : object.end();
    return object.is_object() && at != object.end() && at->is_number_unsigned() ? at->get<std::uint64_t>() : 0;
}

std::string table(std::span<const Column> columns, const json& rows, std::string_view none) {
    return rows.is_array() && !rows.empty() ? render(columns, rows) : std::string{none} + '\n';
}

// What the things are, then what they counted.
std::string two_tables(std::span<const Column> what, std::span<const Column> counters, const json& rows,
                       std::string_view none) {
    return rows.empty() ? std::string{none} + '\n' : render(what, rows) + '\n' + render(counters, rows);
}

std::string text_at(const json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

std::string tunnels(const json& data) {
    std::string out = two_tables(kTunnels, kTunnelCounters, data, "no tunnels");
    constexpr Column kReasons[] = {{"tunnel", "name"}, {"not up because", "reason"}};
    json down = json::array();
    std::ranges::copy_if(data, std::back_inserter(down), [](const json& row) {
        return row.contains("reason") && row["reason"].is_string() &&
               !row["reason"].get_ref<const std::string&>().empty();
    });
    json sas = json::array();
    for (const json& tunnel : data) {
        for (json row : list_at(tunnel, "sas")) {
            row["tunnel"] = text_at(tunnel, "name");
            sas.push_back(std::move(row));
        }
    }
    out += sas.empty() ? "" : '\n' + render(kSasOfTunnels, sas);
    return out + (down.empty() ? "" : '\n' + render(kReasons, down));
}

// One line for each member; the group's number stands on the first.
std::string groups(const json& data) {
    json rows = json::array();
    for (const json& group : data) {
        const double all = number_at(group, "buckets");
        bool first = true;
        for (json member : list_at(group, "members")) {
            if (!member.is_object()) {
                continue;
            }
            member["id"] = first ? group.value("id", json{}) : json("");
            member["share"] = all > 0 ? 100 * number_at(member, "buckets") / all : 0;
            rows.push_back(std::move(member));
            first = false;
        }
    }
    return table(kGroups, rows, "no groups");
}

// One line for each item of the list at `key`; what else the row holds stands on the first.
json one_row_each(const json& data, const char* key) {
    json rows = json::array();
    for (const json& whole : data) {
        const json items = list_at(whole, key);
        json row = whole;
        row[key] = items.empty() ? json("") : items[0];
        rows.push_back(row);
        for (auto& [name, value] : row.items()) {
            value = "";
        }
        for (std::size_t i = 1; i < items.size(); ++i) {
            row[key] = items[i];
            rows.push_back(row);
        }
    }
    return rows;
}

std::string legs(const json& data) {
    return data.empty() ? "no legs\n"
                        : render(kLegs, one_row_each(data, "addresses")) + '\n' + render(kLegCounters, data);
}

std::string forecast(const json& pool) {
    const auto at = pool.find("forecast");
    if (at == pool.end() || !at->is_object()) {
        return "";
    }
    const auto seconds = at->find("full_in_s");
    return seconds != at->end() && seconds->is_number_unsigned() ? human_seconds(seconds->get<std::uint64_t>())
                                                                 : "not at this rate";
}

std::string optional_table(std::span<const Column> columns, const json& rows) {
    return rows.empty() ? "" : render(columns, rows) + '\n';
}

// Something else than the default, or a limit that was met.
bool has_rules(const json& pool) {
    return text_at(pool, "mode") == "endpoint-independent" || count_at(pool, "host_limited") != 0 ||
           count_at(pool, "host_rate_limited") != 0 || count_at(pool, "blocks_exhausted") != 0;
}

std::string nat(const json& data) {
    json pools = list_at(data, "pools");
    json addresses = json::array();
    json draining = json::array();
    json rules = json::array();
    std::uint64_t used = 0;
    for (json& pool : pools) {
        if (!pool.is_object()) {
            continue;
        }
        if (json row = pool.value("draining", json{}); row.is_object()) {
            row["peering"] = text_at(pool, "peering");
            row["state"] = "draining";
            draining.push_back(std::move(row));
        }
        used += count_at(pool, "sessions");
        pool["full_in"] = forecast(pool);
        if (has_rules(pool)) {
            rules.push_back(pool);
        }
        for (json row : list_at(pool, "by_address")) {
            if (row.is_object()) {
                row["peering"] = text_at(pool, "peering");
                addresses.push_back(std::move(row));
            }
        }
    }
    return two_tables(kPools, kPoolCounters, pools, "no pools") + '\n' + optional_table(kDraining, draining) +
           optional_table(kPoolRules, rules) + optional_table(kPoolAddresses, addresses) +
           optional_table(kTalkers, list_at(data, "talkers")) + optional_table(kRemotes, list_at(data, "remotes")) +
           table(kSessions, list_at(data, "sessions"), "no sessions") + '\n' + with_thousands(used) + " of " +
           with_thousands(count_at(data, "capacity")) + " sessions, " + human_bytes(count_at(data, "memory_bytes")) +
           '\n';
}

std::string drops(const json& data) {
    json rows = json::array();
    std::ranges::copy_if(data, std::back_inserter(rows), [](const json& row) { return count_at(row, "count") != 0; });
    return table(kDrops, rows, "nothing was dropped");
}

// {pool="microsoft",protocol="tcp"}; our values hold nothing that would need escaping.
std::string labels(const json& row) {
    std::string text;
    if (const auto at = row.find("labels"); at != row.end() && at->is_object()) {
        for (const auto& [name, value] : at->items()) {
            text +=
                (text.empty() ? "{" : ",") + name + "=\"" + (value.is_string() ? value.get<std::string>() : "") + '"';
        }
    }
    return text.empty() ? text : text + '}';
}

// As Prometheus scrapes it (text format 0.0.4).
std::string metrics(const json& data) {
    std::string text;
    std::string before;
    for (const json& row : data) {
        const std::string name = text_at(row, "name");
        if (name != before) {
            text +=
                "# HELP " + name + ' ' + text_at(row, "help") + "\n# TYPE " + name + ' ' + text_at(row, "kind") + '\n';
        }
        text += name + labels(row) + ' ' + std::to_string(count_at(row, "value")) + '\n';
        before = name;
    }
    return text;
}

std::string workers(json data) {
    for (json& row : data) {
        const double loops = number_at(row, "loops");
        row["busy"] = loops > 0 ? 100 * number_at(row, "busy_loops") / loops : 0;
    }
    return table(kWorkers, data, "no workers");
}

std::string accounting(const json& data) {
    json rows = list_at(data, "threads");
    json total = data;
    total["name"] = "all workers";
    rows.push_back(total);
    const auto found = data.find("exact");
    const bool exact = found != data.end() && *found == json(true);
    return two_tables(kAccountingIn, kAccountingOut, rows, "no threads") +
           "\nrx + injected + generated + fragmented + taken " + (exact ? "=" : "differs from") +
           " tx + punted + merged + handed + held + drops\n";
}

struct View {
    std::string_view kind;
    bool is_list;
    std::string (*show)(const json&);
};
constexpr auto kViews = std::to_array<View>({
    {"ports", true, [](const json& d) { return two_tables(kPorts, kPortCounters, d, "no ports"); }},
    {"legs", true, legs},
    {"tunnels", true, tunnels},
    {"sas", true, [](const json& d) { return two_tables(kSas, kSaCounters, d, "no security associations"); }},
    {"groups", true, groups},
    {"routes", true, [](const json& d) { return table(kRoutes, one_row_each(d, "via"), "no routes"); }},
    {"neighbours", true, [](const json& d) { return table(kNeighbours, d, "no neighbours"); }},
    {"nat", false, nat},
    {"drops", true, drops},
    {"metrics", true, metrics},
    {"workers", true, [](const json& d) { return workers(d); }},
    {"accounting", false, accounting},
});

// A reply of another shape than documented is shown, not guessed at.
bool fits(const View& shown, const json& data) {
    return shown.is_list ? data.is_array() && std::ranges::all_of(data, [](const json& row) { return row.is_object(); })
                         : data.is_object();
}

}  // namespace

std::span<const std::string_view> show_kinds() {
    static constexpr auto kKinds = [] {
        std::array<std::string_view, kViews.size()> out;
        std::ranges::transform(kViews, out.begin(), &View::kind);
        return out;
    }();
    return kKinds;
}

std::string view(std::string_view kind, const json& data) {
    const auto shown = std::ranges::find(kViews, kind, &View::kind);
    if (shown == kViews.end() || !fits(*shown, data)) {
        return data.dump(2, ' ', false, json::error_handler_t::replace) + '\n';
    }
    return shown->show(data);
}

}  // namespace twinspan::ctl
