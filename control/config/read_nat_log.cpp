// Where the NAT's log goes, and what it holds.
#include "control/config/draft.hpp"
#include "control/config/scalar.hpp"
#include "control/config/schema.hpp"

#include <algorithm>
#include <limits>

namespace twinspan {
namespace {

constexpr std::string_view kCollectorText =
    "an address with or without a port, like 192.0.2.5:4739 or [2001:db8::5]:4739";

// The port is left as it is when none is given.
std::optional<CollectorAddress> parse_collector(std::string_view text) {
    CollectorAddress result;
    std::string_view host = text;
    std::string_view port;
    if (text.starts_with('[')) {
        const std::size_t end = text.find(']');
        if (end == std::string_view::npos || (end + 1 != text.size() && text[end + 1] != ':')) {
            return std::nullopt;
        }
        host = text.substr(1, end - 1);
        port = end + 1 == text.size() ? std::string_view{} : text.substr(end + 2);
        if (end + 2 == text.size()) {
            return std::nullopt;
        }
    } else if (std::ranges::count(text, ':') == 1) {
        const std::size_t colon = text.find(':');
        host = text.substr(0, colon);
        port = text.substr(colon + 1);
        if (port.empty()) {
            return std::nullopt;
        }
    }
    const auto address = IpAddress::parse(host);
    if (!address || address->is_unspecified()) {
        return std::nullopt;
    }
    result.address = *address;
    if (!port.empty()) {
        const auto number = parse_unsigned(port, 1, 65535);
        if (!number) {
            return std::nullopt;
        }
        result.port = static_cast<std::uint16_t>(*number);
    }
    return result;
}

std::optional<IpfixTransport> parse_transport(std::string_view text) {
    return text == "udp"   ? std::optional{IpfixTransport::udp}
           : text == "tcp" ? std::optional{IpfixTransport::tcp}
                           : std::nullopt;
}

}  // namespace

std::string CollectorAddress::text() const {
    const std::string host = address.is_v4() ? address.text() : "[" + address.text() + "]";
    return (transport == IpfixTransport::udp ? "udp " : "tcp ") + host + ":" + std::to_string(port);
}

void read_nat_log(Diagnostics& diagnostics, const YAML::Node& node, Draft& draft) {
    const MapReader map{diagnostics, node, schema::kNatLog};
    NatLogConfig log;
    map.read_required("collector", log.collector, kCollectorText, parse_collector);
    map.read("transport", log.collector.transport, "udp or tcp", parse_transport);
    map.read("sessions", log.sessions, "true or false", parse_bool);
    map.read("mappings", log.mappings, "true or false", parse_bool);
    map.read_unsigned("rate", log.rate, 1, 10'000'000);
    map.read_unsigned("domain", log.domain, 0, std::numeric_limits<std::uint32_t>::max());
    map.read("template-refresh", log.refresh_seconds, "a time like 60s or 10m", parse_seconds);
    map.read_unsigned("template-messages", log.refresh_messages, 1, 1'000'000);
    if (log.collector.transport == IpfixTransport::tcp) {
        for (const std::string_view key : {"template-refresh", "template-messages"}) {
            if (const auto given = map.find(key)) {
                diagnostics.add(*given, "found '" + std::string{key} +
                                            "', expected none with transport tcp: templates are sent once for each "
                                            "connection");
            }
        }
    }
    if (draft.peerings_complete && draft.config.pools.empty()) {
        diagnostics.add(map.position(), "found nat-log without a pool, expected 'nat' on a peering");
    }
    draft.config.nat_log = log;
}

}  // namespace twinspan
