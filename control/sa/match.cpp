#include "control/sa/match.hpp"

#include "control/config/algorithms.hpp"

#include <algorithm>
#include <iterator>
#include <string_view>

namespace twinspan {
namespace {

std::unexpected<SaRefusal> unsupported(std::string why) {
    return std::unexpected(SaRefusal{Metric::xfrm_sa_unsupported, std::move(why)});
}

// Linux's names, with Linux's lengths in bits.
struct Offered {
    std::string_view cipher;
    std::string_view integrity;
    SuiteKind kind;
    std::string_view digest;  // how our name of the suite ends
};
constexpr Offered kOffered[] = {
    {"rfc4106(gcm(aes))", "", SuiteKind::gcm, "gcm"},
    {"rfc7539esp(chacha20,poly1305)", "", SuiteKind::chacha20_poly1305, "poly1305"},
    {"rfc4543(gcm(aes))", "", SuiteKind::gmac, "gmac"},
    {"cbc(aes)", "hmac(sha1)", SuiteKind::cbc_hmac, "sha1"},
    {"cbc(aes)", "hmac(sha256)", SuiteKind::cbc_hmac, "sha256"},
    {"cbc(aes)", "hmac(sha384)", SuiteKind::cbc_hmac, "sha384"},
    {"cbc(aes)", "hmac(sha512)", SuiteKind::cbc_hmac, "sha512"},
};

std::unexpected<SaRefusal> not_offered(const netlink::SaAlgorithms& a) {
    if (const std::string why = why_broken(a.text()); !why.empty()) {
        return unsupported(a.text() + " is not used, " + why);
    }
    if (a.cipher == "cbc(aes)" && a.integrity.empty()) {
        return unsupported(
            "cbc(aes) without integrity is not used, without integrity nothing is protected: use "
            "aes-256-gcm or aes-256-cbc-hmac-sha256");
    }
    return unsupported(a.text() + " is not supported: use aes-256-gcm or aes-256-cbc-hmac-sha256");
}

std::expected<SuiteChoice, SaRefusal> suite_of(const netlink::SaAlgorithms& a) {
    const auto offered = std::ranges::find_if(
        kOffered, [&](const Offered& o) { return o.cipher == a.cipher && o.integrity == a.integrity; });
    if (offered == std::end(kOffered)) {
        return not_offered(a);
    }
    const auto suite = std::ranges::find_if(kSuites, [&](const SuiteInfo& s) {
        return s.kind == offered->kind && s.name.ends_with(offered->digest) && keymat_len(s.id) == a.keymat.size() &&
               s.auth_key_len == a.integrity_key_bytes;
    });
    if (suite == kSuites.end()) {
        return std::unexpected(SaRefusal{Metric::xfrm_sa_key_length, a.text() + " has no key of " +
                                                                         std::to_string(a.keymat.size()) +
                                                                         " bytes, salt and integrity key included"});
    }
    if (std::ranges::all_of(a.keymat.span(), [](std::uint8_t byte) { return byte == 0; })) {
        return unsupported("its key is all zeros, as Linux shows every key under lockdown=confidentiality");
    }
    if (a.icv_bits % 8 != 0 || !icv_len_is_valid(suite->id, a.icv_bits / 8)) {
        return unsupported(a.text() + " with an ICV of " + std::to_string(a.icv_bits) + " bits is not supported, " +
                           (suite->kind == SuiteKind::gcm ? "only 64, 96 and " : "only ") +
                           std::to_string(8 * suite->icv_len));
    }
    return SuiteChoice{suite->id, static_cast<std::uint8_t>(a.icv_bits / 8)};
}

// The key daemon has authenticated the peer, wherever it is: its address may be another than the configured one.
std::expected<bool, SaRefusal> is_outbound(const Config& config, std::size_t index, const netlink::SaEvent& sa) {
    const TunnelConfig& tunnel = config.tunnels[index];
    const bool out = sa.source == tunnel.local && sa.id.destination != tunnel.local;
    const bool in = sa.id.destination == tunnel.local && sa.source != tunnel.local;
    const bool agrees =
        sa.direction == netlink::SaDirection::unknown || (sa.direction == netlink::SaDirection::out ? out : in);
    const auto refused = [&](const std::string& why) {
        return std::unexpected(SaRefusal{Metric::xfrm_sa_address, "it goes from " + sa.source.text() + " to " +
                                                                      sa.id.destination.text() + ", " + why});
    };
    if ((!out && !in) || !agrees) {
        return refused("the tunnel is between " + tunnel.local.text() + " and " + tunnel.remote.text());
    }
    if (const std::string why = refusal_of_peer(config, index, out ? sa.id.destination : sa.source); !why.empty()) {
        return refused(why);
    }
    return out;
}

}  // namespace

std::string refusal_of_peer(const Config& config, std::size_t tunnel, const IpAddress& peer) {
    const TunnelConfig& mine = config.tunnels[tunnel];
    if (peer == mine.remote) {
        return {};
    }
    if (peer.family != mine.local.family) {
        return "the tunnel's end here is " + mine.local.text();
    }
    const auto is_there = [&](const auto& own) { return IpAddress::from(own.address) == peer; };
    if (std::ranges::any_of(config.legs, [&](const LegConfig& leg) {
        return std::ranges::any_of(leg.addresses4, is_there) || std::ranges::any_of(leg.addresses6, is_there);
    })) {
        return "which is our own";
    }
    const auto covers = [&](const auto& prefix) { return to_prefix(prefix).contains(peer); };
    if (std::ranges::any_of(config.encrypt4, covers) || std::ranges::any_of(config.encrypt6, covers)) {
        return "which is under encrypt";
    }
    const Zone zone = config.legs[mine.leg].zone;
    const auto accept = std::ranges::find(config.accept, zone, &AcceptConfig::zone);
    if (accept != config.accept.end() && std::ranges::none_of(accept->prefixes4, covers) &&
        std::ranges::none_of(accept->prefixes6, covers)) {
        return "which is outside of accept of the " + to_string(zone) + " peering";
    }
    return {};
}

SaMatcher::SaMatcher(const Config& config) : config_(config) {
    for (std::size_t i = 0; i < config.tunnels.size(); ++i) {
        by_if_id_.emplace(config.tunnels[i].if_id, i);
    }
}

std::expected<SaMatch, SaRefusal> SaMatcher::match(const netlink::SaEvent& sa) const {
    const auto found = by_if_id_.find(sa.if_id);
    if (found == by_if_id_.end()) {
        return std::unexpected(
            SaRefusal{Metric::xfrm_sa_unknown_if_id, "no tunnel has if-id " + std::to_string(sa.if_id)});
    }
    const TunnelConfig& tunnel = config_.tunnels[found->second];
    if (!tunnel.ike) {
        return unsupported("tunnel " + tunnel.name + " has static SAs");
    }
    if (sa.mode != netlink::SaMode::tunnel) {
        return unsupported(std::string{sa.mode == netlink::SaMode::transport ? "transport mode" : "its mode"} +
                           " is not supported, only tunnel mode");
    }
    if (!sa.encapsulation.supported) {
        return unsupported("its encapsulation is not supported, only ESP in UDP");
    }
    const auto outbound = is_outbound(config_, found->second, sa);
    if (!outbound) {
        return std::unexpected(outbound.error());
    }
    const auto suite = suite_of(sa.algorithms);
    if (!suite) {
        return std::unexpected(suite.error());
    }
    return SaMatch{found->second, *outbound, suite->suite, suite->icv_len};
}

}  // namespace twinspan
