// What Linux told us about its IPsec security associations, as plain values. No netlink header is needed to use them.
#pragma once

#include "crypto/key.hpp"
#include "dataplane/base/endian.hpp"
#include "dataplane/base/prefix.hpp"

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace twinspan::netlink {

// By what Linux finds an ESP SA.
struct SaId {
    IpAddress destination;
    std::uint32_t spi = 0;
    std::uint32_t mark = 0;
    std::uint32_t mark_mask = 0;
    std::string text() const;
    friend bool operator==(const SaId&, const SaId&) = default;
    friend auto operator<=>(const SaId&, const SaId&) = default;
};

enum class SaDirection : std::uint8_t { unknown, in, out };  // the first before Linux 6.10
enum class SaMode : std::uint8_t { tunnel, transport, other };

inline constexpr std::uint64_t kNoLimit = ~std::uint64_t{0};

struct SaLimits {
    std::uint64_t soft_bytes = kNoLimit;
    std::uint64_t hard_bytes = kNoLimit;
    std::uint64_t soft_packets = kNoLimit;
    std::uint64_t hard_packets = kNoLimit;
    std::uint64_t hard_seconds = 0;  // since the SA was added; 0: none. Linux sees to it
};

// struct xfrm_lifetime_cur. The times are seconds since 1970; 0 is never.
struct SaLifetime {
    std::uint64_t bytes = 0;
    std::uint64_t packets = 0;
    std::uint64_t add_time = 0;
    std::uint64_t use_time = 0;
    friend bool operator==(const SaLifetime&, const SaLifetime&) = default;
};

// The sequence numbers as Linux keeps them: in one of two forms, and it takes them back only in the same one.
struct SaReplay {
    bool extended = false;         // struct xfrm_replay_state_esn, also for SAs without ESN
    std::uint64_t sent = 0;        // last number used outbound; 32 bits of it without ESN
    std::uint64_t highest = 0;     // received
    std::uint32_t window = 0;      // extended only: bits of `bitmap` in use
    std::vector<std::uint32_t> bitmap;  // a word in the short form; in the other, number n is bit (n - 1) % window
    friend bool operator==(const SaReplay&, const SaReplay&) = default;
};

// What XFRM_MSG_NEWAE carries.
struct SaCheckpoint {
    SaId id;
    std::optional<SaReplay> replay;
    std::optional<SaLifetime> lifetime;
};

// UDP ports of RFC 3948; both zero: none.
struct SaEncapsulation {
    be16 source{};
    be16 destination{};
    bool supported = true;  // false: some other encapsulation, ESP in TCP for one
};

// Linux's names: "rfc4106(gcm(aes))", or "cbc(aes)" and "hmac(sha256)". Not copyable: it holds the key.
struct SaAlgorithms {
    std::string cipher;  // or the AEAD
    std::string integrity;  // empty with an AEAD
    SecretBytes keymat;  // AEAD: key, then salt; else the cipher's key, then that of the integrity algorithm
    std::size_t integrity_key_bytes = 0;  // of keymat
    std::uint32_t icv_bits = 0;
    std::string text() const;  // for people, without the key
};

// XFRM_MSG_NEWSA or UPDSA. Not copyable: it holds the key.
struct SaEvent {
    SaId id;
    IpAddress source;
    std::uint32_t if_id = 0;
    SaDirection direction = SaDirection::unknown;
    SaMode mode = SaMode::other;
    bool esn = false;
    bool larval = false;  // an SPI that was reserved for an SA to come: no keys yet
    SaAlgorithms algorithms;
    std::uint8_t short_window = 0;  // bits, where `replay` is not extended
    SaEncapsulation encapsulation;
    SaLimits limits;
    SaLifetime lifetime;
    SaReplay replay;
};

struct SaDeleted {  // XFRM_MSG_DELSA, or EXPIRE of a hard limit, after which Linux has no such SA any more
    SaId id;
};
struct SaExpiring {  // EXPIRE of a soft limit
    SaId id;
};
struct SasFlushed {};
// XFRM_MSG_MAPPING: Linux received this SA's packets in UDP from elsewhere (RFC 3947 section 4).
struct SaMapped {
    SaId id;
    IpAddress source;
    be16 source_port{};
};
struct SasMigrated {};  // XFRM_MSG_MIGRATE: SAs have other ends, and Linux tells of none of them

using XfrmEvent = std::variant<SaEvent, SaDeleted, SaExpiring, SaCheckpoint, SasFlushed, SaMapped, SasMigrated>;

}  // namespace twinspan::netlink
