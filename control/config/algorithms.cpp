#include "control/config/algorithms.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>

namespace twinspan {

namespace {

struct Broken {
    std::string_view word;
    std::string_view why;
};
constexpr std::string_view kSealing = "use aes-256-gcm or aes-256-cbc-hmac-sha256";
constexpr auto kBroken = std::to_array<Broken>({
    {"des", "DES is broken: "},
    {"3des", "3DES is broken: "},
    {"des3", "3DES is broken: "},
    {"des3_ede", "3DES is broken: "},
    {"md5", "MD5 is broken: "},
    {"md5_128", "MD5 is broken: "},
    {"blowfish", "Blowfish's blocks are too short: "},
    {"cast128", "CAST-128's blocks are too short: "},
    {"cast5", "CAST-128's blocks are too short: "},
    {"none", "without encryption and integrity nothing is protected: "},
    {"null", "null encryption protects nothing: "},
    {"cipher_null", "null encryption protects nothing: "},
    {"digest_null", "without integrity nothing is protected: "},
    {"modp768", "a group of 768 bits is broken: "},
});

std::string lower(std::string_view text) {
    std::string out{text};
    std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return out;
}

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

// "aes256" and what follows the key's length.
struct Aes {
    unsigned key_bits = 0;
    std::string_view rest;
};
std::optional<Aes> aes_of(std::string_view word) {
    if (!word.starts_with("aes")) {
        return std::nullopt;
    }
    Aes out{128, word.substr(3)};  // strongSwan's meaning of a name without a length
    unsigned bits = 0;
    const auto [end, error] = std::from_chars(out.rest.data(), out.rest.data() + out.rest.size(), bits);
    if (error == std::errc{}) {
        out = {bits, {end, out.rest.data() + out.rest.size()}};
    }
    return out;
}

std::optional<Suite> named(const std::string& name) { return parse_suite(name); }

// One word that is cipher and integrity: aes256gcm16, aes256gcm128 (bits), chacha20poly1305, aes128gmac.
std::optional<SuiteChoice> aead_of(std::string_view word) {
    if (word == "chacha20poly1305" || word == "chacha20poly1305compat") {
        return word.ends_with("compat") ? std::nullopt : std::optional{SuiteChoice{Suite::chacha20_poly1305, 16}};
    }
    const auto aes = aes_of(word);
    if (!aes) {
        return std::nullopt;
    }
    const std::string stem = "aes-" + std::to_string(aes->key_bits);
    if (aes->rest == "gmac") {
        const auto suite = named(stem + "-gmac");
        return suite ? std::optional{SuiteChoice{*suite, 16}} : std::nullopt;
    }
    static constexpr std::pair<std::string_view, std::uint8_t> kLengths[] = {
        {"gcm8", 8}, {"gcm64", 8}, {"gcm12", 12}, {"gcm96", 12}, {"gcm16", 16}, {"gcm128", 16}, {"gcm", 16}};
    const auto length = std::ranges::find(kLengths, aes->rest, &std::pair<std::string_view, std::uint8_t>::first);
    const auto suite = named(stem + "-gcm");
    return suite && length != std::end(kLengths) ? std::optional{SuiteChoice{*suite, length->second}} : std::nullopt;
}

// What strongSwan may add to the algorithms: key exchanges (RFC 9370 lists several) and sequence numbers.
bool stands_beside(std::string_view word) {
    constexpr std::string_view kStems[] = {"modp", "ecp", "curve", "x25519", "x448", "mlkem", "ke", "esn", "noesn"};
    return std::ranges::any_of(kStems, [&](std::string_view stem) { return word.starts_with(stem); });
}

std::optional<std::string_view> digest_of(std::string_view word) {
    static constexpr std::pair<std::string_view, std::string_view> kDigests[] = {
        {"sha1", "sha1"},     {"sha", "sha1"},        {"sha256", "sha256"}, {"sha2_256", "sha256"},
        {"sha384", "sha384"}, {"sha2_384", "sha384"}, {"sha512", "sha512"}, {"sha2_512", "sha512"}};
    const auto found = std::ranges::find(kDigests, word, &std::pair<std::string_view, std::string_view>::first);
    return found == std::end(kDigests) ? std::nullopt : std::optional{found->second};
}

}  // namespace

std::string why_broken(std::string_view algorithm) {
    const std::string text = lower(algorithm);
    for (auto at = text.begin(); at != text.end();) {
        const auto end = std::find_if_not(at, text.end(), is_word);
        const auto found = std::ranges::find(kBroken, std::string_view{at, end}, &Broken::word);
        if (found != kBroken.end()) {
            const bool is_group = found->word.starts_with("modp");
            return std::string{found->why} + (is_group ? "use ecp384 or modp2048" : std::string{kSealing});
        }
        at = end == text.end() ? end : end + 1;
    }
    return {};
}

std::vector<std::string_view> words_of(std::string_view proposal) {
    std::vector<std::string_view> words;
    for (std::size_t at = 0; at <= proposal.size();) {
        const std::size_t end = std::min(proposal.find('-', at), proposal.size());
        words.push_back(proposal.substr(at, end - at));
        at = end + 1;
    }
    return words;
}

std::optional<SuiteChoice> suite_of_proposal(std::string_view proposal) {
    std::vector<std::string_view> words = words_of(proposal);
    std::erase_if(words, stands_beside);
    if (words.size() == 1) {
        return aead_of(words[0]);
    }
    const auto aes = words.size() == 2 ? aes_of(words[0]) : std::nullopt;
    const auto digest = aes && aes->rest.empty() ? digest_of(words[1]) : std::nullopt;
    const auto suite =
        digest ? named("aes-" + std::to_string(aes->key_bits) + "-cbc-hmac-" + std::string{*digest}) : std::nullopt;
    return suite ? std::optional{SuiteChoice{*suite, static_cast<std::uint8_t>(info(*suite).icv_len)}} : std::nullopt;
}

std::string proposal_of(SuiteChoice choice) {
    const SuiteInfo& suite = info(choice.suite);
    const std::string aes = "aes" + std::to_string(8 * suite.key_len);
    switch (suite.kind) {
        case SuiteKind::gcm:
            return aes + "gcm" + std::to_string(choice.icv_len);
        case SuiteKind::chacha20_poly1305:
            return "chacha20poly1305";
        case SuiteKind::gmac:
            return aes + "gmac";
        case SuiteKind::cbc_hmac:
            return aes + '-' + std::string{suite.name.substr(suite.name.rfind('-') + 1)};
    }
    return {};
}

}  // namespace twinspan
