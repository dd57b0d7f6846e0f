#include "control/config/config.hpp"

namespace twinspan {

std::uint32_t Config::nat_sessions() const noexcept {
    std::uint32_t sum = 0;
    for (const PoolConfig& pool : pools) {
        sum += pool.sessions;
    }
    return sum;
}

std::uint32_t prefix_limit4(const Config& config, Zone zone) noexcept {
    if (zone != Zone::private_peering) {
        return carries_public_addresses_only(zone) ? 200 : 4000;
    }
    return config.circuit && config.circuit->sku == CircuitSku::premium ? 10000 : 4000;
}

std::uint32_t prefix_limit6(Zone zone) noexcept {
    return zone == Zone::private_peering ? 100 : zone == Zone::microsoft_peering ? 200 : 0;
}

std::string to_string(Zone zone) {
    switch (zone) {
        case Zone::lan:
            return "lan";
        case Zone::private_peering:
            return "private";
        case Zone::public_peering:
            return "public";
        case Zone::microsoft_peering:
            return "microsoft";
        case Zone::internet:
            return "internet";
        case Zone::tunnel:
            return "tunnel";
        case Zone::translated:
            return "translated";
        case Zone::self:
            return "self";
    }
    return "?";
}

std::string to_string(Link link) {
    switch (link) {
        case Link::none:
            return "none";
        case Link::primary:
            return "primary";
        case Link::secondary:
            return "secondary";
    }
    return "?";
}

std::string name_of(const PoolConfig& pool) {
    return to_string(pool.zone) + (pool.link == Link::none ? "" : " " + to_string(pool.link));
}

}  // namespace twinspan
