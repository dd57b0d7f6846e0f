// Inside keys of UDP sessions, none twice.
#pragma once

#include "dataplane/packet/headers.hpp"
#include "dataplane/state/nat_key.hpp"

#include <cstdint>

namespace twinspan::bench {

// Of one inside port after the other, each towards `remotes` remote endpoints.
class NatFlows {
public:
    explicit NatFlows(std::uint32_t remotes) : remotes_(remotes) {}
    NatKey next() noexcept {
        constexpr std::uint32_t kPorts = 400, kFirstPort = 20'000, kHosts = 0x0a800000, kRemotes = 0x0d000000;
        const std::uint32_t port = n_ / remotes_, remote = n_ % remotes_;
        ++n_;
        return nat_key(to_be32(kHosts + port / kPorts), to_be32(kRemotes + remote),
                       to_be16(static_cast<std::uint16_t>(kFirstPort + port % kPorts)), to_be16(443), +IpProtocol::udp);
    }

private:
    std::uint32_t remotes_;
    std::uint32_t n_ = 0;
};

}  // namespace twinspan::bench
