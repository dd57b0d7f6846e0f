#include "control/config/sa_file.hpp"

#include "control/config/algorithms.hpp"
#include "control/config/scalar.hpp"
#include "control/config/secret_text.hpp"
#include "control/config/yaml_reader.hpp"
#include "crypto/replay_window.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace twinspan {

namespace {

// RFC 4303 section 2.1: 0 is for local use, 1 to 255 are reserved.
constexpr std::uint64_t kFirstSpi = 256;
constexpr std::uint64_t kLastSpi = 0xffffffff;
// Below are Linux's own services, 500 for IKE among them.
constexpr std::uint16_t kFirstUdpPort = 1024;
constexpr std::uint16_t kLastUdpPort = 65535;

std::vector<std::string_view> suite_names() {
    std::vector<std::string_view> names;
    for (const SuiteInfo& suite : kSuites) {
        names.push_back(suite.name);
    }
    return names;
}

// What a key must look like; the message never quotes it.
std::optional<SecretBytes> read_hex(Diagnostics& diagnostics, const MapReader& map, const SecretText& secrets,
                                    std::string_view key, std::size_t bytes_wanted, const std::string& of) {
    const std::string expected = std::to_string(2 * bytes_wanted) + " hex digits: " + of;
    const auto node = map.require(key, expected);
    if (!node) {
        return std::nullopt;
    }
    auto bytes = node->IsScalar() ? secrets.bytes_of(node->Scalar()) : std::nullopt;
    if (!bytes) {
        diagnostics.add(*node, "found no run of hex digits, expected " + expected);
    } else if (bytes->size() != bytes_wanted) {
        diagnostics.add(*node, "found " + std::to_string(2 * bytes->size()) + " hex digits, expected " + expected);
        bytes.reset();
    }
    return bytes;
}

void read_keys(Diagnostics& diagnostics, const MapReader& map, const SecretText& secrets, SaConfig& out) {
    const SuiteInfo& suite = info(out.suite);
    const std::string name{suite.name};
    if (suite.auth_key_len == 0) {
        if (const auto node = map.find("integrity-key")) {
            diagnostics.add(*node, "found an integrity key, expected none with " + name + ": its key does both");
        }
        if (auto key = read_hex(diagnostics, map, secrets, "key", keymat_len(out.suite),
                                "the key of " + name + " followed by its 4-byte salt")) {
            out.keymat = std::move(*key);
        }
        return;
    }
    const auto key = read_hex(diagnostics, map, secrets, "key", suite.key_len, "the encryption key of " + name);
    const auto integrity =
        read_hex(diagnostics, map, secrets, "integrity-key", suite.auth_key_len, "the integrity key of " + name);
    if (key && integrity) {
        out.keymat = SecretBytes{keymat_len(out.suite)};
        std::ranges::copy(key->span(), out.keymat.data());
        std::ranges::copy(integrity->span(), out.keymat.data() + key->size());
    }
}

bool read_suite(Diagnostics& diagnostics, const MapReader& map, Suite& out) {
    const std::string expected = "one of " + join(suite_names());
    const auto node = map.require("suite", expected);
    if (!node) {
        return false;
    }
    if (const auto suite = node->IsScalar() ? parse_suite(node->Scalar()) : std::nullopt) {
        out = *suite;
        return true;
    }
    if (const std::string why = node->IsScalar() ? why_broken(node->Scalar()) : ""; !why.empty()) {
        diagnostics.add(*node, "found '" + node->Scalar() + "', expected a suite that protects: " + why);
    } else {
        diagnostics.unknown_name(*node, expected, suite_names());
    }
    return false;
}

// RFC 4106 section 6: AES-GCM has three lengths, every other suite one.
void read_icv(const MapReader& map, SaConfig& out) {
    const SuiteInfo& suite = info(out.suite);
    const std::string expected = suite.kind == SuiteKind::gcm ? "an ICV of 8, 12 or 16 bytes"
                                                              : "an ICV of " + std::to_string(suite.icv_len) +
                                                                    " bytes with " + std::string{suite.name};
    map.read("icv", out.icv_len, expected, [&](std::string_view text) {
        const auto bytes = parse_unsigned(text, 1, 255);
        return bytes && icv_len_is_valid(out.suite, *bytes) ? bytes : std::nullopt;
    });
}

void read_sa(Diagnostics& diagnostics, const MapReader& map, const SecretText& secrets, SaConfig& out) {
    map.read_required("spi", out.spi, "an SPI from 256 to 4294967295 (0x100 to 0xffffffff)",
                      MapReader::unsigned_parser(kFirstSpi, kLastSpi));
    if (read_suite(diagnostics, map, out.suite)) {
        read_keys(diagnostics, map, secrets, out);
        read_icv(map, out);
    }
}

bool same_keymat(const SaConfig& a, const SaConfig& b) {
    return !a.keymat.empty() && equal_in_constant_time(a.keymat.span(), b.keymat.span());
}

void read_file(Diagnostics& diagnostics, const SecretText& secrets, SaFile& out) {
    const auto root = parse_yaml(diagnostics, secrets.text());
    if (!root) {
        return;
    }
    const MapReader map{diagnostics, *root, schema::kSaFile};
    map.read_unsigned("udp-encapsulation", out.udp_port, kFirstUdpPort, kLastUdpPort);
    bool extended = false;
    map.read("extended-sequence-numbers", extended, "true or false", parse_bool);
    out.outbound.width = out.inbound.width = extended ? SequenceWidth::bits64 : SequenceWidth::bits32;
    if (const auto node = map.require("outbound", "the SA for what we send")) {
        read_sa(diagnostics, MapReader{diagnostics, *node, schema::kOutboundSa}, secrets, out.outbound);
    }
    const auto inbound = map.require("inbound", "the SA for what we receive");
    if (!inbound) {
        return;
    }
    const MapReader inbound_map{diagnostics, *inbound, schema::kInboundSa};
    read_sa(diagnostics, inbound_map, secrets, out.inbound);
    inbound_map.read_unsigned("replay-window", out.replay_window_bits, ReplayWindow::kMinBits, ReplayWindow::kMaxBits);
    if (same_keymat(out.outbound, out.inbound)) {
        diagnostics.add(*inbound,
                        "found the key of outbound again, expected another: one key in both directions repeats IVs");
    }
}

void append(std::vector<ConfigError>& to, std::vector<ConfigError> from) {
    std::ranges::move(from, std::back_inserter(to));
}

// What two tunnels must not share: inbound SPIs choose the SA, and one key in two SAs repeats IVs.
void check_shared(const Config& config, const std::vector<SaFile>& files, std::vector<ConfigError>& errors) {
    std::map<std::uint32_t, std::size_t> spis;
    std::map<std::size_t, std::vector<std::pair<const SaConfig*, std::size_t>>> by_first_byte;
    for (std::size_t i = 0; i < files.size(); ++i) {
        if (config.tunnels[i].ike) {
            continue;
        }
        const std::string file = config.tunnels[i].sa_file.string();
        if (const auto [first, is_new] = spis.emplace(files[i].inbound.spi, i); !is_new) {
            errors.push_back({file, 0, 0,
                              "found inbound SPI " + std::to_string(files[i].inbound.spi) + " of tunnel '" +
                                  config.tunnels[first->second].name + "' again, expected another"});
        }
        for (const SaConfig* sa : {&files[i].outbound, &files[i].inbound}) {
            auto& alike = by_first_byte[std::size_t{sa->keymat.data()[0]} << 8 | sa->keymat.data()[1]];
            for (const auto& [other, owner] : alike) {
                if (owner != i && same_keymat(*sa, *other)) {
                    errors.push_back({file, 0, 0,
                                      "found a key of tunnel '" + config.tunnels[owner].name +
                                          "' again, expected another: one key in two SAs repeats IVs"});
                }
            }
            alike.emplace_back(sa, i);
        }
    }
}

}  // namespace

std::expected<SaFile, std::vector<ConfigError>> load_sa_file(const std::filesystem::path& path) {
    Diagnostics diagnostics{path.string()};
    const auto secrets = SecretText::read(path);
    if (!secrets) {
        diagnostics.add(SourcePosition{}, secrets.error());
        return std::unexpected(diagnostics.take());
    }
    SaFile out;
    try {
        read_file(diagnostics, *secrets, out);
    } catch (const YAML::Exception&) {  // its text may quote the file
        diagnostics.add(SourcePosition{}, "found a construct that cannot be read, expected plain YAML");
    }
    if (diagnostics.count() != 0) {
        return std::unexpected(diagnostics.take());
    }
    return out;
}

std::expected<std::vector<SaFile>, std::vector<ConfigError>> load_sa_files(const Config& config) {
    std::vector<SaFile> files;
    std::vector<ConfigError> errors;
    for (const TunnelConfig& tunnel : config.tunnels) {
        if (tunnel.ike) {
            files.emplace_back();
        } else if (auto file = load_sa_file(tunnel.sa_file)) {
            files.push_back(std::move(*file));
        } else {
            append(errors, std::move(file.error()));
        }
    }
    if (errors.empty()) {
        check_shared(config, files, errors);
    }
    if (!errors.empty()) {
        errors.resize(std::min(errors.size(), kMaxConfigErrors));
        return std::unexpected(std::move(errors));
    }
    return files;
}

}  // namespace twinspan
