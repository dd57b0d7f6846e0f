// The NAT's log as configured.
#pragma once

#include "dataplane/base/prefix.hpp"

#include <cstdint>
#include <string>

namespace twinspan {

enum class IpfixTransport : std::uint8_t { udp, tcp };

struct CollectorAddress {
    IpAddress address{};
    std::uint16_t port = 4739;  // IANA's for IPFIX
    IpfixTransport transport = IpfixTransport::udp;

    std::string text() const;  // "udp 192.0.2.5:4739", "tcp [2001:db8::5]:4739"
    friend bool operator==(const CollectorAddress&, const CollectorAddress&) = default;
};

struct NatLogConfig {
    CollectorAddress collector{};
    std::uint32_t refresh_seconds = 60;    // of templates, over UDP
    std::uint32_t refresh_messages = 100;  // the same
    std::uint32_t rate = 50'000;           // sessions and mappings a second
    std::uint32_t domain = 1;              // observation domain
    bool sessions = false;
    bool mappings = false;
    friend bool operator==(const NatLogConfig&, const NatLogConfig&) = default;
};

}  // namespace twinspan
