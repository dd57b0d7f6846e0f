// How a tunnel's keys are negotiated. Twinspan speaks no IKE: this is what `twinspanctl render strongswan` writes down.
#pragma once

#include "control/config/algorithms.hpp"
#include "control/config/prefix.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace twinspan {

enum class NatTraversal : std::uint8_t {
    automatic,  // ESP in UDP when IKE sees a translation on the path
    always,  // ESP in UDP whatever IKE sees
};

struct IkeConfig {
    std::filesystem::path psk_file;  // either this,
    std::filesystem::path certificate;  // or these three, in PEM form
    std::filesystem::path key;
    std::filesystem::path ca;
    std::string local_id;  // empty: the tunnel's addresses
    std::string remote_id;
    std::vector<std::string> proposals;  // in strongSwan's notation, without `esp-` or `ike-`
    std::vector<std::string> esp_proposals;  // the same
    std::vector<SuiteChoice> suites;  // of the esp_proposals, in their order
    std::uint32_t dpd_s = 45;
    bool initiate = true;
    NatTraversal nat_t = NatTraversal::automatic;
    std::uint32_t rekey_time_s = 27000;
    std::uint64_t rekey_bytes = 102'400'000ull * 1024;
    // Without extended sequence numbers an SA has 2^32 packets (RFC 4303 section 2.2).
    std::uint64_t rekey_packets = 3'500'000'000;
    std::uint32_t replay_window = 1024;
    std::vector<Prefix4> local4, remote4;  // traffic selectors; none of a side's: any
    std::vector<Prefix6> local6, remote6;
    friend bool operator==(const IkeConfig&, const IkeConfig&) = default;
};

}  // namespace twinspan
