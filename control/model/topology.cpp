#include "control/model/topology.hpp"

#include "crypto/esp_format.hpp"

#include <algorithm>
#include <cstring>

namespace twinspan {

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

std::vector<NatPool> make_pools(const Config& config) {
    std::vector<NatPool> pools;
    for (const PoolConfig& from : config.pools) {
        NatPool pool;
        pool.zone = from.zone;
        pool.addresses = from.ranges;
        for (const Ipv4Range range : from.ranges) {
            pool.address_count += range.last.host() - range.first.host() + 1;
        }
        pool.first_port = from.first_port;
        pool.last_port = from.last_port;
        pool.timeouts = from.timeouts;
        pools.push_back(std::move(pool));
    }
    return pools;
}

std::vector<Tunnel> make_tunnels(const World& world, const std::vector<Leg>& legs) {
    std::vector<Tunnel> tunnels;
    auto netdev =
        static_cast<std::uint16_t>(std::ranges::count_if(legs, [](const Leg& leg) { return leg.netdev != kNone; }));
    for (std::size_t i = 0; i < world.config.tunnels.size(); ++i) {
        const TunnelConfig& config = world.config.tunnels[i];
        Tunnel tunnel;
        tunnel.netdev = config.netdev ? netdev++ : kNone;
        tunnel.local = IpAddress::from(config.local);
        tunnel.remote = IpAddress::from(config.remote);
        const bool may_find_nat = config.ike.has_value();
        const Encapsulation widest =
            may_find_nat ? Encapsulation{kNatTraversalPort, kNatTraversalPort} : world.sas[i].encapsulation;
        set_encapsulation(tunnel, widest, std::min(config.mtu, legs[config.leg].mtu));
        tunnels.push_back(tunnel);
    }
    return tunnels;
}

void set_encapsulation(Tunnel& tunnel, Encapsulation encapsulation, std::size_t limit) noexcept {
    tunnel.encapsulation = encapsulation;
    make_outer_header(tunnel);
    const EspCarrier carrier = encapsulation.udp() ? EspCarrier::udp : EspCarrier::ip;
    const auto inner =
        static_cast<std::uint16_t>(max_inner_len(limit, layout_of(Suite::aes_256_gcm), OuterIp::ipv4, carrier));
    constexpr std::uint16_t kTcp4 = sizeof(Ipv4Header) + sizeof(TcpHeader);
    constexpr std::uint16_t kTcp6 = sizeof(Ipv6Header) + sizeof(TcpHeader);
    tunnel.inner_mtu = inner;
    tunnel.mss4 = static_cast<std::uint16_t>(inner > kTcp4 ? inner - kTcp4 : 0);
    tunnel.mss6 = static_cast<std::uint16_t>(inner > kTcp6 ? inner - kTcp6 : 0);
}

std::uint16_t pool_of(const Config& config, Zone zone) noexcept {
    const auto it = std::ranges::find(config.pools, zone, &PoolConfig::zone);
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
