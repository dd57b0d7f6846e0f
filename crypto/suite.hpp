// The cipher suites of RFC 4106 and their fixed lengths. Thread: any.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace twinspan {

enum class Suite : std::uint8_t { aes_128_gcm, aes_192_gcm, aes_256_gcm };

struct SuiteInfo {
    Suite id;
    std::string_view name;  // as written in the configuration file
    std::size_t key_len_bytes;
};

inline constexpr auto kSuites = std::to_array<SuiteInfo>({
    {Suite::aes_128_gcm, "aes-128-gcm", 16},
    {Suite::aes_192_gcm, "aes-192-gcm", 24},
    {Suite::aes_256_gcm, "aes-256-gcm", 32},
});

// RFC 4106: sections 4 (salt), 3.1 (IV) and 6 (ICV; the 8- and 12-byte ones are not offered).
inline constexpr std::size_t kSaltLen = 4;
inline constexpr std::size_t kIvLen = 8;
inline constexpr std::size_t kIcvLen = 16;
inline constexpr std::size_t kNonceLen = kSaltLen + kIvLen;
inline constexpr std::size_t kMaxKeyLen = 32;

constexpr const SuiteInfo& info(Suite suite) noexcept { return kSuites[static_cast<std::size_t>(suite)]; }
constexpr std::string_view name(Suite suite) noexcept { return info(suite).name; }
constexpr std::size_t key_len(Suite suite) noexcept { return info(suite).key_len_bytes; }

// Key and salt as IKE and `ip xfrm` hand them over: the salt follows the key (RFC 4106 section 8.1).
constexpr std::size_t keymat_len(Suite suite) noexcept { return key_len(suite) + kSaltLen; }

constexpr std::optional<Suite> parse_suite(std::string_view text) noexcept {
    for (const SuiteInfo& suite : kSuites) {
        if (suite.name == text) {
            return suite.id;
        }
    }
    return std::nullopt;
}

static_assert(std::ranges::all_of(kSuites,
                                  [i = std::size_t{0}](const SuiteInfo& s) mutable {
                                      return static_cast<std::size_t>(s.id) == i++;
                                  }),
              "kSuites must list the suites in enum order");

}  // namespace twinspan
