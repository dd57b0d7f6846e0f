// Every key of a configuration file, by section. The parser, its suggestions and the test of the reference page use it.
#pragma once

#include <array>
#include <span>
#include <string_view>

namespace twinspan::schema {

using Keys = std::span<const std::string_view>;

inline constexpr std::string_view kTop[] = {"version", "name",    "role",    "dpdk",     "workers",
                                            "limits",  "ports",   "circuit", "bgp",      "peerings",
                                            "tunnels", "encrypt", "nat-log", "state-dir"};
inline constexpr std::string_view kDpdk[] = {"hugepages", "memory", "buffers", "args"};
inline constexpr std::string_view kWorkers[] = {"count", "idle", "cpus"};
inline constexpr std::string_view kLimits[] = {"punt", "icmp-errors", "routes-ipv4", "routes-ipv6"};
inline constexpr std::string_view kPort[] = {"device", "shared", "mtu"};
inline constexpr std::string_view kCircuit[] = {"name", "bandwidth", "sku", "primary", "secondary"};
inline constexpr std::string_view kBgp[] = {"asn", "router-id", "announce"};
inline constexpr std::string_view kPeerings[] = {"lan", "private", "public", "microsoft", "internet"};
inline constexpr std::string_view kPeering[] = {"legs", "nat", "accept", "bgp", "fallback"};
inline constexpr std::string_view kPeeringBgp[] = {"password-file",    "keepalive",      "hold",         "bfd",
                                                   "bfd-interval",     "bfd-multiplier", "max-prefixes", "communities",
                                                   "local-preference", "prepend",        "announce"};
inline constexpr std::string_view kLeg[] = {"link", "port", "vlan", "addresses", "netdev", "mtu", "bgp"};
inline constexpr std::string_view kLegBgp[] = {"peer",         "peer-asn",    "password-file",    "keepalive",
                                               "hold",         "bfd",         "bfd-interval",     "bfd-multiplier",
                                               "max-prefixes", "communities", "local-preference", "prepend"};
inline constexpr std::string_view kVlan[] = {"outer", "inner", "ethertype"};
inline constexpr std::string_view kNat[] = {"pool",     "ports",      "protocols", "inbound-refresh", "reserved",
                                            "mode",     "host-limit", "host-rate", "port-blocks",     "timeouts",
                                            "sessions", "high-water", "low-water", "static",          "from-microsoft"};
inline constexpr std::string_view kLinkPools[] = {"primary", "secondary"};
inline constexpr std::string_view kPortBlocks[] = {"size", "per-host"};
inline constexpr std::string_view kStatic[] = {"outside", "inside", "protocol", "port", "inside-port"};
inline constexpr std::string_view kTimeouts[] = {"udp",  "tcp-established", "tcp-transitory", "tcp-closing", "icmp",
                                                 "other"};
inline constexpr std::string_view kNatLog[] = {"collector", "transport", "sessions",         "mappings",
                                               "rate",      "domain",    "template-refresh", "template-messages"};
inline constexpr std::string_view kTunnel[] = {"if-id",  "link",    "local",      "remote",      "mtu",     "sa-file",
                                               "netdev", "address", "ike",        "bgp",         "dscp",    "ecn",
                                               "df",     "ttl",     "flow-label", "peer-window", "decrypt", "lifetime"};
inline constexpr std::string_view kLifetime[] = {"bytes", "packets", "time"};
inline constexpr std::string_view kIke[] = {
    "psk-file", "certificate", "key",   "ca",         "local-id",    "remote-id",     "proposals",     "esp-proposals",
    "dpd",      "initiate",    "nat-t", "rekey-time", "rekey-bytes", "rekey-packets", "replay-window", "selectors"};
inline constexpr std::string_view kSelectors[] = {"local", "remote"};
inline constexpr std::string_view kTunnelBgp[] = {"peer",         "peer-asn",         "keepalive", "hold",
                                                  "max-prefixes", "local-preference", "prepend"};
inline constexpr std::string_view kSaFile[] = {"udp-encapsulation", "extended-sequence-numbers", "outbound", "inbound"};
inline constexpr std::string_view kOutboundSa[] = {"spi", "suite", "key", "integrity-key", "icv"};
inline constexpr std::string_view kInboundSa[] = {"spi", "suite", "key", "integrity-key", "icv", "replay-window"};

struct Section {
    std::string_view path;  // the heading of docs/configuration.md
    Keys keys;
};
inline constexpr auto kSections = std::to_array<Section>({
    {"Top level", kTop},
    {"dpdk", kDpdk},
    {"workers", kWorkers},
    {"limits", kLimits},
    {"ports.NAME", kPort},
    {"circuit", kCircuit},
    {"bgp", kBgp},
    {"peerings", kPeerings},
    {"peerings.PEERING", kPeering},
    {"peerings.PEERING.bgp", kPeeringBgp},
    {"peerings.PEERING.legs[]", kLeg},
    {"peerings.PEERING.legs[].bgp", kLegBgp},
    {"peerings.PEERING.legs[].vlan", kVlan},
    {"peerings.PEERING.nat", kNat},
    {"peerings.PEERING.nat.pool", kLinkPools},
    {"peerings.PEERING.nat.port-blocks", kPortBlocks},
    {"peerings.PEERING.nat.timeouts", kTimeouts},
    {"peerings.PEERING.nat.static[]", kStatic},
    {"nat-log", kNatLog},
    {"tunnels.NAME", kTunnel},
    {"tunnels.NAME.lifetime", kLifetime},
    {"tunnels.NAME.ike", kIke},
    {"tunnels.NAME.ike.selectors", kSelectors},
    {"tunnels.NAME.bgp", kTunnelBgp},
    {"SA file", kSaFile},
    {"SA file: outbound", kOutboundSa},
    {"SA file: inbound", kInboundSa},
});

}  // namespace twinspan::schema
