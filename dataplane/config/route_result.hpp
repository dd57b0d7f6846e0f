// What the FIB answers for a destination: 24 bits that fit a DPDK FIB next hop.
#pragma once

#include "dataplane/base/drop.hpp"

#include <cstdint>

namespace twinspan {

enum class RouteKind : std::uint8_t {
    forward,  // index: a group
    local,    // one of our addresses: ESP for a tunnel, else for Linux; index: unused
    pool,     // an address of a NAT pool; index: the pool
    connected,  // in a leg's subnet, no neighbour known: Linux is to resolve it; index: the leg
    drop,     // index: the Drop reason
};

class RouteResult {
public:
    static constexpr std::uint32_t kIndexBits = 20;
    static constexpr std::uint32_t kMaxIndex = (1u << kIndexBits) - 1;

    constexpr RouteResult(RouteKind kind, std::uint32_t index, bool encrypt = false) noexcept
        : raw_(index | (static_cast<std::uint32_t>(kind) ^ kDropKind) << kIndexBits | (encrypt ? kEncrypt : 0)) {}
    static constexpr RouteResult dropped(Drop reason, bool encrypt = false) noexcept {
        return {RouteKind::drop, static_cast<std::uint32_t>(reason), encrypt};
    }
    static constexpr RouteResult from_raw(std::uint32_t raw) noexcept { return RouteResult{raw}; }

    constexpr std::uint32_t raw() const noexcept { return raw_; }
    constexpr RouteKind kind() const noexcept { return static_cast<RouteKind>((raw_ >> kIndexBits & 7) ^ kDropKind); }
    constexpr std::uint32_t index() const noexcept { return raw_ & kMaxIndex; }
    constexpr Drop reason() const noexcept { return static_cast<Drop>(index()); }
    // The destination is under `encrypt:` and may leave through a tunnel only.
    constexpr bool must_encrypt() const noexcept { return (raw_ & kEncrypt) != 0; }
    friend constexpr bool operator==(RouteResult, RouteResult) noexcept = default;

private:
    constexpr explicit RouteResult(std::uint32_t raw) noexcept : raw_(raw) {}
    static constexpr std::uint32_t kEncrypt = 1u << 23;
    // A FIB entry that is being emptied reads as zero; stored this way round, zero is a drop.
    static constexpr auto kDropKind = static_cast<std::uint32_t>(RouteKind::drop);
    std::uint32_t raw_;
};

}  // namespace twinspan
