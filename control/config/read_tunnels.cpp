// The tunnels section.
#include "control/config/draft.hpp"
#include "control/config/scalar.hpp"
#include "control/config/schema.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace twinspan {

namespace {

// The position of a key whose value was read; unknown when there is none, so that nothing is said about it twice.
template <class T, class Parse>
SourcePosition read_at(const MapReader& map, std::string_view key, T& out, std::string_view expected, Parse parse,
                       bool required) {
    if (!required && !map.find(key)) {
        return {};
    }
    return map.read_required(key, out, expected, parse) ? position_of(*map.find(key)) : SourcePosition{};
}

// A word that stands for a value.
template <class T, std::size_t N>
auto word_parser(const std::pair<std::string_view, T> (&words)[N]) {
    return [&words](std::string_view text) {
        const auto found = std::ranges::find(words, text, &std::pair<std::string_view, T>::first);
        return found == std::end(words) ? std::nullopt : std::optional<T>{found->second};
    };
}

std::optional<std::uint8_t> parse_hop_limit(std::string_view text) {
    return text == "copy"
               ? std::optional{kCopyHopLimit}
               : parse_unsigned(text, 1, 255).transform([](std::uint64_t n) { return static_cast<std::uint8_t>(n); });
}

void read_dscp(const MapReader& map, OuterHeaderConfig& outer) {
    map.read("dscp", outer, "copy, microsoft, a class like EF or AF41, or a number from 0 to 63",
             [&](std::string_view text) {
        OuterHeaderConfig with = outer;
        with.dscp = text == "copy" ? DscpRule::copy : text == "microsoft" ? DscpRule::microsoft : DscpRule::fixed;
        const auto fixed = with.dscp == DscpRule::fixed ? parse_dscp(text) : std::optional<std::uint8_t>{0};
        with.fixed_dscp = fixed.value_or(0);
        return fixed ? std::optional{with} : std::nullopt;
    });
}

void read_outer_header(const MapReader& map, OuterHeaderConfig& outer, TunnelPositions& at) {
    static constexpr std::pair<std::string_view, EcnRule> kEcn[] = {{"copy", EcnRule::normal},
                                                                    {"clear", EcnRule::compatibility}};
    static constexpr std::pair<std::string_view, DfRule> kDf[] = {
        {"set", DfRule::set}, {"clear", DfRule::clear}, {"copy", DfRule::copy}};
    static constexpr std::pair<std::string_view, FlowLabelRule> kFlowLabel[] = {
        {"hash", FlowLabelRule::hash}, {"zero", FlowLabelRule::zero}, {"copy", FlowLabelRule::copy}};
    read_dscp(map, outer);
    map.read("ecn", outer.ecn, "copy or clear", word_parser(kEcn));
    at.df = read_at(map, "df", outer.df, "set, clear or copy", word_parser(kDf), false);
    map.read("ttl", outer.hop_limit, "a number from 1 to 255, or copy", parse_hop_limit);
    at.flow_label = read_at(map, "flow-label", outer.flow_label, "hash, zero or copy", word_parser(kFlowLabel), false);
}

void read_lifetime(Diagnostics& diagnostics, const MapReader& map, LifetimeConfig& out, TunnelPositions& at) {
    const auto node = map.find("lifetime");
    if (!node) {
        return;
    }
    at.lifetime = position_of(*node);
    const MapReader lifetime{diagnostics, *node, schema::kLifetime};
    lifetime.read("bytes", out.bytes, "a size like 102400000KB or 100GB", parse_bytes);
    lifetime.read_unsigned("packets", out.packets, 1000, std::uint64_t{1} << 62);
    lifetime.read("time", out.seconds, "a time from 1s to 7 days, like 27000s or 8h", parse_seconds);
}

// Static, or negotiated.
void read_keys(Diagnostics& diagnostics, const MapReader& map, TunnelConfig& tunnel, TunnelPositions& at,
               Draft& draft) {
    const auto ike = map.find("ike");
    if (ike && map.find("sa-file")) {
        diagnostics.add(*ike, "found both 'ike' and 'sa-file', expected one of them: keys are negotiated or static");
    }
    if (ike) {
        read_ike(diagnostics, *ike, tunnel, draft);
        return;
    }
    if (!map.require("sa-file", "the path of a file with the tunnel's keys, or 'ike'")) {
        return;
    }
    if (const auto file = read_file_name(diagnostics, map, "sa-file", "the tunnel's keys", draft)) {
        tunnel.sa_file = *file;
        at.sa_file = position_of(*map.find("sa-file"));
    }
}

}  // namespace

std::optional<std::filesystem::path> read_file_name(Diagnostics& diagnostics, const MapReader& map,
                                                    std::string_view key, std::string content, Draft& draft) {
    const auto node = map.find(key);
    if (!node) {
        return std::nullopt;
    }
    // Not from where the program was started.
    const std::filesystem::path folder = std::filesystem::path{diagnostics.file()}.parent_path();
    const auto path = read_scalar(diagnostics, *node, "the path of a file with " + content, [&](std::string_view text) {
        return text.empty() ? std::nullopt : std::optional{(folder / text).lexically_normal()};
    });
    if (path) {
        draft.files.push_back({*path, position_of(*node), std::move(content)});
    }
    return path;
}

void read_tunnels(Diagnostics& diagnostics, const YAML::Node& tunnels, Draft& draft) {
    constexpr std::uint64_t kLastIfId = std::numeric_limits<std::uint32_t>::max();
    for_each_entry(diagnostics, tunnels, "a mapping of tunnel names",
                   [&](const YAML::Node& key, const YAML::Node& value) {
        TunnelConfig tunnel;
        TunnelPositions at;
        const auto name =
            read_scalar(diagnostics, key, "a tunnel name of at most 15 letters, digits and - _ .", parse_netdev_name);
        const MapReader map{diagnostics, value, schema::kTunnel};
        if (!map.is_map()) {
            return;
        }
        at.tunnel = map.position();
        at.if_id = read_at(map, "if-id", tunnel.if_id, MapReader::unsigned_text(1, kLastIfId),
                           MapReader::unsigned_parser(1, kLastIfId), true);
        at.link = read_at(map, "link", tunnel.link, "primary or secondary", parse_link, false);
        at.local = read_at(map, "local", tunnel.local, "an address of one of our legs", parse_address, true);
        at.remote = read_at(map, "remote", tunnel.remote, "the address of the remote gateway", parse_address, true);
        at.mtu = read_at(map, "mtu", tunnel.mtu, MapReader::unsigned_text(576, 9216),
                         MapReader::unsigned_parser(576, 9216), false);
        read_outer_header(map, tunnel.outer, at);
        map.read_unsigned("peer-window", tunnel.peer_window, 0, 65536);
        map.read("decrypt", tunnel.spread_decryption, "one or spread", [](std::string_view text) {
            return text == "spread" ? std::optional{true} : text == "one" ? std::optional{false} : std::nullopt;
        });
        read_lifetime(diagnostics, map, tunnel.lifetime, at);
        map.read("netdev", tunnel.netdev, "true or false", parse_bool);
        at.address = read_at(map, "address", tunnel.address,
                             "the IPv4 address of the tunnel's interface with its length, like 169.254.21.1/30",
                             parse_interface_address4, false);
        read_keys(diagnostics, map, tunnel, at, draft);
        if (const auto bgp = map.find("bgp")) {
            read_tunnel_bgp(diagnostics, *bgp, tunnel, draft);
        }
        tunnel.name = name.value_or("");
        draft.tunnel_names.push_back(name ? position_of(key) : SourcePosition{});
        draft.tunnels.push_back(at);
        draft.config.tunnels.push_back(std::move(tunnel));
    });
}

}  // namespace twinspan
