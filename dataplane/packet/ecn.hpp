// The ECN field across a tunnel (RFC 6040), and where it lies in a header.
#pragma once

#include "dataplane/packet/checksum.hpp"
#include "dataplane/packet/headers.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace twinspan {

enum class Ecn : std::uint8_t { not_ect = 0, ect1 = 1, ect0 = 2, ce = 3 };  // RFC 3168 section 5
inline constexpr std::uint8_t kEcnMask = 3;

// What becomes of an inner field when the outer header goes.
struct EcnOutcome {
    Ecn field = Ecn::not_ect;
    bool drop = false;       // a mark that the inner packet's ends would not understand
    bool unused = false;     // no known sender makes this combination
    bool dangerous = false;  // a field was changed on the way by what does not obey the rules
    friend constexpr bool operator==(EcnOutcome, EcnOutcome) = default;
};

// RFC 6040 section 4.2, figure 4. What it marks (!) is unused here, what it marks (!!!) dangerous.
constexpr EcnOutcome leave_tunnel(Ecn inner, Ecn outer) noexcept {
    switch (inner) {
        case Ecn::not_ect:
            return {.field = Ecn::not_ect, .drop = outer == Ecn::ce, .dangerous = outer != Ecn::not_ect};
        case Ecn::ect0:
            return {.field = outer == Ecn::not_ect ? Ecn::ect0 : outer};
        case Ecn::ect1:
            return {.field = outer == Ecn::ce ? Ecn::ce : Ecn::ect1, .unused = outer == Ecn::ect0};
        case Ecn::ce:
            break;
    }
    return {.field = Ecn::ce, .dangerous = outer == Ecn::ect1};
}

// Whether the outer field is no reason to look any further.
constexpr bool leaves_untouched(std::uint8_t inner, std::uint8_t outer) noexcept {
    constexpr auto kQuiet = [] {
        std::uint16_t quiet = 0;
        for (unsigned i = 0; i < 16; ++i) {
            const auto in = static_cast<Ecn>(i & kEcnMask);
            if (leave_tunnel(in, static_cast<Ecn>(i >> 2)) == EcnOutcome{.field = in}) {
                quiet = static_cast<std::uint16_t>(quiet | 1u << i);
            }
        }
        return quiet;
    }();
    return (kQuiet >> ((outer & kEcnMask) << 2 | (inner & kEcnMask)) & 1) != 0;
}

// DSCP and ECN of an IP header of either version.
inline std::uint8_t traffic_class(const std::uint8_t* ip) noexcept {
    return (ip[0] >> 4) == 4 ? ip[1] : static_cast<std::uint8_t>(ip[0] << 4 | ip[1] >> 4);
}

// Writes the field into a header of at least 20 bytes of either version; IPv4's checksum follows by what changed
// (RFC 1624).
inline void set_ecn(std::uint8_t* ip, Ecn field) noexcept {
    const auto ecn = static_cast<std::uint8_t>(field);
    if ((ip[0] >> 4) != 4) {
        ip[1] = static_cast<std::uint8_t>((ip[1] & ~(kEcnMask << 4)) | ecn << 4);
        return;
    }
    be16 before, checksum;
    std::memcpy(&before, ip, sizeof before);
    ip[1] = static_cast<std::uint8_t>((ip[1] & ~kEcnMask) | ecn);
    be16 after;
    std::memcpy(&after, ip, sizeof after);
    std::memcpy(&checksum, ip + offsetof(Ipv4Header, checksum), sizeof checksum);
    checksum = ChecksumDelta{before, after}.apply(checksum);
    std::memcpy(ip + offsetof(Ipv4Header, checksum), &checksum, sizeof checksum);
}

}  // namespace twinspan
