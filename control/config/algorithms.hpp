// Algorithms by the names that people, strongSwan, Linux and Azure give them: which are broken, and what to use
// instead.
#pragma once

#include "crypto/suite.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace twinspan {

// "DES is broken: use aes-256-gcm or aes-256-cbc-hmac-sha256"; empty: nothing in the name is known to be bad. Any
// spelling: 3des-cbc, aes128-md5-modp1024, cbc(des3_ede), hmac(md5), DES3, ecb(cipher_null), None.
std::string why_broken(std::string_view algorithm);

struct SuiteChoice {
    Suite suite = Suite::aes_256_gcm;
    std::uint8_t icv_len = 16;
    friend bool operator==(const SuiteChoice&, const SuiteChoice&) = default;
};

// A proposal of ESP in strongSwan's notation: aes256gcm16, aes256-sha256-modp2048, chacha20poly1305-esn, aes128gmac.
// Nothing: the data plane has no suite that is exactly this.
std::optional<SuiteChoice> suite_of_proposal(std::string_view proposal);
// The same suite in that notation, without key exchange: "aes256-sha256".
std::string proposal_of(SuiteChoice choice);

// Of Azure's, where nothing is configured. IKE: the policies that one may choose, strongest first, then what a gateway
// takes that was given none. ESP: AES-GCM, then in the order in which Azure's gateway offers, without 3DES.
inline constexpr auto kAzureIkeProposals = std::to_array<std::string_view>(
    {"aes256gcm16-prfsha384-ecp384", "aes256gcm16-prfsha256-ecp256", "aes256-sha384-ecp384", "aes256-sha256-ecp256",
     "aes256-sha256-modp2048", "aes256-sha256-modp1024", "aes256-sha1-modp1024"});
inline constexpr auto kAzureEspProposals = std::to_array<std::string_view>(
    {"aes256gcm16", "aes192gcm16", "aes128gcm16", "aes256-sha1", "aes256-sha256", "aes128-sha1", "aes128-sha256"});

// Between the dashes.
std::vector<std::string_view> words_of(std::string_view proposal);

}  // namespace twinspan
