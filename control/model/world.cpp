#include "control/model/world.hpp"

#include <algorithm>

namespace twinspan {

bool is_linux_leg(const Config& config, const LegConfig& leg) noexcept {
    const std::uint16_t port = port_index(config, leg.port);
    return leg.tag_count == 0 && port != kNone && !config.ports[port].shared.empty();
}

std::vector<NetdevPlan> all_netdevs(const Config& config) {
    std::vector<NetdevPlan> result;
    for (std::size_t i = 0; i < config.legs.size(); ++i) {
        result.push_back({config.legs[i].netdev, {false, static_cast<std::uint16_t>(i)}});
    }
    for (std::size_t i = 0; i < config.tunnels.size(); ++i) {
        if (config.tunnels[i].netdev) {
            result.push_back({config.tunnels[i].name, {true, static_cast<std::uint16_t>(i)}});
        }
    }
    return result;
}

std::vector<NetdevPlan> netdev_plan(const Config& config) {
    std::vector<NetdevPlan> result = all_netdevs(config);
    std::erase_if(result, [&](const NetdevPlan& netdev) {
        return !netdev.target.is_tunnel && is_linux_leg(config, config.legs[netdev.target.index]);
    });
    return result;
}

std::uint16_t port_index(const Config& config, const std::string& name) noexcept {
    const auto it = std::ranges::find(config.ports, name, &PortConfig::name);
    return it == config.ports.end() ? kNone : static_cast<std::uint16_t>(it - config.ports.begin());
}

std::vector<IpPrefix> encrypt_prefixes(const Config& config) {
    std::vector<IpPrefix> result;
    for (const Prefix4 p : config.encrypt4) {
        result.push_back(to_prefix(p));
    }
    for (const Prefix6& p : config.encrypt6) {
        result.push_back(to_prefix(p));
    }
    return result;
}

std::vector<IpPrefix> addresses_of(const LegConfig& leg) {
    std::vector<IpPrefix> result;
    for (const InterfaceAddress4 a : leg.addresses4) {
        result.push_back({IpAddress::from(a.address), a.length});
    }
    for (const InterfaceAddress6& a : leg.addresses6) {
        result.push_back({IpAddress::from(a.address), a.length});
    }
    return result;
}

}  // namespace twinspan
