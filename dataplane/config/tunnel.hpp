// What workers know about a tunnel: how to seal into it, and what its inbound packets must look like. A part of the
// snapshot.
#pragma once

#include "dataplane/base/prefix.hpp"
#include "dataplane/base/zone.hpp"
#include "dataplane/packet/headers.hpp"

#include <array>
#include <cstdint>
#include <numeric>
#include <vector>

namespace twinspan {

class OutboundSa;  // crypto/sa.hpp
class InboundSa;

inline constexpr be16 kIkePort = to_be16(500);
inline constexpr be16 kNatTraversalPort = to_be16(4500);

// Ports of ESP in UDP (RFC 3948); both 0: ESP stands behind the IP header.
struct Encapsulation {
    be16 local_port{};
    be16 remote_port{};
    bool udp() const noexcept { return *this != Encapsulation{}; }
    friend bool operator==(const Encapsulation&, const Encapsulation&) = default;
};

// How the outer header follows from the inner one (RFC 4301 section 5.1.2).
enum class DfRule : std::uint8_t { set, clear, copy };             // IPv4 outer; IPv6 inside counts as set
enum class FlowLabelRule : std::uint8_t { hash, zero, copy };      // IPv6 outer; hash: RFC 6438
enum class EcnRule : std::uint8_t { compatibility = 0, normal = 3 };  // RFC 6040 section 4.1: the bits that are copied
inline constexpr std::uint8_t kCopyHopLimit = 0;
inline constexpr std::uint8_t kDefaultHopLimit = 64;

// Inner DSCP to outer DSCP, both 0 to 63.
using DscpMap = std::array<std::uint8_t, 64>;
consteval DscpMap identity_dscp_map() {
    DscpMap map{};
    std::iota(map.begin(), map.end(), std::uint8_t{0});
    return map;
}

inline constexpr std::size_t kMostOuterBytes = sizeof(Ipv6Header) + sizeof(UdpHeader);

struct alignas(64) Tunnel {
    // What sealing reads of every tunnel.
    OutboundSa* out = nullptr;  // null: no SA
    std::uint16_t outer_egress = kNone;  // a leg egress; kNone: the path is down
    std::uint16_t netdev = kNone;  // index of its TUN; kNone when it opted out
    std::uint16_t inner_mtu = 1446;
    std::uint16_t mss4 = 1406;  // largest TCP MSS that fits, IPv4 and IPv6 inner
    std::uint16_t mss6 = 1386;
    bool up = false;  // has SAs, and its leg is up and not drained
    std::uint8_t outer_len = 0;  // bytes of `outer` that stand before the SPI: 20, 28, 40 or 48
    DfRule df = DfRule::set;
    std::uint8_t hop_limit = kDefaultHopLimit;  // of the outer header, or kCopyHopLimit
    FlowLabelRule flow_label = FlowLabelRule::hash;
    std::uint8_t dscp_map = 0;  // index in Snapshot::dscp_maps
    EcnRule ecn = EcnRule::normal;
    bool spread = false;  // inbound: any worker may decrypt
    std::uint16_t owner = kNone;  // the one worker that encrypts; kNone: all do
    bool varies = false;  // IPv4 outer: TTL or DF follow the packet inside, or each needs an ID of its own

    // The outer IP header, and UDP's behind it; see make_outer_header.
    alignas(64) std::array<std::uint8_t, kMostOuterBytes> outer{};

    // What the outer header is made of, and what inbound packets are compared with.
    alignas(64) IpAddress local{};
    IpAddress remote{};
    Encapsulation encapsulation{};

    bool outer_is_ipv4() const noexcept { return outer_len < sizeof(Ipv6Header); }
};
static_assert(sizeof(Tunnel) == 192);

// Fills `outer`, `outer_len` and `varies` from ends, encapsulation, `df` and `hop_limit`. Lengths, ID, traffic class
// and flow label are zero, as is UDP's checksum; IPv4's covers the header as it is.
void make_outer_header(Tunnel& tunnel) noexcept;

struct InboundSaEntry {
    std::uint32_t spi = 0;  // 0: empty slot (RFC 4303 section 2.1 reserves it)
    std::uint16_t tunnel = kNone;
    InboundSa* sa = nullptr;
    Encapsulation encapsulation{};  // of this SA: a rekey may change it while the old one still receives
    friend bool operator==(const InboundSaEntry&, const InboundSaEntry&) = default;
};

// Open addressing, linear probing, at most half full. Keys are SPIs, host order.
class InboundSaTable {
public:
    explicit InboundSaTable(const std::vector<InboundSaEntry>& entries = {});
    const InboundSaEntry* find(std::uint32_t spi) const noexcept {
        for (std::uint32_t i = slot(spi);; i = (i + 1) & mask_) {
            const InboundSaEntry& e = slots_[i];
            if (e.spi == spi && spi != 0) {
                return &e;
            }
            if (e.spi == 0) {
                return nullptr;
            }
        }
    }
    void prefetch(std::uint32_t spi) const noexcept { __builtin_prefetch(&slots_[slot(spi)]); }
    friend bool operator==(const InboundSaTable&, const InboundSaTable&) = default;

private:
    std::uint32_t slot(std::uint32_t spi) const noexcept { return (spi * 0x9e3779b1u >> 8) & mask_; }
    std::uint32_t mask_ = 0;
    std::vector<InboundSaEntry> slots_;
};

}  // namespace twinspan
