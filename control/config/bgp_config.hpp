// What the configuration says of BGP: our autonomous system, the sessions with Microsoft's routers over the legs of the
// circuit, and those inside tunnels. Twinspan speaks no BGP: this is what `twinspanctl render frr` writes down.
#pragma once

#include "control/config/prefix.hpp"
#include "dataplane/base/zone.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

namespace twinspan {

inline constexpr std::uint32_t kMicrosoftAsn = 12076;  // both routers of a circuit, on every peering
inline constexpr std::uint32_t kAzureGatewayAsn = 65515;  // an Azure VPN gateway, unless it was given another

struct BgpConfig {
    std::uint32_t asn = 0;
    be32 router_id{};
    // The site's prefixes: for private peering and for tunnels. Public and Microsoft peering announce their pool.
    std::vector<Prefix4> announce4;
    std::vector<Prefix6> announce6;
    friend bool operator==(const BgpConfig&, const BgpConfig&) = default;
};

struct Community {
    std::uint16_t asn = 0;
    std::uint16_t value = 0;
    friend constexpr auto operator<=>(Community, Community) noexcept = default;
};

// What a peering says for all its legs, and each of them may say otherwise.
struct BgpSession {
    std::filesystem::path password_file;  // empty: no MD5 signatures (RFC 2385)
    std::uint32_t keepalive_s = 10;
    std::uint32_t hold_s = 30;
    bool bfd = true;
    std::uint32_t bfd_interval_ms = 300;  // Microsoft's routers send no faster
    std::uint32_t bfd_multiplier = 3;
    std::uint32_t max_prefixes = 0;  // IPv4 prefixes that we announce at most: beyond it the peer drops the session
    std::vector<Community> communities;  // routes with one of them are taken; empty: all
    std::uint32_t local_preference = 100;
    std::uint32_t prepend = 0;  // how often our ASN is put in front of what we announce
    friend bool operator==(const BgpSession&, const BgpSession&) = default;
};

struct PeeringBgp {
    Zone zone = Zone::private_peering;
    BgpSession session;
    bool announce_given = false;  // `announce` of this peering, in the place of the whole site's
    std::vector<Prefix4> announce4;
    std::vector<Prefix6> announce6;
    friend bool operator==(const PeeringBgp&, const PeeringBgp&) = default;
};

// One leg's session, complete: the peering's values and the leg's own.
struct LegBgp {
    BgpSession session;
    std::uint32_t peer_asn = kMicrosoftAsn;
    std::optional<be32> peer4;  // by default the second address of the leg's /30 and /126
    std::optional<Ipv6Address> peer6;
    friend bool operator==(const LegBgp&, const LegBgp&) = default;
};

struct TunnelBgp {
    be32 peer{};
    std::uint32_t peer_asn = kAzureGatewayAsn;
    std::uint32_t keepalive_s = 60;  // Azure's gateway has these two fixed, and does not negotiate
    std::uint32_t hold_s = 180;
    std::uint32_t max_prefixes = 4000;
    std::uint32_t local_preference = 0;  // 0 in the file's place: 100, or 50 for a tunnel that is a fallback
    std::uint32_t prepend = 0;
    friend bool operator==(const TunnelBgp&, const TunnelBgp&) = default;
};

// Where traffic of a peering goes when neither of its links is left.
struct FallbackConfig {
    Zone zone = Zone::private_peering;
    std::vector<std::size_t> tunnels;  // indexes in Config::tunnels; only for private peering
    bool internet = false;  // plain internet, with its pool; only for public and Microsoft peering
    friend bool operator==(const FallbackConfig&, const FallbackConfig&) = default;
};

}  // namespace twinspan
