// What the NAT counts for each pool. Every worker has its own set; control adds them up.
#pragma once

#include "dataplane/base/counter.hpp"
#include "dataplane/base/endian.hpp"
#include "dataplane/packet/headers.hpp"

#include <array>
#include <cstddef>
#include <cstdint>

namespace twinspan {

inline constexpr std::size_t kMaxNatPools = 16;

enum class NatProtocol : std::uint8_t { tcp, udp, icmp };
inline constexpr std::size_t kNatProtocols = 3;
inline constexpr std::size_t kNatPortProtocols = 3;  // those with ports or what stands for them, the first ones

constexpr NatProtocol nat_protocol(std::uint8_t protocol) noexcept {
    return protocol == +IpProtocol::tcp   ? NatProtocol::tcp
           : protocol == +IpProtocol::udp ? NatProtocol::udp
                                          : NatProtocol::icmp;
}

constexpr bool nat_has_ports(std::uint8_t protocol) noexcept {
    return protocol == +IpProtocol::tcp || protocol == +IpProtocol::udp || protocol == +IpProtocol::icmp;
}

struct NatPoolCounters {  // one writer
    // Addresses are counted by their last octet: exact for pools within a /24, and no reload can shift them.
    static constexpr std::size_t kAddressSlots = 256;
    static constexpr std::size_t slot(be32 address) noexcept { return address.host() % kAddressSlots; }

    std::array<Counter, kNatProtocols> opened;  // those of an earlier run included
    std::array<Counter, kNatProtocols> ended;
    std::array<Counter, kAddressSlots> address_opened;
    std::array<Counter, kAddressSlots> address_ended;
    Counter restored;
    Counter evicted;
    Counter ports_exhausted;
    Counter sessions_exhausted;
    Counter blocks_exhausted;
    Counter host_limited;
    Counter host_rate_limited;
};

// A pool's sum over all workers.
struct NatUsage {
    std::array<std::uint64_t, kNatProtocols> in_use{};
    std::uint64_t sessions = 0;  // in use, all protocols
    std::uint64_t opened = 0;    // by packets
    std::uint64_t restored = 0;  // of an earlier run
    std::uint64_t expired = 0;
    std::uint64_t evicted = 0;  // of those that have expired: for others to have room
    std::uint64_t ports_exhausted = 0;
    std::uint64_t sessions_exhausted = 0;
    std::uint64_t blocks_exhausted = 0;
    std::uint64_t host_limited = 0;
    std::uint64_t host_rate_limited = 0;
};

}  // namespace twinspan
