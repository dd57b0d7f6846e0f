// `show tunnels` and `show sas`.
#include "control/ctl/view_parts.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace twinspan::ctl {

namespace {

using nlohmann::json;

constexpr Column kTunnels[] = {
    {"tunnel", "name"},
    {"if-id", "if_id", Format::integer},
    {"link", "link", Format::text, Empty::hide},
    {"local", "local"},
    {"remote", "remote"},
    {"state", "state"},
    {"suite", "suite"},
    {"mtu", "inner_mtu", Format::integer},
    {"mss", "mss4", Format::integer},
};
constexpr Column kTunnelCounters[] = {
    {"tunnel", "name"},
    {"spi out", "spi_out", Format::hex},
    {"spi in", "spi_in", Format::hex},
    {"sequence", "sequence", Format::count},
    {"reserved", "reserved_until", Format::count},
    {"rx packets", "rx_packets", Format::count},
    {"rx bytes", "rx_bytes", Format::bytes},
    {"tx packets", "tx_packets", Format::count},
    {"tx bytes", "tx_bytes", Format::bytes},
};
constexpr Column kSasOfTunnels[] = {
    {"tunnel", "tunnel"},
    {"spi", "spi", Format::hex},
    {"direction", "direction"},
    {"source", "source"},
    {"in use", "in_use", Format::yes_no},
    {"sequence", "sequence", Format::count},
    {"reserved", "reserved_until", Format::count, Empty::hide},
    {"window", "window", Format::integer, Empty::hide},
    {"packets", "packets", Format::count},
    {"bytes", "bytes", Format::bytes},
};
constexpr Column kSas[] = {
    {"tunnel", "tunnel"},
    {"spi", "spi", Format::hex},
    {"dir", "direction"},
    {"suite", "suite"},
    {"icv", "icv", Format::integer},
    {"esn", "esn", Format::yes_no},
    {"udp", "encapsulation"},
    {"peer", "peer"},
};
constexpr Column kSaCounters[] = {
    {"tunnel", "tunnel"},
    {"spi", "spi", Format::hex},
    {"sequence", "sequence", Format::count},
    {"window", "window", Format::integer, Empty::hide},
    {"packets", "packets", Format::count},
    {"bytes", "bytes", Format::bytes},
    {"packets left", "left.packets", Format::count, Empty::hide},
    {"bytes left", "left.bytes", Format::bytes, Empty::hide},
    {"time left", "left.seconds", Format::seconds, Empty::hide},
};

}  // namespace

std::string tunnels_view(const json& data) {
    std::string out = two_tables(kTunnels, kTunnelCounters, data, "no tunnels");
    constexpr Column kReasons[] = {{"tunnel", "name"}, {"not up because", "reason"}};
    json down = json::array();
    std::ranges::copy_if(data, std::back_inserter(down), [](const json& row) {
        return row.contains("reason") && row["reason"].is_string() &&
               !row["reason"].get_ref<const std::string&>().empty();
    });
    json sas = json::array();
    for (const json& tunnel : data) {
        for (json row : list_at(tunnel, "sas")) {
            row["tunnel"] = text_at(tunnel, "name");
            sas.push_back(std::move(row));
        }
    }
    out += sas.empty() ? "" : '\n' + render(kSasOfTunnels, sas);
    return out + (down.empty() ? "" : '\n' + render(kReasons, down));
}

std::string sas_view(const json& data) { return two_tables(kSas, kSaCounters, data, "no security associations"); }

}  // namespace twinspan::ctl
