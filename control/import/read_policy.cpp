// A connection's ipsecPolicies: Azure's names of algorithms to strongSwan's. Those that are broken are refused by name.
#include "control/config/algorithms.hpp"
#include "control/import/azure.hpp"
#include "control/import/json_place.hpp"

#include <algorithm>
#include <array>
#include <iterator>

namespace twinspan::azure {

namespace {

struct Word {
    std::string_view azure;
    std::string_view strongswan;
};
constexpr Word kIkeEncryption[] = {{"GCMAES256", "aes256gcm16"},
                                   {"GCMAES128", "aes128gcm16"},
                                   {"AES256", "aes256"},
                                   {"AES192", "aes192"},
                                   {"AES128", "aes128"}};
constexpr Word kIkeIntegrity[] = {{"SHA384", "sha384"}, {"SHA256", "sha256"}, {"SHA1", "sha1"}};
constexpr Word kGroup[] = {{"DHGroup24", "modp2048s256"}, {"ECP384", "ecp384"},        {"ECP256", "ecp256"},
                           {"DHGroup14", "modp2048"},     {"DHGroup2048", "modp2048"}, {"DHGroup2", "modp1024"}};
constexpr Word kEspEncryption[] = {{"GCMAES256", "aes256gcm16"}, {"GCMAES192", "aes192gcm16"},
                                   {"GCMAES128", "aes128gcm16"}, {"AES256", "aes256"},
                                   {"AES192", "aes192"},         {"AES128", "aes128"}};
constexpr Word kEspIntegrity[] = {{"GCMAES256", "aes256gcm16"},
                                  {"GCMAES192", "aes192gcm16"},
                                  {"GCMAES128", "aes128gcm16"},
                                  {"SHA256", "sha256"},
                                  {"SHA1", "sha1"}};
constexpr Word kPfs[] = {{"None", ""},         {"PFS24", "modp2048s256"}, {"ECP384", "ecp384"},
                         {"ECP256", "ecp256"}, {"PFS2048", "modp2048"},   {"PFS14", "modp2048"},
                         {"PFS2", "modp1024"}};

std::string list_of(std::span<const Word> words) {
    std::string out;
    for (const Word& word : words) {
        out += (out.empty() ? "" : ", ") + std::string{word.azure};
    }
    return out;
}

std::optional<std::string_view> word_of(const Place& policy, std::string_view key, std::span<const Word> words) {
    const auto text = policy.require_text(key, "one of " + list_of(words));
    if (!text) {
        return std::nullopt;
    }
    const auto found = std::ranges::find_if(words, [&](const Word& word) { return same_word(word.azure, *text); });
    if (found != words.end()) {
        return found->strongswan;
    }
    const std::string why = why_broken(*text);
    policy.error("found " + std::string{key} + " \"" + *text + "\", expected " +
                 (why.empty() ? "one of " + list_of(words) : "one that protects: " + why));
    return std::nullopt;
}

bool is_aead(std::string_view word) { return word.find("gcm") != std::string_view::npos; }

void read_ike(const Place& policy, Connection& out) {
    const auto encryption = word_of(policy, "ikeEncryption", kIkeEncryption);
    const auto integrity = word_of(policy, "ikeIntegrity", kIkeIntegrity);
    const auto group = word_of(policy, "dhGroup", kGroup);
    if (encryption && integrity && group) {  // with GCM the digest makes keys only
        out.ike_proposal = std::string{*encryption} + (is_aead(*encryption) ? "-prf" : "-") + std::string{*integrity} +
                           '-' + std::string{*group};
    }
}

void read_esp(const Place& policy, Connection& out) {
    const auto encryption = word_of(policy, "ipsecEncryption", kEspEncryption);
    const auto integrity = word_of(policy, "ipsecIntegrity", kEspIntegrity);
    const auto pfs = word_of(policy, "pfsGroup", kPfs);
    if (!encryption || !integrity || !pfs) {
        return;
    }
    if ((is_aead(*encryption) || is_aead(*integrity)) && *encryption != *integrity) {
        policy.error(
            "found ipsecEncryption and ipsecIntegrity of different kinds, expected the same GCMAES in both, or "
            "AES with SHA");
        return;
    }
    out.esp_proposal = std::string{*encryption} + (is_aead(*encryption) ? "" : "-" + std::string{*integrity}) +
                       (pfs->empty() ? "" : "-" + std::string{*pfs});
}

}  // namespace

void read_policy(const Place& policy, Connection& out) {
    read_ike(policy, out);
    read_esp(policy, out);
    out.lifetime_s = policy.number("saLifeTimeSeconds").value_or(0);
    out.lifetime_kb = policy.number("saDataSizeKilobytes").value_or(0);
}

}  // namespace twinspan::azure
