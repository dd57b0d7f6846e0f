// Why a packet ended here. One enum for the whole data plane: the table below names and
// explains every reason, so the CLI, the metrics page and the tests cannot drift apart.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace twinspan {

enum class Drop : std::uint8_t {
    malformed_frame,
    unknown_vlan,
    not_for_us,
    unknown_ethertype,
    bad_ip_header,
    fragment_unsupported,
    fragment_tiny,
    fragment_overlap,
    fragment_duplicate,
    fragment_too_many,
    fragment_timeout,
    fragment_table_full,
    too_long,
    no_route,
    route_blackhole,
    link_down,
    hop_limit_expired,
    too_big,
    neighbour_unresolved,
    martian_source,
    policy_denied,
    encrypt_required,
    private_destination,
    unsolicited,
    nat_ports_exhausted,
    nat_sessions_exhausted,
    nat_no_session,
    nat_unsupported,
    nat_wrong_peering,
    nat_bad_error,
    esp_no_sa,
    esp_wrong_peer,
    esp_wrong_encapsulation,
    esp_bad_length,
    esp_replayed,
    esp_auth_failed,
    esp_bad_padding,
    esp_inner_not_ip,
    esp_ecn_illegal,
    esp_dummy,
    nat_keepalive,
    esp_unreserved,
    esp_sequence_exhausted,
    tunnel_down,
    owner_behind,
    no_headroom,
    punt_rate_limited,
    punt_link_limited,
    punt_routing_limited,
    punt_ike_limited,
    punt_ring_full,
    tx_queue_full,
    no_mbuf,
    inject_ring_full,
    inject_bad_packet,
    kernel_refused,
    shared_port_kernel,
};

struct DropInfo {
    Drop id;
    std::string_view name;
    std::string_view help;
};

inline constexpr auto kDropInfo = std::to_array<DropInfo>({
    {Drop::malformed_frame, "malformed_frame", "Shorter than its own headers say"},
    {Drop::unknown_vlan, "unknown_vlan", "No leg of this port has the frame's VLAN stack"},
    {Drop::not_for_us, "not_for_us", "Unicast to another station's MAC address"},
    {Drop::unknown_ethertype, "unknown_ethertype", "Neither IPv4, IPv6 nor ARP"},
    {Drop::bad_ip_header, "bad_ip_header", "IP header failed RFC 1812 section 5.2.2 or RFC 8200 validation"},
    {Drop::fragment_unsupported, "fragment_unsupported", "A fragment where the ports of every packet are needed"},
    {Drop::fragment_tiny, "fragment_tiny", "A first fragment without all of the transport header (RFC 1858, RFC 7112)"},
    {Drop::fragment_overlap, "fragment_overlap",
     "Fragments of one packet that overlap, or contradict each other about its end or ECN (RFC 5722)"},
    {Drop::fragment_duplicate, "fragment_duplicate", "A fragment that had come before"},
    {Drop::fragment_too_many, "fragment_too_many", "A packet for us in more than 32 fragments"},
    {Drop::fragment_timeout, "fragment_timeout", "The rest of the packet did not come within 2 s"},
    {Drop::fragment_table_full, "fragment_table_full", "The oldest packet in reassembly made room for another"},
    {Drop::too_long, "too_long", "More than 10,000 bytes in fragments for us or in a chain of buffers"},
    {Drop::no_route, "no_route", "No route to the destination"},
    {Drop::route_blackhole, "route_blackhole", "The route says blackhole, unreachable or prohibit"},
    {Drop::link_down, "link_down", "Every member of the route's group is down or drained"},
    {Drop::hop_limit_expired, "hop_limit_expired", "TTL or hop limit reached zero"},
    {Drop::too_big, "too_big", "Longer than the path allows, and may not be fragmented"},
    {Drop::neighbour_unresolved, "neighbour_unresolved", "Next hop's MAC address is not known yet; Linux was asked"},
    {Drop::martian_source, "martian_source", "Source address that no packet to be forwarded may have"},
    {Drop::policy_denied, "policy_denied", "This peering may not send to that one"},
    {Drop::encrypt_required, "encrypt_required",
     "Destination is under encrypt, and the route is not a tunnel; or the source is, and it came in clear"},
    {Drop::private_destination, "private_destination",
     "RFC 1918 destination on a peering that carries public addresses only"},
    {Drop::unsolicited, "unsolicited", "Microsoft or public peering tried to reach the inside without a session"},
    {Drop::nat_ports_exhausted, "nat_ports_exhausted", "No free outside port in the pool for this destination"},
    {Drop::nat_sessions_exhausted, "nat_sessions_exhausted", "The session table is full"},
    {Drop::nat_no_session, "nat_no_session", "To a pool address, but no session matches"},
    {Drop::nat_unsupported, "nat_unsupported", "A protocol, fragment or ICMP type that NAT does not translate"},
    {Drop::nat_wrong_peering, "nat_wrong_peering",
     "To a pool address over a peering that does not own the pool, or may not send there"},
    {Drop::nat_bad_error, "nat_bad_error",
     "ICMP error to be translated whose checksum, or that of the IP header it quotes, is wrong (RFC 5508 REQ-3)"},
    {Drop::esp_no_sa, "esp_no_sa", "No security association has this SPI"},
    {Drop::esp_wrong_peer, "esp_wrong_peer", "Outer addresses are not those of the SA's tunnel; in UDP, ours is not"},
    {Drop::esp_wrong_encapsulation, "esp_wrong_encapsulation",
     "In UDP, to another port than the SA's, or bare, where the SA says otherwise"},
    {Drop::esp_bad_length, "esp_bad_length", "Too short or not aligned for the SA's suite"},
    {Drop::esp_replayed, "esp_replayed", "Sequence number seen before or left of the replay window"},
    {Drop::esp_auth_failed, "esp_auth_failed", "Integrity check value did not verify"},
    {Drop::esp_bad_padding, "esp_bad_padding", "Pad bytes or pad length are wrong (RFC 4303 section 2.4)"},
    {Drop::esp_inner_not_ip, "esp_inner_not_ip",
     "Next header is neither IPv4 nor IPv6, or the payload is not what it says"},
    {Drop::esp_ecn_illegal, "esp_ecn_illegal",
     "Congestion was marked on the outer header of a packet whose ends know no ECN (RFC 6040 section 4.2)"},
    {Drop::esp_dummy, "esp_dummy", "Dummy packet of the peer's traffic flow confidentiality (RFC 4303 section 2.6)"},
    {Drop::nat_keepalive, "nat_keepalive", "Keeps a NAT's mapping alive and says no more (RFC 3948 section 2.3)"},
    {Drop::esp_unreserved, "esp_unreserved", "Sequence number not yet reserved on stable storage"},
    {Drop::esp_sequence_exhausted, "esp_sequence_exhausted", "The SA's sequence number space has ended"},
    {Drop::tunnel_down, "tunnel_down", "The prefix is encrypted and no tunnel that carries it is up"},
    {Drop::owner_behind, "owner_behind", "For a tunnel that one worker encrypts, and that worker is behind"},
    {Drop::no_headroom, "no_headroom", "Not enough room in the buffer for the headers to add"},
    {Drop::punt_rate_limited, "punt_rate_limited", "For Linux, and of no protocol below: over the punt rate limit"},
    {Drop::punt_link_limited, "punt_link_limited", "ARP, neighbour discovery and the like: over the punt rate limit"},
    {Drop::punt_routing_limited, "punt_routing_limited", "BFD and BGP: over the punt rate limit"},
    {Drop::punt_ike_limited, "punt_ike_limited", "IKE: over the punt rate limit"},
    {Drop::punt_ring_full, "punt_ring_full", "For Linux, but the punt thread is behind"},
    {Drop::tx_queue_full, "tx_queue_full", "The port took fewer packets than it was given"},
    {Drop::no_mbuf, "no_mbuf", "No buffer left: for a packet from Linux, for the pieces of one, or for one made whole"},
    {Drop::inject_ring_full, "inject_ring_full", "From Linux, but the worker is behind"},
    {Drop::inject_bad_packet, "inject_bad_packet", "From Linux, too short or of an unknown kind"},
    {Drop::kernel_refused, "kernel_refused", "Linux did not take a punted packet"},
    {Drop::shared_port_kernel, "shared_port_kernel",
     "For Linux, but steered to a worker from the NIC that they share, which has no way back"},
});
inline constexpr std::size_t kDropCount = kDropInfo.size();

static_assert(std::ranges::all_of(kDropInfo,
                                  [i = std::size_t{0}](const DropInfo& d) mutable {
                                      return static_cast<std::size_t>(d.id) == i++;
                                  }),
              "kDropInfo must list the reasons in enum order");

constexpr std::string_view name_of(Drop reason) noexcept { return kDropInfo[static_cast<std::size_t>(reason)].name; }

}  // namespace twinspan
