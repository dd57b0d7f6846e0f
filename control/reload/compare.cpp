#include "control/reload/compare.hpp"

#include "control/model/world.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

namespace twinspan {

namespace {

constexpr std::array kPeerings = {Zone::lan, Zone::private_peering, Zone::public_peering, Zone::microsoft_peering,
                                  Zone::internet};

KeyPath operator/(KeyPath path, std::string name) {
    path.push_back(std::move(name));
    return path;
}

template <class T>
bool same_names(const std::vector<T>& a, const std::vector<T>& b) {
    return std::ranges::equal(a, b, {}, &T::name, &T::name);
}

// The entry of a peering; null: it has none.
template <class T>
const T* of_zone(const std::vector<T>& entries, Zone zone) {
    const auto it = std::ranges::find(entries, zone, &T::zone);
    return it == entries.end() ? nullptr : &*it;
}

template <class T>
bool same(const T* a, const T* b) {
    return (a == nullptr) == (b == nullptr) && (a == nullptr || *a == *b);
}

std::vector<const LegConfig*> legs_of(const Config& config, Zone zone) {
    std::vector<const LegConfig*> legs;
    for (const LegConfig& leg : config.legs) {
        if (leg.zone == zone) {
            legs.push_back(&leg);
        }
    }
    return legs;
}

// All that the daemon reads of it.
bool same_ike(const std::optional<IkeConfig>& a, const std::optional<IkeConfig>& b) {
    return a.has_value() == b.has_value() && (!a || a->suites == b->suites);
}

bool same_shape(const Config& a, const Config& b) {
    return same_names(a.ports, b.ports) && same_names(a.tunnels, b.tunnels) &&
           std::ranges::equal(a.legs, b.legs, {}, &LegConfig::zone, &LegConfig::zone);
}

class Comparison {
public:
    Comparison(const Config& running, const Config& wanted) : running_(running), wanted_(wanted) {}

    std::vector<ConfigChange> run() {
        top();
        ports();
        circuit();
        peerings();
        tunnels();
        nat_log();
        // What no key is known for must not pass as if it had been followed.
        if (std::ranges::find(changes_, Effect::restart, &ConfigChange::effect) == changes_.end()) {
            Config followed = follow(running_, wanted_);
            followed.pools = wanted_.pools;
            key({}, followed, wanted_, Effect::restart);
        }
        return std::move(changes_);
    }

private:
    template <class T>
    void key(KeyPath path, const T& running, const T& wanted, Effect effect) {
        if (!(running == wanted)) {
            changes_.push_back({std::move(path), effect});
        }
    }

    void top() {
        key({"name"}, running_.name, wanted_.name, Effect::restart);
        key({"role"}, running_.role, wanted_.role, Effect::restart);
        key({"state-dir"}, running_.state_dir, wanted_.state_dir, Effect::restart);
        const auto& [hugepages, memory, buffers, args] = running_.dpdk;
        key({"dpdk", "hugepages"}, hugepages, wanted_.dpdk.hugepages, Effect::restart);
        key({"dpdk", "memory"}, memory, wanted_.dpdk.memory_mib, Effect::restart);
        key({"dpdk", "buffers"}, buffers, wanted_.dpdk.buffers, Effect::restart);
        key({"dpdk", "args"}, args, wanted_.dpdk.args, Effect::restart);
        const auto& [count, idle, cpus] = running_.workers;
        key({"workers", "count"}, count, wanted_.workers.count, Effect::restart);
        key({"workers", "idle"}, idle, wanted_.workers.idle, Effect::restart);
        key({"workers", "cpus"}, cpus, wanted_.workers.cpus, Effect::restart);
        const auto& [punt, icmp_errors, routes4, routes6] = running_.limits;
        key({"limits", "punt"}, punt, wanted_.limits.punt_pps, Effect::restart);
        key({"limits", "icmp-errors"}, icmp_errors, wanted_.limits.icmp_errors_pps, Effect::restart);
        key({"limits", "routes-ipv4"}, routes4, wanted_.limits.routes_ipv4, Effect::restart);
        key({"limits", "routes-ipv6"}, routes6, wanted_.limits.routes_ipv6, Effect::restart);
        key({"bgp"}, running_.bgp, wanted_.bgp, Effect::nothing);
        const auto encrypt = [](const Config& config) { return std::pair{config.encrypt4, config.encrypt6}; };
        key({"encrypt"}, encrypt(running_), encrypt(wanted_), Effect::routes);
    }

    void ports() {
        if (!same_names(running_.ports, wanted_.ports)) {
            changes_.push_back({{"ports"}, Effect::restart});
            return;
        }
        for (std::size_t i = 0; i < running_.ports.size(); ++i) {
            const auto& [name, device, shared, mtu] = running_.ports[i];
            const PortConfig& wanted = wanted_.ports[i];
            key({"ports", name, "device"}, device, wanted.device, Effect::restart);
            key({"ports", name, "shared"}, shared, wanted.shared, Effect::restart);
            key({"ports", name, "mtu"}, mtu, wanted.mtu, Effect::restart);
        }
    }

    void circuit() {
        if (!running_.circuit || !wanted_.circuit) {
            key({"circuit"}, running_.circuit, wanted_.circuit, Effect::restart);
            return;
        }
        const auto& [name, sku, bandwidth, primary, secondary] = *running_.circuit;
        key({"circuit", "name"}, name, wanted_.circuit->name, Effect::nothing);
        key({"circuit", "sku"}, sku, wanted_.circuit->sku, Effect::nothing);
        key({"circuit", "bandwidth"}, bandwidth, wanted_.circuit->bandwidth_bps, Effect::nothing);
        key({"circuit", "primary"}, primary, wanted_.circuit->primary_port, Effect::restart);
        key({"circuit", "secondary"}, secondary, wanted_.circuit->secondary_port, Effect::restart);
    }

    void peerings() {
        for (const Zone zone : kPeerings) {
            const KeyPath path{"peerings", to_string(zone)};
            const auto compare = [&](const char* name, const auto* running, const auto* wanted, Effect effect) {
                if (!same(running, wanted)) {
                    changes_.push_back({path / name, effect});
                }
            };
            legs(path / "legs", legs_of(running_, zone), legs_of(wanted_, zone));
            compare("accept", of_zone(running_.accept, zone), of_zone(wanted_.accept, zone), Effect::routes);
            compare("bgp", of_zone(running_.peering_bgp, zone), of_zone(wanted_.peering_bgp, zone), Effect::nothing);
            compare("fallback", of_zone(running_.fallback, zone), of_zone(wanted_.fallback, zone), Effect::routes);
        }
    }

    void legs(const KeyPath& path, const std::vector<const LegConfig*>& running,
              const std::vector<const LegConfig*>& wanted) {
        if (running.size() != wanted.size()) {
            changes_.push_back({path, Effect::restart});
            return;
        }
        for (std::size_t i = 0; i < running.size(); ++i) {
            leg(path / ("[" + std::to_string(i) + "]"), *running[i], *wanted[i]);
        }
    }

    void leg(const KeyPath& path, const LegConfig& running, const LegConfig& wanted) {
        key(path / "link", running.link, wanted.link, Effect::restart);
        if (running.link == Link::none) {  // else the circuit says it
            key(path / "port", running.port, wanted.port, Effect::restart);
        }
        key(path / "netdev", running.netdev, wanted.netdev, Effect::restart);
        key(path / "mtu", running.mtu, wanted.mtu, Effect::restart);
        const auto tags = [](const LegConfig& leg) {
            return std::vector(leg.tags.begin(), leg.tags.begin() + leg.tag_count);
        };
        key(path / "vlan", tags(running), tags(wanted), Effect::restart);
        const auto addresses = [](const LegConfig& leg) { return std::pair{leg.addresses4, leg.addresses6}; };
        key(path / "addresses", addresses(running), addresses(wanted), Effect::restart);
        key(path / "bgp", running.bgp, wanted.bgp, Effect::nothing);
    }

    void tunnels() {
        if (!same_names(running_.tunnels, wanted_.tunnels)) {
            changes_.push_back({{"tunnels"}, Effect::restart});
            return;
        }
        for (std::size_t i = 0; i < running_.tunnels.size(); ++i) {
            tunnel({"tunnels", running_.tunnels[i].name}, running_.tunnels[i], wanted_.tunnels[i]);
        }
    }

    void tunnel(const KeyPath& path, const TunnelConfig& running, const TunnelConfig& wanted) {
        key(path / "if-id", running.if_id, wanted.if_id, Effect::restart);
        key(path / "link", running.link, wanted.link, Effect::restart);
        key(path / "local", running.local, wanted.local, Effect::restart);
        key(path / "remote", running.remote, wanted.remote, Effect::restart);
        key(path / "mtu", running.mtu, wanted.mtu, Effect::restart);
        key(path / "peer-window", running.peer_window, wanted.peer_window, Effect::restart);
        key(path / "decrypt", running.spread_decryption, wanted.spread_decryption, Effect::restart);
        key(path / "lifetime", running.lifetime, wanted.lifetime, Effect::restart);
        key(path / "sa-file", running.sa_file, wanted.sa_file, Effect::restart);
        key(path / "netdev", running.netdev, wanted.netdev, Effect::restart);
        key(path / "address", running.address, wanted.address, Effect::restart);
        const auto dscp = [](const OuterHeaderConfig& outer) { return std::pair{outer.dscp, outer.fixed_dscp}; };
        key(path / "dscp", dscp(running.outer), dscp(wanted.outer), Effect::plan);
        key(path / "ecn", running.outer.ecn, wanted.outer.ecn, Effect::plan);
        key(path / "df", running.outer.df, wanted.outer.df, Effect::plan);
        key(path / "ttl", running.outer.hop_limit, wanted.outer.hop_limit, Effect::plan);
        key(path / "flow-label", running.outer.flow_label, wanted.outer.flow_label, Effect::plan);
        key(path / "ike", running.ike, wanted.ike,
            same_ike(running.ike, wanted.ike) ? Effect::nothing : Effect::restart);
        key(path / "bgp", running.bgp, wanted.bgp, Effect::nothing);
    }

    // What the workers tell is fixed as they begin.
    void nat_log() {
        if (!running_.nat_log || !wanted_.nat_log) {
            key({"nat-log"}, running_.nat_log, wanted_.nat_log, Effect::restart);
            return;
        }
        const auto& [collector, refresh_seconds, refresh_messages, rate, domain, sessions, mappings] =
            *running_.nat_log;
        const NatLogConfig& wanted = *wanted_.nat_log;
        const auto place = [](const CollectorAddress& c) { return std::pair{c.address, c.port}; };
        key({"nat-log", "collector"}, place(collector), place(wanted.collector), Effect::log);
        key({"nat-log", "transport"}, collector.transport, wanted.collector.transport, Effect::log);
        key({"nat-log", "template-refresh"}, refresh_seconds, wanted.refresh_seconds, Effect::log);
        key({"nat-log", "template-messages"}, refresh_messages, wanted.refresh_messages, Effect::log);
        key({"nat-log", "rate"}, rate, wanted.rate, Effect::log);
        key({"nat-log", "domain"}, domain, wanted.domain, Effect::log);
        key({"nat-log", "sessions"}, sessions, wanted.sessions, Effect::restart);
        key({"nat-log", "mappings"}, mappings, wanted.mappings, Effect::restart);
    }

    const Config& running_;
    const Config& wanted_;
    std::vector<ConfigChange> changes_;
};

}  // namespace

std::vector<ConfigChange> compare(const Config& running, const Config& wanted) {
    return Comparison{running, wanted}.run();
}

Config follow(Config running, const Config& wanted) {
    if (!same_shape(running, wanted)) {
        return running;
    }
    running.bgp = wanted.bgp;
    running.accept = wanted.accept;
    running.peering_bgp = wanted.peering_bgp;
    running.fallback = wanted.fallback;
    running.encrypt4 = wanted.encrypt4;
    running.encrypt6 = wanted.encrypt6;
    if (running.circuit && wanted.circuit) {
        running.circuit->name = wanted.circuit->name;
        running.circuit->sku = wanted.circuit->sku;
        running.circuit->bandwidth_bps = wanted.circuit->bandwidth_bps;
    }
    for (std::size_t i = 0; i < running.legs.size(); ++i) {
        running.legs[i].bgp = wanted.legs[i].bgp;
    }
    for (std::size_t i = 0; i < running.tunnels.size(); ++i) {
        TunnelConfig& tunnel = running.tunnels[i];
        tunnel.outer = wanted.tunnels[i].outer;
        tunnel.bgp = wanted.tunnels[i].bgp;
        tunnel.ike = same_ike(tunnel.ike, wanted.tunnels[i].ike) ? wanted.tunnels[i].ike : tunnel.ike;
    }
    if (running.nat_log && wanted.nat_log) {
        const NatLogConfig log = *running.nat_log;
        running.nat_log = wanted.nat_log;
        running.nat_log->sessions = log.sessions;
        running.nat_log->mappings = log.mappings;
    }
    return running;
}

void adopt_running_addresses(Config& wanted, const Config& running) {
    for (std::size_t i = 0; i < std::min(wanted.legs.size(), running.legs.size()); ++i) {
        LegConfig& leg = wanted.legs[i];
        if (is_linux_leg(wanted, leg) && leg.addresses4.empty() && leg.addresses6.empty()) {
            leg.addresses4 = running.legs[i].addresses4;
            leg.addresses6 = running.legs[i].addresses6;
        }
    }
}

}  // namespace twinspan
