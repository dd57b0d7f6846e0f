// What the workers know about the world. Built by control, never changed once published.
#pragma once

#include "dataplane/base/zone.hpp"
#include "dataplane/config/nat_static.hpp"
#include "dataplane/config/route_result.hpp"
#include "dataplane/config/tunnel.hpp"
#include "dataplane/packet/headers.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

namespace twinspan {

enum class Link : std::uint8_t { none, primary, secondary };

struct Leg {
    std::uint16_t port = 0;
    std::uint16_t netdev = kNone;  // index of its TAP
    Zone zone = Zone::lan;
    Link link = Link::none;
    bool up = true;                // port's link; a leg that is drained is still up
    std::uint8_t tag_count = 0;    // 0: untagged, 1: 802.1Q, 2: QinQ, outer first
    std::array<VlanTag, 2> tags{};
    MacAddress mac{};
    std::uint16_t mtu = 1500;
    be32 address4{};               // source of ICMP errors; 0 when the leg has none
    Ipv6Address address6{};
};

// How a port's frames map to legs.
struct PortLegs {
    std::uint16_t untagged = kNone;
    std::vector<std::uint16_t> tagged;  // by VLAN id, kNone where none; empty or 4096 long
    struct QinQ {
        std::uint16_t outer, inner, leg;
    };
    std::vector<QinQ> qinq;
};

enum class EgressKind : std::uint8_t {
    leg,     // rewrite the L2 header, transmit
    nat,     // the same, after source NAT from `pool`
    tunnel,  // encrypt into `tunnel`
    glean,   // the neighbour is not resolved: Linux gets the packet (plain) or it is dropped (NAT)
    drop,    // `reason`
};

// One way out, finished: what a member of a group stands for. Fits one cache line.
struct alignas(64) Egress {
    EgressKind kind = EgressKind::drop;
    Drop reason = Drop::no_route;
    Zone zone = Zone::lan;
    std::uint8_t rewrite_length = 0;     // Ethernet and VLAN tags, without the final ethertype
    std::uint16_t port = 0;
    std::uint16_t leg = kNone;
    std::uint16_t pool = kNone;
    std::uint16_t tunnel = kNone;
    std::uint16_t mtu = 1500;            // largest IP packet; for a tunnel, the inner one
    std::array<std::uint8_t, 24> rewrite{};  // dst, src, tags; L2Rewrite appends the ethertype
};
static_assert(sizeof(Egress) == 64);

// Flows hash to buckets, buckets name egresses. A power of two of buckets.
struct Group {
    std::uint32_t first_bucket = 0;
    std::uint32_t bucket_mask = 0;
};

struct Ipv4Range {
    be32 first{};
    be32 last{};
};

struct NatTimeouts {  // seconds idle; RFC 4787 REQ-5, RFC 5382 REQ-5, RFC 7857 section 2.1, RFC 5508 REQ-2
    std::uint32_t udp = 300;
    std::uint32_t tcp_established = 7440;
    std::uint32_t tcp_transitory = 240;  // half open
    std::uint32_t tcp_closing = 240;     // closed by both sides, or reset
    std::uint32_t icmp = 60;
    std::uint32_t other = 300;  // protocols without ports
};

struct PortRange {
    std::uint16_t first = 0;
    std::uint16_t last = 0;
};

enum class NatMapping : std::uint8_t { endpoint_dependent, endpoint_independent };  // RFC 4787 section 4.1

struct NatPool {
    Zone zone = Zone::microsoft_peering;
    Link link = Link::none;            // none: of all legs of the zone
    std::vector<Ipv4Range> addresses;  // disjoint, ascending: where sessions begin
    std::uint32_t address_count = 0;
    std::uint16_t first_port = 1024;
    std::uint16_t last_port = 65535;
    std::vector<PortRange> reserved;  // of these, disjoint, ascending: never given
    NatMapping mapping = NatMapping::endpoint_dependent;
    bool open_filter = false;         // a mapping takes packets from anybody (RFC 4787 section 5)
    std::uint32_t host_sessions = 0;  // most of one inside host; 0: any number (RFC 6888 REQ-3)
    std::uint32_t host_rate = 0;      // most of it that begin in one second; 0: any number
    std::uint16_t block_ports = 0;    // a host has its ports in blocks of so many; 0: anywhere
    std::uint16_t host_blocks = 1;    // most of one host
    bool down = false;                // its link is: its sessions end, and none begins
    NatTimeouts timeouts;
    bool any_protocol = false;    // those without ports too, by address alone
    bool inbound_refresh = true;  // what comes in keeps a session alive, too (RFC 4787 REQ-6)

    NatStatics statics;           // their whole hosts' outside addresses are not among `addresses`
    // What hosts outside that begin sessions have for an address inside (twice NAT); null: their own.
    std::shared_ptr<const NatPool> from_microsoft;

    // Whether NatIn has to look for something with every packet.
    bool has_options() const noexcept { return !inbound_refresh || from_microsoft != nullptr; }
    bool stands_for_outside(be32 address) const noexcept {
        return from_microsoft != nullptr && from_microsoft->holds(address);
    }

    bool knows_hosts() const noexcept {
        return mapping == NatMapping::endpoint_independent || host_sessions != 0 || host_rate != 0 || block_ports != 0;
    }
    bool holds(be32 address) const noexcept {
        return std::ranges::any_of(
            addresses, [address](Ipv4Range range) { return range.first <= address && address <= range.last; });
    }
    be32 nth_address(std::uint32_t n) const noexcept {  // below address_count
        for (const Ipv4Range range : addresses) {
            const std::uint32_t size = range.last.host() - range.first.host() + 1;
            if (n < size) {
                return to_be32(range.first.host() + n);
            }
            n -= size;
        }
        return {};
    }
    bool gives(std::uint32_t port) const noexcept {
        return port >= first_port && port <= last_port &&
               std::ranges::none_of(reserved, [port](PortRange r) { return r.first <= port && port <= r.last; });
    }
    std::uint32_t port_count() const noexcept {
        std::uint32_t count = last_port - first_port + 1u;
        for (const PortRange range : reserved) {
            count -= range.last - range.first + 1u;
        }
        return count;
    }
    std::uint32_t nth_port(std::uint32_t n) const noexcept {  // of those that are given; below port_count()
        std::uint32_t port = first_port + n;
        for (const PortRange range : reserved) {
            if (port < range.first) {
                break;
            }
            port += range.last - range.first + 1u;
        }
        return port;
    }
};

// What a TAP or TUN netdev stands for.
struct Netdev {
    bool is_tunnel = false;
    std::uint16_t index = kNone;  // leg or tunnel
};

// A bulk longest-prefix-match, so that stages need not know which library does it.
struct Lookup4 {
    const void* table = nullptr;
    // dst in host order; writes one RouteResult::raw() each
    void (*bulk)(const void* table, const std::uint32_t* dst, std::uint64_t* out, unsigned n) noexcept = nullptr;
};
struct Lookup6 {
    const void* table = nullptr;
    void (*bulk)(const void* table, const Ipv6Address* dst, std::uint64_t* out, unsigned n) noexcept = nullptr;
};

struct Snapshot {
    std::uint64_t generation = 0;
    Lookup4 fib4;  // shared between snapshots, updated in place
    Lookup6 fib6;
    std::vector<PortLegs> ports;      // by port index
    std::vector<Leg> legs;
    std::vector<Group> groups;
    std::vector<std::uint16_t> buckets;
    std::vector<Egress> egresses;
    std::vector<Tunnel> tunnels;  // an index means the same tunnel in every snapshot: packets between workers carry it
    bool has_owners = false;  // a tunnel has one: HandOver has to look
    bool has_spread = false;  // a tunnel is decrypted by any worker: EspIn has to look
    std::vector<DscpMap> dscp_maps{identity_dscp_map()};  // 0: the identity
    InboundSaTable inbound_sas;
    std::vector<NatPool> pools;
    bool has_nat_options = false;  // a pool has what NatIn has to look for with each packet
    std::vector<Netdev> netdevs;
    std::vector<be16> udp_esp_ports{kNatTraversalPort};  // where ESP in UDP and IKE arrive: few
    std::array<std::uint8_t, kZoneCount> may_send{};  // [from]: one bit per zone it may send to

    bool allows(Zone from, Zone to) const noexcept {
        return (may_send[static_cast<std::size_t>(from)] >> static_cast<unsigned>(to) & 1u) != 0;
    }

    // Control, of one that is not published.
    void listen_for_esp(be16 port) {
        if (port.raw != 0 && !takes_esp(port)) {
            udp_esp_ports.push_back(port);
        }
    }
    bool takes_esp(be16 udp_port) const noexcept {
        return std::ranges::find(udp_esp_ports, udp_port) != udp_esp_ports.end();
    }

    // One lookup, for what is rare; bursts look up in bulk.
    RouteResult route_to(be32 address) const noexcept {
        const std::uint32_t host = address.host();
        std::uint64_t found = 0;
        fib4.bulk(fib4.table, &host, &found, 1);
        return RouteResult::from_raw(static_cast<std::uint32_t>(found));
    }
    RouteResult route_to(const Ipv6Address& address) const noexcept {
        std::uint64_t found = 0;
        fib6.bulk(fib6.table, &address, &found, 1);
        return RouteResult::from_raw(static_cast<std::uint32_t>(found));
    }
};

}  // namespace twinspan
