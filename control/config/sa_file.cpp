#include "control/config/sa_file.hpp"

#include "control/config/scalar.hpp"
#include "control/config/secret_text.hpp"
#include "control/config/yaml_reader.hpp"
#include "crypto/replay_window.hpp"

#include <algorithm>
#include <map>
#include <utility>

namespace twinspan {

namespace {

// RFC 4303 section 2.1: 0 is for local use, 1 to 255 are reserved.
constexpr std::uint64_t kFirstSpi = 256;
constexpr std::uint64_t kLastSpi = 0xffffffff;
// Below are Linux's own services, 500 for IKE among them.
constexpr std::uint16_t kFirstUdpPort = 1024;
constexpr std::uint16_t kLastUdpPort = 65535;

std::string suite_names() {
    std::vector<std::string_view> names;
    for (const SuiteInfo& suite : kSuites) {
        names.push_back(suite.name);
    }
    return join(names);
}

void read_key(Diagnostics& diagnostics, const MapReader& map, const SecretText& secrets, SaConfig& out) {
    const std::string expected = std::to_string(2 * keymat_len(out.suite)) + " hex digits: the key of " +
                                 std::string{name(out.suite)} + " followed by its 4-byte salt";
    const auto node = map.require("key", expected);
    if (!node) {
        return;
    }
    auto bytes = node->IsScalar() ? secrets.bytes_of(node->Scalar()) : std::nullopt;
    if (!bytes) {
        diagnostics.add(*node, "found no run of hex digits, expected " + expected);
    } else if (bytes->size() != keymat_len(out.suite)) {
        diagnostics.add(*node, "found " + std::to_string(2 * bytes->size()) + " hex digits, expected " + expected);
    } else {
        out.keymat = std::move(*bytes);
    }
}

void read_sa(Diagnostics& diagnostics, const MapReader& map, const SecretText& secrets, SaConfig& out) {
    map.read_required("spi", out.spi, "an SPI from 256 to 4294967295 (0x100 to 0xffffffff)",
                      MapReader::unsigned_parser(kFirstSpi, kLastSpi));
    if (map.read_required("suite", out.suite, "one of " + suite_names(), parse_suite)) {
        read_key(diagnostics, map, secrets, out);
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
