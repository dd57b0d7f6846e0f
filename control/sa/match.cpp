#include "control/sa/match.hpp"

#include "crypto/esp_format.hpp"

#include <algorithm>

namespace twinspan {
namespace {

constexpr std::string_view kAesGcm = "rfc4106(gcm(aes))";

std::unexpected<SaRefusal> unsupported(std::string why) {
    return std::unexpected(SaRefusal{Metric::xfrm_sa_unsupported, std::move(why)});
}

std::expected<Suite, SaRefusal> suite_of(const netlink::SaEvent& sa) {
    if (sa.cipher != kAesGcm) {
        return unsupported("cipher " + sa.cipher + " is not supported, only " + std::string{kAesGcm});
    }
    if (sa.icv_bits != 8 * info(Suite::aes_256_gcm).icv_len) {
        return unsupported("an ICV of " + std::to_string(sa.icv_bits) + " bits is not supported, only " +
                           std::to_string(8 * info(Suite::aes_256_gcm).icv_len));
    }
    const auto suite = std::ranges::find_if(kSuites, [&](const SuiteInfo& info) {
        return info.kind == SuiteKind::gcm && keymat_len(info.id) == sa.keymat.size();
    });
    if (suite == kSuites.end()) {
        return std::unexpected(SaRefusal{Metric::xfrm_sa_key_length, "a key of " + std::to_string(sa.keymat.size()) +
                                                                         " bytes with its salt; " +
                                                                         std::string{kAesGcm} + " has 20, 28 or 36"});
    }
    if (std::ranges::all_of(sa.keymat.span(), [](std::uint8_t byte) { return byte == 0; })) {
        return unsupported("its key is all zeros, as Linux shows every key under lockdown=confidentiality");
    }
    return suite->id;
}

std::expected<bool, SaRefusal> is_outbound(const TunnelConfig& tunnel, const netlink::SaEvent& sa) {
    const IpAddress local = IpAddress::from(tunnel.local);
    const IpAddress remote = IpAddress::from(tunnel.remote);
    const bool out = sa.source == local && sa.id.destination == remote;
    const bool in = sa.source == remote && sa.id.destination == local;
    const bool agrees =
        sa.direction == netlink::SaDirection::unknown || (sa.direction == netlink::SaDirection::out ? out : in);
    if ((!out && !in) || !agrees) {
        return std::unexpected(SaRefusal{Metric::xfrm_sa_address,
                                         "it goes from " + sa.source.text() + " to " + sa.id.destination.text() +
                                             ", the tunnel is between " + local.text() + " and " + remote.text()});
    }
    return out;
}

}  // namespace

std::expected<SaMatch, SaRefusal> match_sa(const Config& config, const netlink::SaEvent& sa) {
    const auto tunnel = std::ranges::find(config.tunnels, sa.if_id, &TunnelConfig::if_id);
    if (tunnel == config.tunnels.end()) {
        return std::unexpected(
            SaRefusal{Metric::xfrm_sa_unknown_if_id, "no tunnel has if-id " + std::to_string(sa.if_id)});
    }
    if (!tunnel->ike) {
        return unsupported("tunnel " + tunnel->name + " has static SAs");
    }
    if (sa.mode != netlink::SaMode::tunnel) {
        return unsupported(std::string{sa.mode == netlink::SaMode::transport ? "transport mode" : "its mode"} +
                           " is not supported, only tunnel mode");
    }
    if (!sa.encapsulation.supported) {
        return unsupported("its encapsulation is not supported, only ESP in UDP");
    }
    const auto outbound = is_outbound(*tunnel, sa);
    if (!outbound) {
        return std::unexpected(outbound.error());
    }
    const auto suite = suite_of(sa);
    if (!suite) {
        return std::unexpected(suite.error());
    }
    return SaMatch{static_cast<std::size_t>(tunnel - config.tunnels.begin()), *outbound, *suite};
}

}  // namespace twinspan
