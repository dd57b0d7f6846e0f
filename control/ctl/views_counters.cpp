// `show drops`, `metrics`, `workers` and `accounting`.
#include "control/ctl/view_parts.hpp"

#include <algorithm>
#include <iterator>

namespace twinspan::ctl {

namespace {

using nlohmann::json;

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

}  // namespace

std::string drops_view(const json& data) {
    json rows = json::array();
    std::ranges::copy_if(data, std::back_inserter(rows), [](const json& row) { return count_at(row, "count") != 0; });
    return table(kDrops, rows, "nothing was dropped");
}

// As Prometheus scrapes it (text format 0.0.4).
std::string metrics_view(const json& data) {
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

std::string workers_view(json data) {
    for (json& row : data) {
        const double loops = number_at(row, "loops");
        row["busy"] = loops > 0 ? 100 * number_at(row, "busy_loops") / loops : 0;
    }
    return table(kWorkers, data, "no workers");
}

std::string accounting_view(const json& data) {
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

}  // namespace twinspan::ctl
