// The whole configuration as plain values: parsed, completed with defaults and free of contradictions.
#pragma once

#include "control/config/bgp_config.hpp"
#include "control/config/ike_config.hpp"
#include "control/config/nat_log_config.hpp"
#include "control/config/prefix.hpp"
#include "dataplane/base/zone.hpp"
#include "dataplane/config/nat_static.hpp"
#include "dataplane/config/snapshot.hpp"
#include "dataplane/packet/headers.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace twinspan {

enum class Role : std::uint8_t { on_premises, azure };

struct DpdkConfig {
    bool hugepages = true;
    std::uint32_t memory_mib = 1024;
    std::uint32_t buffers = 32768;  // mbufs in the pool
    std::vector<std::string> args;  // for EAL, as they are
    friend bool operator==(const DpdkConfig&, const DpdkConfig&) = default;
};

enum class IdlePolicy : std::uint8_t { sleep, poll };

struct WorkersConfig {
    std::uint16_t count = 1;
    IdlePolicy idle = IdlePolicy::sleep;
    std::vector<unsigned> cpus;  // empty, or one per worker
    friend bool operator==(const WorkersConfig&, const WorkersConfig&) = default;
};

struct PortConfig {
    std::string name;
    std::string device;  // either this,
    std::string shared{};  // or the netdev of a NIC that Linux keeps
    std::uint16_t mtu = 1500;
    friend bool operator==(const PortConfig&, const PortConfig&) = default;
};

enum class CircuitSku : std::uint8_t { standard, premium };

struct CircuitConfig {
    std::string name;
    CircuitSku sku = CircuitSku::standard;
    std::uint64_t bandwidth_bps = 0;
    std::string primary_port;
    std::string secondary_port;  // may be the same port as the primary's
    friend bool operator==(const CircuitConfig&, const CircuitConfig&) = default;
};

inline bool operator==(VlanTag a, VlanTag b) noexcept { return a.tpid == b.tpid && a.tci == b.tci; }
inline bool operator==(const NatStatic& a, const NatStatic& b) noexcept {
    return a.outside == b.outside && a.inside == b.inside && a.protocol == b.protocol &&
           a.outside_port == b.outside_port && a.inside_port == b.inside_port;
}
inline bool operator==(Ipv4Range a, Ipv4Range b) noexcept { return a.first == b.first && a.last == b.last; }
inline bool operator==(PortRange a, PortRange b) noexcept { return a.first == b.first && a.last == b.last; }
inline bool operator==(const NatTimeouts& a, const NatTimeouts& b) noexcept {
    const auto all = [](const NatTimeouts& t) {
        return std::array{t.udp, t.tcp_established, t.tcp_transitory, t.tcp_closing, t.icmp, t.other};
    };
    return all(a) == all(b);
}

struct LegConfig {
    Zone zone = Zone::lan;
    Link link = Link::none;
    std::string port;            // resolved: also when the file names the link
    std::string netdev;          // at most 15 characters, unique
    std::uint16_t mtu = 1500;
    std::uint8_t tag_count = 0;  // as in Snapshot's Leg: outer first, TCI holds the VLAN id
    std::array<VlanTag, 2> tags{};
    std::vector<InterfaceAddress4> addresses4;
    std::vector<InterfaceAddress6> addresses6;
    std::optional<LegBgp> bgp;
    friend bool operator==(const LegConfig&, const LegConfig&) = default;
};

struct PoolConfig {
    Zone zone = Zone::microsoft_peering;
    Link link = Link::none;         // none: of all legs of the peering
    std::vector<Ipv4Range> ranges;  // disjoint, ascending; none: a reload has taken the pool away
    // What reloads have taken out, until the last session there ends. Disjoint, ascending.
    std::vector<Ipv4Range> draining{};
    std::uint16_t first_port = 1024;
    std::uint16_t last_port = 65535;
    std::vector<PortRange> reserved;  // of these, disjoint, ascending
    NatMapping mapping = NatMapping::endpoint_dependent;
    std::uint32_t host_sessions = 0;  // most of one inside host; 0: no limit
    std::uint32_t host_rate = 0;      // sessions that a host may begin in a second; 0: no limit
    std::uint16_t block_ports = 0;    // 0: no blocks
    std::uint16_t host_blocks = 1;
    NatTimeouts timeouts;           // seconds
    bool any_protocol = false;      // those without ports, too
    bool inbound_refresh = true;
    std::vector<NatStatic> statics;
    std::vector<Ipv4Range> from_microsoft;  // disjoint, ascending: what sources from outside become
    std::uint32_t sessions = 65536;
    std::uint8_t high_water = 80;   // percent of them
    std::uint8_t low_water = 60;

    bool has(be32 address) const noexcept {
        return std::ranges::any_of(ranges, [address](Ipv4Range r) { return r.first <= address && address <= r.last; });
    }
    bool removed() const noexcept { return ranges.empty(); }
    friend bool operator==(const PoolConfig&, const PoolConfig&) = default;
};

// The destinations that may be reached over one peering. No entry for a peering: any.
struct AcceptConfig {
    Zone zone = Zone::microsoft_peering;
    std::vector<Prefix4> prefixes4;
    std::vector<Prefix6> prefixes6;
    friend bool operator==(const AcceptConfig&, const AcceptConfig&) = default;
};

enum class DscpRule : std::uint8_t { copy, microsoft, fixed };

// How the outer header follows from the inner one.
struct OuterHeaderConfig {
    DscpRule dscp = DscpRule::copy;
    std::uint8_t fixed_dscp = 0;
    EcnRule ecn = EcnRule::normal;
    DfRule df = DfRule::set;
    std::uint8_t hop_limit = kDefaultHopLimit;
    FlowLabelRule flow_label = FlowLabelRule::hash;
    friend bool operator==(const OuterHeaderConfig&, const OuterHeaderConfig&) = default;
};

// Of static keys, for each SA; 0: no limit. At nine tenths of one the log warns.
struct LifetimeConfig {
    std::uint64_t bytes = 0;
    std::uint64_t packets = 0;
    std::uint32_t seconds = 0;
    friend bool operator==(const LifetimeConfig&, const LifetimeConfig&) = default;
};

struct TunnelConfig {
    std::string name;
    std::uint32_t if_id = 0;
    Link link = Link::none;  // that of its leg
    std::size_t leg = 0;     // index in Config::legs: the one that has `local`
    IpAddress local;         // both of one version
    IpAddress remote;
    std::uint16_t mtu = 1500;  // largest outer packet
    OuterHeaderConfig outer;
    std::uint32_t peer_window = 32;  // the peer's replay window: with a narrow one only one worker encrypts
    bool spread_decryption = false;
    LifetimeConfig lifetime;
    std::filesystem::path sa_file;               // empty with `ike`
    bool netdev = true;
    std::optional<InterfaceAddress4> address;  // of its netdev
    std::optional<IkeConfig> ike;
    std::optional<TunnelBgp> bgp;
    friend bool operator==(const TunnelConfig&, const TunnelConfig&) = default;
};

struct LimitsConfig {
    std::uint32_t punt_pps = 10000;        // to Linux, per worker, of each PuntClass
    std::uint32_t icmp_errors_pps = 1000;  // made here, per worker
    std::uint32_t routes_ipv4 = 1u << 21;
    std::uint32_t routes_ipv6 = 1u << 15;
    friend bool operator==(const LimitsConfig&, const LimitsConfig&) = default;
};

struct Config {
    unsigned version = 1;
    std::string name = "twinspan";
    Role role = Role::on_premises;
    DpdkConfig dpdk;
    WorkersConfig workers;
    LimitsConfig limits;
    std::vector<PortConfig> ports;  // in the order of the file, like all that follows
    std::optional<CircuitConfig> circuit;
    std::optional<BgpConfig> bgp;
    std::vector<LegConfig> legs;
    std::vector<PoolConfig> pools;  // an index is the pool's number in session keys, whatever reloads do
    std::vector<AcceptConfig> accept;
    std::vector<PeeringBgp> peering_bgp;
    std::vector<FallbackConfig> fallback;
    std::vector<TunnelConfig> tunnels;
    std::vector<Prefix4> encrypt4;
    std::vector<Prefix6> encrypt6;
    std::optional<NatLogConfig> nat_log;
    std::filesystem::path state_dir;

    // Room for the sessions of all pools; 0 without pools.
    std::uint32_t nat_sessions() const noexcept;

    friend bool operator==(const Config&, const Config&) = default;
};

// How many prefixes Microsoft's router takes on one session of a peering: beyond that it drops the session.
std::uint32_t prefix_limit4(const Config& config, Zone zone) noexcept;
std::uint32_t prefix_limit6(Zone zone) noexcept;

// The word of the configuration file: "lan", "private", "public", "microsoft", "internet"; other zones by their own
// name.
std::string to_string(Zone zone);
std::string to_string(Link link);  // "primary", "secondary", "none"
// What a pool is known by: its peering, and its link where each has one: "microsoft", "microsoft primary".
std::string name_of(const PoolConfig& pool);

}  // namespace twinspan
