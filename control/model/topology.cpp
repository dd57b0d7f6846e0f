#include "control/model/topology.hpp"

#include "control/config/ranges.hpp"
#include "crypto/esp_format.hpp"

#include <algorithm>
#include <cstring>
#include <initializer_list>

namespace twinspan {

namespace {

constexpr std::uint32_t kWideWindow = 1024;
constexpr std::size_t kFirstFixedDscp = 2;  // of a snapshot's maps: the identity and Microsoft's come before
constexpr std::size_t kMtuForWidest = 1400;

}  // namespace

std::vector<Leg> make_legs(const World& world) {
    std::vector<Leg> legs;
    std::uint16_t netdev = 0;
    for (const LegConfig& config : world.config.legs) {
        Leg leg;
        leg.port = port_index(world.config, config.port);
        leg.netdev = is_linux_leg(world.config, config) ? kNone : netdev++;
        leg.zone = config.zone;
        leg.link = config.link;
        leg.tag_count = config.tag_count;
        leg.tags = config.tags;
        leg.mac = world.ports[leg.port].mac;
        leg.mtu = config.mtu;
        if (!config.addresses4.empty()) {
            leg.address4 = config.addresses4.front().address;
        }
        if (!config.addresses6.empty()) {
            leg.address6 = config.addresses6.front().address;
        }
        legs.push_back(leg);
    }
    return legs;
}

std::vector<PortLegs> make_ports(const World& world, const std::vector<Leg>& legs) {
    std::vector<PortLegs> ports(world.ports.size());
    for (std::uint16_t i = 0; i < legs.size(); ++i) {
        const Leg& leg = legs[i];
        PortLegs& port = ports[leg.port];
        const auto id = [&](std::size_t tag) {
            return static_cast<std::uint16_t>(leg.tags[tag].tci.host() & kVlanIdMask);
        };
        if (leg.tag_count == 0) {
            port.untagged = i;
        } else if (leg.tag_count == 1) {
            port.tagged.resize(kVlanIdMask + 1u, kNone);
            port.tagged[id(0)] = i;
        } else {
            port.qinq.push_back({id(0), id(1), i});
        }
    }
    return ports;
}

namespace {

void reserve(NatPool& pool, std::uint16_t port) {
    if (pool.gives(port)) {
        const auto after = std::ranges::find_if(pool.reserved, [port](PortRange r) { return port < r.first; });
        pool.reserved.insert(after, {port, port});
    }
}

// What static mappings have is not for others: whole addresses, and ports on all of them.
void add_statics(const PoolConfig& from, NatPool& pool) {
    for (const NatStatic& mapping : from.statics) {
        if (mapping.whole_host()) {
            pool.addresses = subtract(pool.addresses, {{mapping.outside, mapping.outside}});
        } else {
            reserve(pool, mapping.outside_port.host());
        }
    }
    pool.statics = NatStatics{from.statics};
    if (!from.from_microsoft.empty()) {
        NatPool source;
        source.zone = from.zone;
        source.addresses = from.from_microsoft;
        source.address_count = static_cast<std::uint32_t>(count_addresses(source.addresses));
        pool.from_microsoft = std::make_shared<const NatPool>(std::move(source));
    }
}

}  // namespace

std::vector<NatPool> make_pools(const Config& config) {
    std::vector<NatPool> pools;
    for (const PoolConfig& from : config.pools) {
        NatPool pool;
        pool.zone = from.zone;
        pool.link = from.link;
        pool.addresses = from.ranges;
        pool.first_port = from.first_port;
        pool.last_port = from.last_port;
        pool.reserved = from.reserved;
        pool.mapping = from.mapping;
        // Public peering takes no session from outside, whatever its mapping.
        pool.open_filter = from.mapping == NatMapping::endpoint_independent && from.zone != Zone::public_peering;
        pool.host_sessions = from.host_sessions;
        pool.host_rate = from.host_rate;
        pool.block_ports = from.block_ports;
        pool.host_blocks = from.host_blocks;
        pool.timeouts = from.timeouts;
        pool.any_protocol = from.any_protocol;
        pool.inbound_refresh = from.inbound_refresh;
        add_statics(from, pool);
        pool.address_count = static_cast<std::uint32_t>(count_addresses(pool.addresses));
        pools.push_back(std::move(pool));
    }
    return pools;
}

namespace {

// What is certain to fit whatever is negotiated: of the suites that may be used, the one that leaves least room.
EspLayout widest_layout(const TunnelConfig& config, const TunnelSas& sas) {
    if (!config.ike) {
        return sas.layout;
    }
    const auto room = [](EspLayout l) { return max_inner_len(kMtuForWidest, l, OuterIp::ipv4, EspCarrier::udp); };
    EspLayout widest = layout_of(Suite::aes_256_gcm);
    for (const SuiteChoice choice : config.ike->suites) {
        const EspLayout layout = layout_of(choice.suite, choice.icv_len);
        widest = room(layout) < room(widest) ? layout : widest;
    }
    return widest;
}

// With a peer that keeps a narrow replay window the order of numbers must hold on the path: one worker seals.
std::uint16_t owner_of(const Config& config, std::size_t tunnel) noexcept {
    const bool narrow = config.tunnels[tunnel].peer_window < kWideWindow;
    return narrow && config.workers.count > 1 ? static_cast<std::uint16_t>(tunnel % config.workers.count) : kNone;
}

void set_rules(Tunnel& tunnel, const Config& config, std::size_t index) {
    const TunnelConfig& from = config.tunnels[index];
    tunnel.local = from.local;
    tunnel.df = from.outer.df;
    tunnel.hop_limit = from.outer.hop_limit;
    tunnel.flow_label = from.outer.flow_label;
    tunnel.ecn = from.outer.ecn;
    tunnel.dscp_map =
        static_cast<std::uint8_t>(from.outer.dscp == DscpRule::fixed ? kFirstFixedDscp + from.outer.fixed_dscp
                                                                     : static_cast<std::uint8_t>(from.outer.dscp));
    tunnel.spread = from.spread_decryption;
    tunnel.owner = owner_of(config, index);
}

}  // namespace

std::vector<Tunnel> make_tunnels(const World& world, const std::vector<Leg>& legs) {
    std::vector<Tunnel> tunnels;
    tunnels.reserve(world.config.tunnels.size());
    auto netdev =
        static_cast<std::uint16_t>(std::ranges::count_if(legs, [](const Leg& leg) { return leg.netdev != kNone; }));
    for (std::size_t i = 0; i < world.config.tunnels.size(); ++i) {
        const TunnelConfig& config = world.config.tunnels[i];
        const TunnelSas& sas = world.sas[i];
        Tunnel tunnel;
        tunnel.netdev = config.netdev ? netdev++ : kNone;
        set_rules(tunnel, world.config, i);
        tunnel.remote = remote_of(config, sas);
        const Encapsulation widest =
            config.ike ? Encapsulation{kNatTraversalPort, kNatTraversalPort} : sas.encapsulation;
        set_encapsulation(tunnel, widest, widest_layout(config, sas), std::min(config.mtu, legs[config.leg].mtu));
        tunnels.push_back(tunnel);
    }
    return tunnels;
}

void set_encapsulation(Tunnel& tunnel, Encapsulation encapsulation, EspLayout layout, std::size_t limit) noexcept {
    tunnel.encapsulation = encapsulation;
    make_outer_header(tunnel);
    const EspCarrier carrier = encapsulation.udp() ? EspCarrier::udp : EspCarrier::ip;
    const OuterIp ip = tunnel.local.is_v4() ? OuterIp::ipv4 : OuterIp::ipv6;
    const auto inner = static_cast<std::uint16_t>(max_inner_len(limit, layout, ip, carrier));
    constexpr std::uint16_t kTcp4 = sizeof(Ipv4Header) + sizeof(TcpHeader);
    constexpr std::uint16_t kTcp6 = sizeof(Ipv6Header) + sizeof(TcpHeader);
    tunnel.inner_mtu = inner;
    tunnel.mss4 = static_cast<std::uint16_t>(inner > kTcp4 ? inner - kTcp4 : 0);
    tunnel.mss6 = static_cast<std::uint16_t>(inner > kTcp6 ? inner - kTcp6 : 0);
}

// RFC 4594 says what the classes are for: each keeps the treatment it came for, as far as there is one.
DscpMap microsoft_dscp_map() noexcept {
    constexpr std::uint8_t kCs0 = 0, kAf11 = 10, kAf21 = 18, kCs3 = 24, kAf41 = 34, kEf = 46;
    DscpMap map{};  // without a class of their own: best effort
    const auto set = [&](std::initializer_list<std::uint8_t> from, std::uint8_t to) {
        for (const std::uint8_t dscp : from) {
            map[dscp] = to;
        }
    };
    set({8, 1}, kCs0);                              // CS1 and LE: background, never above best effort
    set({10, 12, 14}, kAf11);                       // AF1x: bulk data
    set({16, 18, 20, 22}, kAf21);                   // CS2, AF2x: low latency data
    set({24, 26, 28, 30, 48, 56}, kCs3);            // CS3, AF3x: signalling; CS6, CS7: routing
    set({32, 34, 36, 38}, kAf41);                   // CS4, AF4x: video
    set({40, 44, 46}, kEf);                         // CS5, VA, EF: voice
    return map;
}

std::vector<DscpMap> make_dscp_maps(const Config& config) {
    std::vector<DscpMap> maps{identity_dscp_map(), microsoft_dscp_map()};
    const bool any_fixed = std::ranges::any_of(
        config.tunnels, [](const TunnelConfig& tunnel) { return tunnel.outer.dscp == DscpRule::fixed; });
    for (std::uint8_t dscp = 0; any_fixed && dscp < 64; ++dscp) {
        DscpMap& map = maps.emplace_back();
        map.fill(dscp);
    }
    return maps;
}

std::uint16_t pool_of(const Config& config, Zone zone, Link link) noexcept {
    const auto serves = [&](const PoolConfig& pool) {
        return pool.zone == zone && (pool.link == Link::none || pool.link == link);
    };
    auto it = std::ranges::find_if(config.pools, [&](const PoolConfig& p) { return serves(p) && !p.removed(); });
    if (it == config.pools.end()) {  // the sessions of one that was taken away go on
        it = std::ranges::find_if(config.pools, [&](const PoolConfig& p) { return serves(p) && !p.draining.empty(); });
    }
    return it == config.pools.end() ? kNone : static_cast<std::uint16_t>(it - config.pools.begin());
}

Egress leg_egress(const Leg& leg, std::uint16_t leg_index, const MacAddress& neighbour) {
    Egress egress;
    egress.kind = EgressKind::leg;
    egress.zone = leg.zone;
    egress.port = leg.port;
    egress.leg = leg_index;
    egress.mtu = leg.mtu;
    std::uint8_t* out = egress.rewrite.data();
    std::memcpy(out, neighbour.data(), neighbour.size());
    std::memcpy(out + 6, leg.mac.data(), leg.mac.size());
    std::memcpy(out + 12, leg.tags.data(), leg.tag_count * sizeof(VlanTag));
    egress.rewrite_length = static_cast<std::uint8_t>(12 + leg.tag_count * sizeof(VlanTag));
    return egress;
}

}  // namespace twinspan
