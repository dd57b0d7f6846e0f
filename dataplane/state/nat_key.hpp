// What identifies a NAT session from the inside and from the outside, in two words that compare and hash fast.
#pragma once

#include "dataplane/base/endian.hpp"

#include <cstdint>

namespace twinspan {

// What a record stands for. Sessions hang on the others: a mapping is the outside port of an inside one, whatever the
// remote endpoint; a block is a range of ports that one inside host has; a host is what is known of it.
enum class NatRecord : std::uint16_t { session = 0, mapping = 0x8000, block = 0x4000, host = 0x2000 };

struct NatKey {
    std::uint64_t addresses = 0;  // ours | remote << 32, as they lie in the packet
    std::uint64_t rest = 0;       // our port | remote port << 16 | protocol << 32 | pool << 48

    friend constexpr bool operator==(const NatKey&, const NatKey&) noexcept = default;

    constexpr be32 address() const noexcept { return be32{static_cast<std::uint32_t>(addresses)}; }
    constexpr be32 remote() const noexcept { return be32{static_cast<std::uint32_t>(addresses >> 32)}; }
    constexpr be16 port() const noexcept { return be16{static_cast<std::uint16_t>(rest)}; }
    constexpr be16 remote_port() const noexcept { return be16{static_cast<std::uint16_t>(rest >> 16)}; }
    constexpr std::uint8_t protocol() const noexcept { return static_cast<std::uint8_t>(rest >> 32); }
    constexpr std::uint16_t pool() const noexcept { return static_cast<std::uint16_t>(rest >> 48 & 0x1fff); }

    // In the pool's place, where keys of packets have no such bit: they never find what is no session.
    constexpr NatRecord kind() const noexcept { return static_cast<NatRecord>(rest >> 48 & 0xe000); }
    constexpr NatKey as(NatRecord kind) const noexcept {
        return {addresses, (rest & ~(std::uint64_t{0xe000} << 48)) | static_cast<std::uint64_t>(kind) << 48};
    }
    // The end that is ours alone, of a session's or a mapping's key.
    constexpr NatKey mapping() const noexcept {
        return NatKey{addresses & 0xffffffff, rest & ~std::uint64_t{0xffff0000}}.as(NatRecord::mapping);
    }
};

// `pool` is part of the inside key: a flow that is routed to another peering gets another session. In the outside key
// it is 0, for pools do not overlap. An ICMP echo has its identifier as our port, and 0 as the remote one.
constexpr NatKey nat_key(be32 address, be32 remote, be16 port, be16 remote_port, std::uint8_t protocol,
                         std::uint16_t pool = 0) noexcept {
    return {address.raw | static_cast<std::uint64_t>(remote.raw) << 32,
            port.raw | static_cast<std::uint64_t>(remote_port.raw) << 16 | static_cast<std::uint64_t>(protocol) << 32 |
                static_cast<std::uint64_t>(pool) << 48};
}

// Keyed, so that nobody outside can aim at one bucket. CRC instructions would not do: they are linear, and what
// collides under one seed collides under all.
struct NatHash {
    std::uint64_t seed0 = 0;
    std::uint64_t seed1 = 0;

    constexpr std::uint64_t operator()(const NatKey& key) const noexcept {
        return mix(mix(key.addresses ^ seed0, key.rest ^ seed1), seed1 | 1);
    }

private:
    static constexpr std::uint64_t mix(std::uint64_t a, std::uint64_t b) noexcept {
        __extension__ using Wide = unsigned __int128;
        const Wide product = static_cast<Wide>(a) * b;
        return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
    }
};

// Maps the upper half of a hash to 0..n-1.
constexpr std::uint32_t scale_hash(std::uint64_t hash, std::uint32_t n) noexcept {
    return static_cast<std::uint32_t>((hash >> 32) * n >> 32);
}

}  // namespace twinspan
