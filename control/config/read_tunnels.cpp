// The tunnels section.
#include "control/config/draft.hpp"
#include "control/config/scalar.hpp"
#include "control/config/schema.hpp"

#include <limits>

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

}  // namespace

void read_tunnels(Diagnostics& diagnostics, const YAML::Node& tunnels, Draft& draft) {
    constexpr std::uint64_t kLastIfId = std::numeric_limits<std::uint32_t>::max();
    // The SA file's path is taken from the folder of the configuration, not from where the daemon was started.
    const std::filesystem::path folder = std::filesystem::path{diagnostics.file()}.parent_path();
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
        at.local = read_at(map, "local", tunnel.local, "an IPv4 address of one of our legs", parse_address4, true);
        at.remote =
            read_at(map, "remote", tunnel.remote, "the IPv4 address of the remote gateway", parse_address4, true);
        at.mtu = read_at(map, "mtu", tunnel.mtu, MapReader::unsigned_text(576, 9216),
                         MapReader::unsigned_parser(576, 9216), false);
        at.sa_file = read_at(map, "sa-file", tunnel.sa_file, "the path of a file with the tunnel's keys",
                             [&](std::string_view text) {
            return text.empty() ? std::nullopt : std::optional{(folder / text).lexically_normal()};
        }, true);
        map.read("netdev", tunnel.netdev, "true or false", parse_bool);
        tunnel.name = name.value_or("");
        draft.tunnel_names.push_back(name ? position_of(key) : SourcePosition{});
        draft.tunnels.push_back(at);
        draft.config.tunnels.push_back(std::move(tunnel));
    });
}

}  // namespace twinspan
