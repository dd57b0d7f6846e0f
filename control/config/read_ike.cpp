// The ike section of a tunnel.
#include "control/config/algorithms.hpp"
#include "control/config/draft.hpp"
#include "control/config/scalar.hpp"
#include "control/config/schema.hpp"

#include <algorithm>
#include <cctype>
#include <span>
#include <string>

namespace twinspan {

namespace {

// What goes into swanctl.conf between quotes.
std::optional<std::string> parse_identity(std::string_view text) {
    constexpr std::size_t kLongest = 255;
    const bool good = !text.empty() && text.size() <= kLongest && std::ranges::all_of(text, [](char c) {
        return std::isprint(static_cast<unsigned char>(c)) != 0 && c != '"' && c != '\\';
    });
    return good ? std::optional{std::string{text}} : std::nullopt;
}

// aes256gcm16-prfsha384-ecp384
std::optional<std::string> parse_proposal(std::string_view text) {
    constexpr std::size_t kLongest = 120;
    const bool good = !text.empty() && text.size() <= kLongest && text.front() != '-' && text.back() != '-' &&
                      std::ranges::all_of(text, [](char c) {
        return std::islower(static_cast<unsigned char>(c)) != 0 || std::isdigit(static_cast<unsigned char>(c)) != 0 ||
               c == '-' || c == '_';
    });
    return good ? std::optional{std::string{text}} : std::nullopt;
}

void read_proposals(Diagnostics& diagnostics, const MapReader& map, std::string_view key, bool esp,
                    std::span<const std::string_view> azures, std::vector<std::string>& out) {
    const auto list = map.find(key);
    if (!list) {
        out.assign(azures.begin(), azures.end());
        return;
    }
    for_each_item(diagnostics, *list, "a list of proposals", [&](const YAML::Node& item) {
        auto proposal = read_scalar(diagnostics, item,
                                    esp ? "a suite like aes-256-gcm, or a proposal like aes256gcm16-ecp384"
                                        : "a proposal in strongSwan's notation, like aes256gcm16-ecp384",
                                    parse_proposal);
        if (const auto suite = proposal && esp ? parse_suite(*proposal) : std::nullopt) {
            proposal = proposal_of({*suite, info(*suite).icv_len});
        }
        if (!proposal) {
            return;
        }
        if (const std::string why = why_broken(*proposal); !why.empty()) {
            diagnostics.add(item, "found '" + *proposal + "', expected a proposal that protects: " + why);
        } else if (esp && !suite_of_proposal(*proposal)) {
            diagnostics.add(item, "found '" + *proposal +
                                      "', expected what the data plane encrypts: aes256gcm16, chacha20poly1305, "
                                      "aes256gmac or aes256-sha256 (keys of 128, 192 or 256 bits; sha1, sha256, sha384 "
                                      "or sha512), with key exchanges behind it");
        } else {
            out.push_back(std::move(*proposal));
        }
    });
    if (list->IsSequence() && list->size() == 0) {
        diagnostics.unexpected(*list, "at least one proposal");
    }
}

void read_credentials(Diagnostics& diagnostics, const MapReader& map, IkeConfig& out, Draft& draft) {
    if (const auto file = read_file_name(diagnostics, map, "psk-file", "the pre-shared key", draft)) {
        out.psk_file = *file;
    }
    const struct {
        std::string_view key;
        const char* content;
        std::filesystem::path& path;
    } rows[] = {{"certificate", "our certificate", out.certificate},
                {"key", "the private key of our certificate", out.key},
                {"ca", "the certificate of the authority that signed the peer's", out.ca}};
    if (map.find("psk-file")) {
        for (const auto& row : rows) {
            if (const auto node = map.find(row.key)) {
                diagnostics.add(*node, "found '" + std::string{row.key} +
                                           "' with 'psk-file', expected a pre-shared key or certificates");
            }
        }
        return;
    }
    if (!map.find("certificate")) {
        map.require("psk-file", "the path of a file with the pre-shared key, or 'certificate', 'key' and 'ca'");
        return;
    }
    for (const auto& row : rows) {
        map.require(row.key, std::string{"the path of a file with "} + row.content);
        if (const auto file = read_file_name(diagnostics, map, row.key, row.content, draft)) {
            row.path = *file;
        }
    }
}

void read_side(Diagnostics& diagnostics, const MapReader& map, std::string_view key, std::vector<Prefix4>& v4,
               std::vector<Prefix6>& v6) {
    const auto list = map.find(key);
    if (!list) {
        return;
    }
    for_each_item(diagnostics, *list, "a list of prefixes", [&](const YAML::Node& item) {
        if (const auto prefix4 = item.IsScalar() ? parse_prefix4(item.Scalar()) : std::nullopt) {
            v4.push_back(*prefix4);
        } else if (const auto prefix6 = read_scalar(diagnostics, item,
                                                    "a prefix without host bits, like 10.20.0.0/16 or \"fd10:20::/64\"",
                                                    parse_prefix6)) {
            v6.push_back(*prefix6);
        }
    });
}

void read_lifetimes(const MapReader& map, IkeConfig& out) {
    const auto seconds = [](std::uint32_t min, std::uint32_t max) {
        return [min, max](std::string_view text) {
            return parse_seconds(text).and_then(
                [min, max](std::uint32_t s) { return s >= min && s <= max ? std::optional{s} : std::nullopt; });
        };
    };
    map.read("dpd", out.dpd_s, "a time from 9s to 3600s, like 45s", seconds(9, 3600));
    map.read("rekey-time", out.rekey_time_s, "a time from 300s to 48h, like 27000s", seconds(300, 48 * 3600));
    map.read("rekey-bytes", out.rekey_bytes, "a size of 1024KB or more, like 102400000KB or 100GB",
             [](std::string_view text) {
        return parse_bytes(text).and_then(
            [](std::uint64_t bytes) { return bytes >= 1024 * 1024 ? std::optional{bytes} : std::nullopt; });
    });
    // An SA without extended sequence numbers ends at 2^32 (RFC 4303 section 3.3.3); some are left for the exchange.
    map.read_unsigned("rekey-packets", out.rekey_packets, 1000, 4'000'000'000);
    map.read_unsigned("replay-window", out.replay_window, 32, 65536);
}

}  // namespace

void read_ike(Diagnostics& diagnostics, const YAML::Node& node, TunnelConfig& tunnel, Draft& draft) {
    constexpr std::string_view kIdentity = "an identity without quotes, like gw.example.com or 203.0.113.1";
    const MapReader map{diagnostics, node, schema::kIke};
    IkeConfig ike;
    if (map.is_map()) {
        read_credentials(diagnostics, map, ike, draft);
    }
    map.read("local-id", ike.local_id, kIdentity, parse_identity);
    map.read("remote-id", ike.remote_id, kIdentity, parse_identity);
    read_proposals(diagnostics, map, "proposals", false, kAzureIkeProposals, ike.proposals);
    read_proposals(diagnostics, map, "esp-proposals", true, kAzureEspProposals, ike.esp_proposals);
    for (const std::string& proposal : ike.esp_proposals) {
        ike.suites.push_back(*suite_of_proposal(proposal));
    }
    read_lifetimes(map, ike);
    map.read("initiate", ike.initiate, "true or false", parse_bool);
    map.read("nat-t", ike.nat_t, "auto or always", [](std::string_view text) {
        return text == "auto"     ? std::optional{NatTraversal::automatic}
               : text == "always" ? std::optional{NatTraversal::always}
                                  : std::nullopt;
    });
    if (const auto selectors = map.find("selectors")) {
        const MapReader sides{diagnostics, *selectors, schema::kSelectors};
        read_side(diagnostics, sides, "local", ike.local4, ike.local6);
        read_side(diagnostics, sides, "remote", ike.remote4, ike.remote6);
    }
    tunnel.ike = std::move(ike);
}

}  // namespace twinspan
