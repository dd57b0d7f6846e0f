// Internet checksums kept right by what changed, not summed again (RFC 1624 equation 3).
// All values are as they lie in the packet: one's complement sums do not depend on the byte order (RFC 1071 section
// 2B).
#pragma once

#include "dataplane/base/endian.hpp"

#include <cstdint>

namespace twinspan {

constexpr std::uint16_t fold_checksum(std::uint32_t sum) noexcept {
    sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(sum + (sum >> 16));
}

// ~m + m' of equation 3: what a change adds to the sum. Deltas add up; a delta's inverse undoes it.
class ChecksumDelta {
public:
    constexpr ChecksumDelta() noexcept = default;
    constexpr ChecksumDelta(be16 from, be16 to) noexcept
        : raw_(fold_checksum((~std::uint32_t{from.raw} & 0xffff) + to.raw)) {}
    constexpr ChecksumDelta(be32 from, be32 to) noexcept
        : raw_(fold_checksum((~from.raw & 0xffff) + (~from.raw >> 16) + (to.raw & 0xffff) + (to.raw >> 16))) {}

    constexpr ChecksumDelta inverse() const noexcept { return ChecksumDelta{static_cast<std::uint16_t>(~raw_)}; }
    constexpr ChecksumDelta operator+(ChecksumDelta other) const noexcept {
        return ChecksumDelta{fold_checksum(std::uint32_t{raw_} + other.raw_)};
    }
    constexpr ChecksumDelta& operator+=(ChecksumDelta other) noexcept { return *this = *this + other; }

    // The checksum after the change. What a sender computed is never 0xffff unless all it covers is zero, and then
    // neither is this (RFC 1624 section 3).
    constexpr be16 apply(be16 checksum) const noexcept {
        return be16{static_cast<std::uint16_t>(~fold_checksum((~std::uint32_t{checksum.raw} & 0xffff) + raw_))};
    }
    // The same for UDP, where zero means that there is no checksum (RFC 768).
    constexpr be16 apply_udp(be16 checksum) const noexcept {
        if (checksum.raw == 0) {
            return checksum;
        }
        const be16 updated = apply(checksum);
        return updated.raw == 0 ? be16{0xffff} : updated;
    }

private:
    constexpr explicit ChecksumDelta(std::uint16_t raw) noexcept : raw_(raw) {}
    std::uint16_t raw_ = 0;
};

}  // namespace twinspan
