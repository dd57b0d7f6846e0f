#include "control/ctl/views.hpp"

#include "control/ctl/view_parts.hpp"

#include <algorithm>
#include <array>
#include <utility>

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

struct View {
    std::string_view kind;
    bool is_list;
    std::string (*show)(const json&);
};
constexpr auto kViews = std::to_array<View>({
    {"ports", true, [](const json& d) { return two_tables(kPorts, kPortCounters, d, "no ports"); }},
    {"legs", true, legs},
    {"tunnels", true, tunnels_view},
    {"sas", true, sas_view},
    {"groups", true, groups},
    {"routes", true, [](const json& d) { return table(kRoutes, one_row_each(d, "via"), "no routes"); }},
    {"neighbours", true, [](const json& d) { return table(kNeighbours, d, "no neighbours"); }},
    {"nat", false, nat_view},
    {"drops", true, drops_view},
    {"metrics", true, metrics_view},
    {"workers", true, [](const json& d) { return workers_view(d); }},
    {"accounting", false, accounting_view},
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
