// Contradictions in the tunnels section, and between it and legs, peerings and `encrypt`.
#include "control/config/draft.hpp"

#include <algorithm>
#include <map>

namespace twinspan {

namespace {

constexpr std::uint16_t kMtuInVnet = 1400;
constexpr std::uint16_t kMtuBetweenHosts = 1500;

std::string line(SourcePosition at) { return "line " + std::to_string(at.line); }

void check_tunnel_keys(Diagnostics& diagnostics, const Draft& draft) {
    std::map<std::uint32_t, SourcePosition> if_ids;
    std::map<std::filesystem::path, SourcePosition> files;
    for (std::size_t i = 0; i < draft.config.tunnels.size(); ++i) {
        const TunnelConfig& tunnel = draft.config.tunnels[i];
        const TunnelPositions& at = draft.tunnels[i];
        if (at.if_id.line != 0) {
            if (const auto [first, is_new] = if_ids.emplace(tunnel.if_id, at.if_id); !is_new) {
                diagnostics.add(at.if_id, "found if-id " + std::to_string(tunnel.if_id) +
                                              " again, expected another than that of " + line(first->second));
            }
        }
        if (at.sa_file.line != 0) {  // one key in two tunnels would repeat IVs (RFC 4106 section 3.1)
            if (const auto [first, is_new] = files.emplace(tunnel.sa_file, at.sa_file); !is_new) {
                diagnostics.add(at.sa_file, "found sa-file '" + tunnel.sa_file.string() +
                                                "' again, expected keys of its own, not those of " +
                                                line(first->second));
            }
        }
    }
}

// One of a leg's addresses.
struct OwnAddress {
    IpAddress address;
    std::size_t leg;
};

std::vector<OwnAddress> own_addresses(const Draft& draft) {
    std::vector<OwnAddress> out;
    for (const Located<InterfaceAddress4>& address : draft.addresses4) {
        out.push_back({IpAddress::from(address.value.address), address.owner});
    }
    for (const Located<InterfaceAddress6>& address : draft.addresses6) {
        out.push_back({IpAddress::from(address.value.address), address.owner});
    }
    return out;
}

std::string list_of_addresses(const Draft& draft, Link link) {
    constexpr std::size_t kMost = 8;
    std::string out;
    std::size_t count = 0;
    for (const OwnAddress& own : own_addresses(draft)) {
        if (link != Link::none && draft.config.legs[own.leg].link != link) {
            continue;
        }
        if (++count > kMost) {
            return out + ", ...";
        }
        out += (out.empty() ? "" : ", ") + own.address.text();
    }
    return out.empty() ? "none" : out;
}

// A virtual network carries 1,400 bytes and fragments what is larger, and Azure drops fragments out of order.
std::uint16_t default_mtu(const Config& config, const LegConfig& leg) noexcept {
    const bool to_azure = config.role == Role::azure || leg.zone == Zone::private_peering ||
                          leg.zone == Zone::microsoft_peering || leg.zone == Zone::public_peering;
    return std::min<std::uint16_t>(to_azure ? kMtuInVnet : kMtuBetweenHosts, leg.mtu);
}

// Finds the leg that has the tunnel's local address; reports what does not match it.
void check_tunnel_local(Diagnostics& diagnostics, const Draft& draft, TunnelConfig& tunnel, const TunnelPositions& at) {
    const std::vector<OwnAddress> own = own_addresses(draft);
    const auto ours = std::ranges::find(own, tunnel.local, &OwnAddress::address);
    if (ours == own.end()) {
        diagnostics.add(at.local, "found " + tunnel.local.text() + ", expected an address of one of our legs (" +
                                      list_of_addresses(draft, tunnel.link) + ")");
        return;
    }
    tunnel.leg = ours->leg;
    const LegConfig& leg = draft.config.legs[tunnel.leg];
    if (at.link.line != 0 && leg.link != tunnel.link) {
        diagnostics.add(at.local, "found " + tunnel.local.text() + " of leg " + leg.netdev +
                                      ", expected an address on the " + to_string(tunnel.link) + " link (" +
                                      list_of_addresses(draft, tunnel.link) + ")");
        return;
    }
    const auto port = std::ranges::find(draft.config.ports, leg.port, &PortConfig::name);
    if (!tunnel.local.is_v4() && port != draft.config.ports.end() && !port->shared.empty() && leg.tag_count == 0) {
        diagnostics.add(at.local, "found " + tunnel.local.text() + " on shared port '" + leg.port +
                                      "', expected an IPv4 address: its XDP program takes ESP over IPv4 only");
    }
    tunnel.link = leg.link;
    if (at.mtu.line == 0) {
        tunnel.mtu = default_mtu(draft.config, leg);
    } else if (tunnel.mtu > leg.mtu) {
        diagnostics.add(at.mtu, "found MTU " + std::to_string(tunnel.mtu) + ", expected at most the " +
                                    std::to_string(leg.mtu) + " of leg " + leg.netdev);
    }
}

template <class Prefix>
void check_not_encrypted(Diagnostics& diagnostics, const std::vector<Located<Prefix>>& encrypted,
                         const TunnelConfig& tunnel, const TunnelPositions& at) {
    for (const Located<Prefix>& encrypt : encrypted) {
        if (to_prefix(encrypt.value).contains(tunnel.remote)) {
            diagnostics.add(at.remote, "found remote " + tunnel.remote.text() + ", expected it outside of " +
                                           to_string(encrypt.value) + " under encrypt (" + line(encrypt.at) +
                                           "): a tunnel's own packets are not encrypted again");
        }
    }
}

void check_tunnel_remote(Diagnostics& diagnostics, const Draft& draft, const TunnelConfig& tunnel,
                         const TunnelPositions& at) {
    const std::string found = "found remote " + tunnel.remote.text() + ", expected ";
    if (tunnel.remote.family != tunnel.local.family) {
        diagnostics.add(at.remote, found + "an IPv" + (tunnel.local.is_v4() ? "4" : "6") + " address like 'local' " +
                                       tunnel.local.text() + ": both ends of a tunnel are of one version");
        return;
    }
    check_not_encrypted(diagnostics, draft.encrypt4, tunnel, at);
    check_not_encrypted(diagnostics, draft.encrypt6, tunnel, at);
    if (!draft.peerings_complete) {
        return;
    }
    const std::vector<OwnAddress> own = own_addresses(draft);
    if (std::ranges::find(own, tunnel.remote, &OwnAddress::address) != own.end()) {
        diagnostics.add(at.remote, found + "another gateway's address: this one is ours");
    }
    const Zone zone = draft.config.legs[tunnel.leg].zone;
    const auto accept = std::ranges::find(draft.config.accept, zone, &AcceptConfig::zone);
    const auto covers = [&](const auto& prefix) { return to_prefix(prefix).contains(tunnel.remote); };
    if (accept != draft.config.accept.end() && std::ranges::none_of(accept->prefixes4, covers) &&
        std::ranges::none_of(accept->prefixes6, covers)) {
        diagnostics.add(at.remote, found + "an address under 'accept' of peering " + to_string(zone));
    }
}

// What means nothing for this tunnel: a key that was given for it is a mistake.
void check_tunnel_rules(Diagnostics& diagnostics, const TunnelConfig& tunnel, const TunnelPositions& at) {
    if (at.df.line != 0 && !tunnel.local.is_v4()) {
        diagnostics.add(at.df,
                        "found df in a tunnel over IPv6, expected it over IPv4 only: IPv6 routers never fragment");
    }
    if (at.flow_label.line != 0 && tunnel.local.is_v4()) {
        diagnostics.add(at.flow_label, "found flow-label in a tunnel over IPv4, expected it over IPv6 only");
    }
    if (at.lifetime.line != 0 && tunnel.ike) {
        diagnostics.add(at.lifetime,
                        "found lifetime with 'ike', expected rekey-time, rekey-bytes and rekey-packets there: the "
                        "lifetime is that of static keys");
    }
}

}  // namespace

void check_tunnels(Diagnostics& diagnostics, Draft& draft) {
    check_tunnel_keys(diagnostics, draft);
    for (std::size_t i = 0; i < draft.config.tunnels.size(); ++i) {
        TunnelConfig& tunnel = draft.config.tunnels[i];
        const TunnelPositions& at = draft.tunnels[i];
        const std::size_t errors_before = diagnostics.count();
        if (at.local.line != 0) {
            check_tunnel_rules(diagnostics, tunnel, at);
        }
        if (draft.peerings_complete && at.local.line != 0) {
            check_tunnel_local(diagnostics, draft, tunnel, at);
        }
        if (at.remote.line != 0 && diagnostics.count() == errors_before && at.local.line != 0) {
            check_tunnel_remote(diagnostics, draft, tunnel, at);
        }
    }
}

}  // namespace twinspan
