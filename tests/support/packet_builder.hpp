// Packets for tests: bytes of IPv4 and IPv6 with TCP, UDP and ICMP, checksums from scratch, and
// PacketMeta as Parse fills it in. An address with a colon makes the packet IPv6.
#pragma once

#include "dataplane/packet/headers.hpp"
#include "dataplane/packet/meta.hpp"

#include <rte_mbuf.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace twinspan::test {

using Bytes = std::vector<std::uint8_t>;

be32 ip4(const std::string& text);          // throws std::invalid_argument
Ipv6Address ip6(const std::string& text);
Bytes text_bytes(std::string_view text);
Bytes filler(std::size_t size);             // 0, 1, 2 ...

struct PacketSpec {
    std::string src = "10.0.0.1";
    std::string dst = "192.0.2.1";
    std::uint16_t src_port = 0;             // echo: the identifier
    std::uint16_t dst_port = 0;
    Bytes payload = {};
    std::uint8_t ttl = 64;
    std::uint8_t tos = 0;
    std::uint16_t id = 0x1234;
    std::uint16_t fragment = 0;             // flags and offset, host order; IPv4 only, as the ID
    std::uint32_t flow_label = 0;           // IPv6 only
    Bytes ip_options = {};                  // a multiple of four bytes; IPv4 only
    std::uint8_t tcp_flags = kTcpAck;
    Bytes tcp_options = {};                 // a multiple of four bytes
    std::uint32_t sequence = 1;
    bool udp_checksum = true;               // false: zero on the wire (IPv4)
};

// An IP packet around `l4`, whose bytes are taken as they are.
Bytes ip_packet(const PacketSpec& spec, std::uint8_t protocol, std::span<const std::uint8_t> l4);
Bytes udp_packet(const PacketSpec& spec);
Bytes tcp_packet(const PacketSpec& spec);
Bytes echo_request(const PacketSpec& spec);  // src_port: identifier; sequence: its low 16 bits
Bytes echo_reply(const PacketSpec& spec);
// An error about `original` (an IP packet; give it cut as the sender would cut it). `rest`: the last four bytes of the
// ICMP header, host order (next-hop MTU, pointer).
Bytes icmp_error_packet(const PacketSpec& spec, std::uint8_t type, std::uint8_t code,
                        std::span<const std::uint8_t> original, std::uint32_t rest = 0);

// Ethernet and VLAN tags in front. Tags outer first.
Bytes ethernet_frame(const MacAddress& dst, const MacAddress& src, std::span<const VlanTag> tags,
                     std::span<const std::uint8_t> packet);

// True when the IPv4 header checksum and the TCP, UDP or ICMP checksum are right (UDP zero counts as right over IPv4).
bool checksums_right(std::span<const std::uint8_t> packet);

// What Parse writes for an mbuf whose data starts at the IP header. The rest of meta is cleared.
void fill_meta(rte_mbuf& m, Zone zone = Zone::lan);

}  // namespace twinspan::test
