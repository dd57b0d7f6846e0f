#include "control/rpc/commands.hpp"

#include "control/rpc/server.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace twinspan {
namespace {

using nlohmann::json;

struct View {
    std::string_view name;
    json (*make)(const StatusSources&);
};
constexpr auto kViews = std::to_array<View>({
    {"ports", show_ports},
    {"legs", show_legs},
    {"tunnels", show_tunnels},
    {"sas", show_sas},
    {"groups", show_groups},
    {"routes", show_routes},
    {"neighbours", show_neighbours},
    {"nat", show_nat},
    {"drops", show_drops},
    {"metrics", show_metrics},
    {"workers", show_workers},
    {"accounting", show_accounting},
});

std::string text_of(const json& request, const char* key) {
    const auto it = request.find(key);
    return it != request.end() && it->is_string() ? it->get<std::string>() : std::string{};
}

std::optional<Link> parse_link(std::string_view text) {
    return text == "primary"     ? std::optional{Link::primary}
           : text == "secondary" ? std::optional{Link::secondary}
                                 : std::nullopt;
}

json drain(const json& request, Failover& failover, bool drained) {
    const std::string name = text_of(request, "link");
    const auto link = parse_link(name);
    if (!link) {
        const std::vector<TunnelConfig>& tunnels = failover.world().config.tunnels;
        const auto tunnel = std::ranges::find(tunnels, name, &TunnelConfig::name);
        if (tunnel == tunnels.end()) {
            return rpc_error("found link '" + name + "', expected primary, secondary or the name of a tunnel");
        }
        const auto index = static_cast<std::size_t>(tunnel - tunnels.begin());
        failover.drain_tunnel(index, drained);
        const bool is_up = failover.snapshot().tunnels[index].up;
        return rpc_data({{"link", name}, {"state", drained ? "drained" : is_up ? "up" : "down"}});
    }
    const std::vector<Leg>& legs = failover.snapshot().legs;
    const auto on_link = [&](const Leg& leg) { return leg.link == *link; };
    if (std::ranges::none_of(legs, on_link)) {
        return rpc_error("no leg is on the " + name + " link");
    }
    failover.drain(*link, drained);
    const bool up =
        std::ranges::any_of(failover.snapshot().legs, [&](const Leg& leg) { return on_link(leg) && leg.up; });
    return rpc_data({{"link", name}, {"state", drained ? "drained" : up ? "up" : "down"}});
}

json ping(const StatusSources& sources) {
    const auto uptime = std::chrono::steady_clock::now() - sources.started;
    json data{{"name", sources.failover->world().config.name},
              {"version", TWINSPAN_VERSION},
              {"uptime_s", std::chrono::duration_cast<std::chrono::seconds>(uptime).count()}};
    if (sources.nat_kept != nullptr && !sources.nat_kept->file.empty()) {
        data["nat_sessions"] = {{"kept", sources.nat_kept->file.string()}, {"saved", sources.nat_kept->saved.string()}};
    }
    return rpc_data(data);
}

json reload(const json& request, const Reload& read_again) {
    const bool only_check = request.value("check", json{}) == true;
    const auto changes = read_again(only_check);
    return changes ? rpc_data({{"changes", *changes}, {"check", only_check}}) : rpc_error(changes.error().what);
}

}  // namespace

Result<json> show(const StatusSources& sources, std::string_view what) {
    const auto view = std::ranges::find(kViews, what, &View::name);
    if (view != kViews.end()) {
        return view->make(sources);
    }
    std::string names;
    for (const View& known : kViews) {
        names += (names.empty() ? "" : ", ") + std::string{known.name};
    }
    return std::unexpected(Error{"cannot show '" + std::string{what} + "', expected one of " + names});
}

json run_command(const json& request, const StatusSources& sources, Failover& failover, const Reload& read_again) {
    const std::string command = text_of(request, "command");
    if (command == "ping") {
        return ping(sources);
    }
    if (command == "drain" || command == "undrain") {
        return drain(request, failover, command == "drain");
    }
    if (command == "show") {
        const auto data = show(sources, text_of(request, "what"));
        return data ? rpc_data(*data) : rpc_error(data.error().what);
    }
    if (command == "reload" && read_again) {
        return reload(request, read_again);
    }
    return rpc_error("unknown command '" + command + "', expected one of ping, show, drain, undrain, reload");
}

}  // namespace twinspan
