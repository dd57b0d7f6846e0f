// Contradictions between the parts of a configuration, and the addressing rules of ExpressRoute circuits.
#include "control/config/draft.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

namespace twinspan {

namespace {

std::string line(SourcePosition at) { return "line " + std::to_string(at.line); }

// IEEE 802.1Q: a port's frames are told apart by their tags alone.
void check_vlan_stacks(Diagnostics& diagnostics, const Draft& draft) {
    std::map<std::tuple<std::string, unsigned, std::uint16_t, std::uint16_t>, std::size_t> seen;
    for (std::size_t i = 0; i < draft.config.legs.size(); ++i) {
        const LegConfig& leg = draft.config.legs[i];
        const auto [first, is_new] =
            seen.emplace(std::tuple{leg.port, leg.tag_count, leg.tags[0].tci.host(), leg.tags[1].tci.host()}, i);
        if (!is_new && !leg.port.empty()) {
            const std::string stack = leg.tag_count == 0   ? "an untagged leg"
                                      : leg.tag_count == 1 ? "VLAN " + std::to_string(leg.tags[0].tci.host())
                                                           : "VLAN " + std::to_string(leg.tags[0].tci.host()) + "." +
                                                                 std::to_string(leg.tags[1].tci.host());
            diagnostics.add(draft.legs[i], "found " + stack + " on port '" + leg.port +
                                               "' again, expected another VLAN than that of " +
                                               line(draft.legs[first->second]));
        }
    }
}

void check_netdev_names(Diagnostics& diagnostics, const Draft& draft) {
    std::map<std::string, SourcePosition> seen;
    const auto check = [&](const std::string& name, SourcePosition at) {
        const auto [first, is_new] = seen.emplace(name, at);
        if (!is_new) {
            diagnostics.add(
                at, "found netdev name '" + name + "' again, expected another than that of " + line(first->second));
        }
    };
    for (std::size_t i = 0; i < draft.config.legs.size(); ++i) {
        check(draft.config.legs[i].netdev, draft.leg_netdevs[i]);
    }
    for (std::size_t i = 0; i < draft.config.tunnels.size(); ++i) {
        const TunnelConfig& tunnel = draft.config.tunnels[i];
        if (tunnel.netdev && !tunnel.name.empty()) {
            check(tunnel.name, draft.tunnel_names[i]);
        }
    }
}

// Each link has a subnet of its own; the customer takes the first usable address, Microsoft the second.
template <class Address>
void check_circuit_address(Diagnostics& diagnostics, const Located<Address>& address, std::uint8_t length,
                           Address ours) {
    const std::string subnet = "/" + std::to_string(length);
    if (address.value.length != length) {
        diagnostics.add(address.at, "found " + to_string(address.value) + ", expected a " + subnet +
                                        ": each link of a circuit has its own (Azure splits a /" +
                                        std::to_string(length - 1) + " in two)");
    } else if (address.value != ours) {
        diagnostics.add(address.at, "found " + to_string(address.value) + ", expected " + to_string(ours) +
                                        ": ours is the first usable address of the " + subnet +
                                        ", the second is Microsoft's");
    }
}

InterfaceAddress4 first_usable(InterfaceAddress4 a) { return {to_be32(a.network().address.host() + 1), a.length}; }

InterfaceAddress6 first_usable(const InterfaceAddress6& a) {
    InterfaceAddress6 out{a.network().address, a.length};
    ++out.address.back();
    return out;
}

// RFC 1122 section 3.2.1.3: not an address of a host.
bool is_host_address(InterfaceAddress4 a) {
    const std::uint32_t host = a.address.host();
    const bool special = host >> 24 == 0 || host >> 24 == 127 || host >> 28 >= 0xe;
    const bool edge = a.length < 31 && (a.address == a.network().address || a.address == a.network().last());
    return !special && !edge;
}

bool is_host_address(const InterfaceAddress6& a) {
    return a.address[0] != 0xff && a.address != Ipv6Address{} &&
           a.address != Ipv6Address{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
}

template <class Address>
void check_overlap(Diagnostics& diagnostics, const std::vector<Located<Address>>& addresses, std::size_t index) {
    const Located<Address>& mine = addresses[index];
    for (std::size_t i = 0; i < index; ++i) {
        const Located<Address>& other = addresses[i];
        if (mine.value.address == other.value.address) {
            diagnostics.add(mine.at, "found " + to_string(mine.value) +
                                         " again, expected another address than that of " + line(other.at));
            return;
        }
        if (mine.owner != other.owner && mine.value.network().overlaps(other.value.network())) {
            diagnostics.add(mine.at, "found " + to_string(mine.value) + ", expected a subnet apart from " +
                                         to_string(other.value) + " of another leg (" + line(other.at) + ")");
            return;
        }
    }
}

void check_addresses(Diagnostics& diagnostics, const Draft& draft) {
    for (std::size_t i = 0; i < draft.addresses4.size(); ++i) {
        const Located<InterfaceAddress4>& address = draft.addresses4[i];
        const LegConfig& leg = draft.config.legs[address.owner];
        if (leg.link != Link::none) {
            check_circuit_address(diagnostics, address, 30, first_usable(address.value));
        } else if (!is_host_address(address.value)) {
            diagnostics.add(address.at,
                            "found " + to_string(address.value) + ", expected an address that a host may have");
        }
        if (carries_public_addresses_only(leg.zone) &&
            touches_private_space(Ipv4Range{address.value.address, address.value.address})) {
            diagnostics.add(address.at, "found the private address " + to_string(address.value) +
                                            ", expected a public one: peering " + to_string(leg.zone) +
                                            " carries public addresses only (RFC 1918, 6598, 3927)");
        }
        check_overlap(diagnostics, draft.addresses4, i);
    }
    std::vector<Located<InterfaceAddress6>> global;
    std::ranges::copy_if(draft.addresses6, std::back_inserter(global),
                         [](const auto& a) { return !kLinkLocal6.contains(a.value.address); });
    for (std::size_t i = 0; i < global.size(); ++i) {
        const LegConfig& leg = draft.config.legs[global[i].owner];
        if (leg.zone == Zone::public_peering) {
            diagnostics.add(global[i].at,
                            "found " + to_string(global[i].value) + ", expected IPv4 only: public peering has no IPv6");
        } else if (leg.link != Link::none) {
            check_circuit_address(diagnostics, global[i], 126, first_usable(global[i].value));
        } else if (!is_host_address(global[i].value)) {
            diagnostics.add(global[i].at,
                            "found " + to_string(global[i].value) + ", expected an address that a host may have");
        }
        check_overlap(diagnostics, global, i);
    }
}

// What Azure never announces there, and what must not leave there: the default route and private addresses.
void check_accept(Diagnostics& diagnostics, const Draft& draft) {
    for (const Located<Prefix4>& accept : draft.accept4) {
        const Zone zone = draft.config.accept[accept.owner].zone;
        if (carries_public_addresses_only(zone) && touches_private_space(to_prefix(accept.value))) {
            diagnostics.add(accept.at, "found " + to_string(accept.value) + ", expected public prefixes: peering " +
                                           to_string(zone) + " carries no private addresses and no default route");
        }
    }
    for (const Located<Prefix6>& accept : draft.accept6) {
        const Zone zone = draft.config.accept[accept.owner].zone;
        if (carries_public_addresses_only(zone) && touches_private_space(to_prefix(accept.value))) {
            diagnostics.add(accept.at, "found " + to_string(accept.value) + ", expected public prefixes: peering " +
                                           to_string(zone) + " carries no private addresses and no default route");
        }
    }
}

}  // namespace

void check_draft(Diagnostics& diagnostics, Draft& draft) {
    check_vlan_stacks(diagnostics, draft);
    check_netdev_names(diagnostics, draft);
    check_addresses(diagnostics, draft);
    check_pools(diagnostics, draft);
    check_accept(diagnostics, draft);
    check_tunnels(diagnostics, draft);
    check_routing(diagnostics, draft);
}

}  // namespace twinspan
