// The cipher suites and their lengths. Thread: any.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace twinspan {

enum class Suite : std::uint8_t {
    aes_128_gcm,
    aes_192_gcm,
    aes_256_gcm,
    chacha20_poly1305,
    aes_128_gmac,
    aes_192_gmac,
    aes_256_gmac,
    aes_128_cbc_hmac_sha1,
    aes_192_cbc_hmac_sha1,
    aes_256_cbc_hmac_sha1,
    aes_128_cbc_hmac_sha256,
    aes_192_cbc_hmac_sha256,
    aes_256_cbc_hmac_sha256,
    aes_128_cbc_hmac_sha384,
    aes_192_cbc_hmac_sha384,
    aes_256_cbc_hmac_sha384,
    aes_128_cbc_hmac_sha512,
    aes_192_cbc_hmac_sha512,
    aes_256_cbc_hmac_sha512,
};

// How a packet is sealed: RFC 4106, RFC 7634, RFC 4543 (integrity only), RFC 3602 with RFC 2404 or RFC 4868.
enum class SuiteKind : std::uint8_t { gcm, chacha20_poly1305, gmac, cbc_hmac };

// Lengths in bytes.
struct SuiteInfo {
    Suite id;
    std::string_view name;  // as written in the configuration file
    SuiteKind kind;
    std::uint8_t key_len;
    std::uint8_t salt_len;  // behind the key
    std::uint8_t auth_key_len;  // behind the key: the HMAC's
    std::uint8_t iv_len;
    std::uint8_t alignment;  // of payload and trailer (RFC 4303 section 2.4)
    std::uint8_t icv_len;  // the usual one
};

inline constexpr auto kSuites = std::to_array<SuiteInfo>({
    {Suite::aes_128_gcm, "aes-128-gcm", SuiteKind::gcm, 16, 4, 0, 8, 4, 16},
    {Suite::aes_192_gcm, "aes-192-gcm", SuiteKind::gcm, 24, 4, 0, 8, 4, 16},
    {Suite::aes_256_gcm, "aes-256-gcm", SuiteKind::gcm, 32, 4, 0, 8, 4, 16},
    {Suite::chacha20_poly1305, "chacha20-poly1305", SuiteKind::chacha20_poly1305, 32, 4, 0, 8, 4, 16},
    {Suite::aes_128_gmac, "aes-128-gmac", SuiteKind::gmac, 16, 4, 0, 8, 4, 16},
    {Suite::aes_192_gmac, "aes-192-gmac", SuiteKind::gmac, 24, 4, 0, 8, 4, 16},
    {Suite::aes_256_gmac, "aes-256-gmac", SuiteKind::gmac, 32, 4, 0, 8, 4, 16},
    {Suite::aes_128_cbc_hmac_sha1, "aes-128-cbc-hmac-sha1", SuiteKind::cbc_hmac, 16, 0, 20, 16, 16, 12},
    {Suite::aes_192_cbc_hmac_sha1, "aes-192-cbc-hmac-sha1", SuiteKind::cbc_hmac, 24, 0, 20, 16, 16, 12},
    {Suite::aes_256_cbc_hmac_sha1, "aes-256-cbc-hmac-sha1", SuiteKind::cbc_hmac, 32, 0, 20, 16, 16, 12},
    {Suite::aes_128_cbc_hmac_sha256, "aes-128-cbc-hmac-sha256", SuiteKind::cbc_hmac, 16, 0, 32, 16, 16, 16},
    {Suite::aes_192_cbc_hmac_sha256, "aes-192-cbc-hmac-sha256", SuiteKind::cbc_hmac, 24, 0, 32, 16, 16, 16},
    {Suite::aes_256_cbc_hmac_sha256, "aes-256-cbc-hmac-sha256", SuiteKind::cbc_hmac, 32, 0, 32, 16, 16, 16},
    {Suite::aes_128_cbc_hmac_sha384, "aes-128-cbc-hmac-sha384", SuiteKind::cbc_hmac, 16, 0, 48, 16, 16, 24},
    {Suite::aes_192_cbc_hmac_sha384, "aes-192-cbc-hmac-sha384", SuiteKind::cbc_hmac, 24, 0, 48, 16, 16, 24},
    {Suite::aes_256_cbc_hmac_sha384, "aes-256-cbc-hmac-sha384", SuiteKind::cbc_hmac, 32, 0, 48, 16, 16, 24},
    {Suite::aes_128_cbc_hmac_sha512, "aes-128-cbc-hmac-sha512", SuiteKind::cbc_hmac, 16, 0, 64, 16, 16, 32},
    {Suite::aes_192_cbc_hmac_sha512, "aes-192-cbc-hmac-sha512", SuiteKind::cbc_hmac, 24, 0, 64, 16, 16, 32},
    {Suite::aes_256_cbc_hmac_sha512, "aes-256-cbc-hmac-sha512", SuiteKind::cbc_hmac, 32, 0, 64, 16, 16, 32},
});

inline constexpr std::size_t kSaltLen = 4;  // of the suites that have one
inline constexpr std::size_t kNonceLen = 12;  // salt and explicit IV

constexpr const SuiteInfo& info(Suite suite) noexcept { return kSuites[static_cast<std::size_t>(suite)]; }
constexpr std::string_view name(Suite suite) noexcept { return info(suite).name; }
constexpr std::size_t key_len(Suite suite) noexcept { return info(suite).key_len; }

// Key, then salt (RFC 4106 section 8.1) or integrity key (RFC 7296 section 2.17).
constexpr std::size_t keymat_len(Suite suite) noexcept {
    return key_len(suite) + info(suite).salt_len + info(suite).auth_key_len;
}

// RFC 4106 section 6 offers AES-GCM with 8, 12 and 16 bytes; every other suite has one length.
constexpr bool icv_len_is_valid(Suite suite, std::size_t icv_len) noexcept {
    return icv_len == info(suite).icv_len || (info(suite).kind == SuiteKind::gcm && (icv_len == 8 || icv_len == 12));
}

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
