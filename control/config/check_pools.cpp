// Contradictions about NAT pools, static mappings and the addresses that Microsoft's hosts have inside.
#include "control/config/draft.hpp"
#include "control/config/ranges.hpp"

#include <algorithm>
#include <optional>

namespace twinspan {

namespace {

std::string line(SourcePosition at) { return "line " + std::to_string(at.line); }

void check_leg_addresses(Diagnostics& diagnostics, const Draft& draft, const Located<Ipv4Range>& range,
                         const std::string& what) {
    for (const Located<InterfaceAddress4>& address : draft.addresses4) {
        if (holds(range.value, address.value.address)) {
            diagnostics.add(range.at, "found " + what + " " + to_string(range.value) + ", expected them without " +
                                          to_string(address.value.address) + ", which a leg has (" + line(address.at) +
                                          ")");
        }
    }
}

void check_ranges(Diagnostics& diagnostics, const Draft& draft) {
    for (std::size_t i = 0; i < draft.ranges.size(); ++i) {
        const Located<Ipv4Range>& range = draft.ranges[i];
        const Zone zone = draft.config.pools[range.owner].zone;
        for (std::size_t j = 0; j < i; ++j) {
            const Located<Ipv4Range>& other = draft.ranges[j];
            if (overlap(range.value, other.value)) {
                diagnostics.add(range.at, "found pool addresses " + to_string(range.value) + ", expected none of " +
                                              to_string(other.value) + ", which the pool of " +
                                              to_string(draft.config.pools[other.owner].zone) + " has (" +
                                              line(other.at) + ")");
            }
        }
        if (carries_public_addresses_only(zone) && touches_private_space(range.value)) {
            diagnostics.add(range.at, "found private addresses " + to_string(range.value) +
                                          ", expected public ones: peering " + to_string(zone) +
                                          " carries public addresses only (RFC 1918, 6598, 3927)");
        }
        check_leg_addresses(diagnostics, draft, range, "pool addresses");
    }
}

// They are routed to us as the pools are.
void check_from_microsoft(Diagnostics& diagnostics, const Draft& draft) {
    const auto apart = [&](const Located<Ipv4Range>& mine, const Located<Ipv4Range>& other, const char* whose) {
        if (overlap(mine.value, other.value)) {
            diagnostics.add(mine.at, "found addresses " + to_string(mine.value) + ", expected none of " +
                                         to_string(other.value) + ", which " + whose + " has (" + line(other.at) + ")");
        }
    };
    for (std::size_t i = 0; i < draft.from_microsoft.size(); ++i) {
        const Located<Ipv4Range>& mine = draft.from_microsoft[i];
        for (std::size_t j = 0; j < i; ++j) {
            apart(mine, draft.from_microsoft[j], "from-microsoft already");
        }
        for (const Located<Ipv4Range>& pool : draft.ranges) {
            apart(mine, pool, "a pool");
        }
        check_leg_addresses(diagnostics, draft, mine, "addresses");
    }
}

// Two mappings may not have one end in common, inside within their pool. A port's and its whole host's may not either,
// outside: nobody could say whose the port is.
bool share_outside(const NatStatic& a, const NatStatic& b) {
    return a.outside == b.outside &&
           (a.whole_host() || b.whole_host() || (a.protocol == b.protocol && a.outside_port == b.outside_port));
}
bool share_inside(const NatStatic& a, const NatStatic& b) {
    return a.inside == b.inside && a.protocol == b.protocol && a.inside_port == b.inside_port;
}

void check_statics(Diagnostics& diagnostics, const Draft& draft) {
    for (std::size_t i = 0; i < draft.statics.size(); ++i) {
        const Located<NatStatic>& mine = draft.statics[i];
        const PoolConfig& pool = draft.config.pools[mine.owner];
        const auto in = [](be32 address) { return [address](Ipv4Range range) { return holds(range, address); }; };
        if (std::ranges::none_of(pool.ranges, in(mine.value.outside))) {
            diagnostics.add(mine.at, "found outside address " + to_string(mine.value.outside) +
                                         ", expected one of the peering's pool");
        }
        const bool pooled =
            std::ranges::any_of(draft.ranges, [&](const auto& r) { return holds(r.value, mine.value.inside); });
        const bool ours =
            std::ranges::any_of(draft.addresses4, [&](const auto& a) { return a.value.address == mine.value.inside; });
        if (pooled || ours) {
            diagnostics.add(mine.at, "found inside address " + to_string(mine.value.inside) +
                                         ", expected that of a host, " + (pooled ? "not a pool's" : "not ours"));
        }
        for (std::size_t j = 0; j < i; ++j) {
            const Located<NatStatic>& other = draft.statics[j];
            const bool outside = share_outside(mine.value, other.value);
            if (outside || (mine.owner == other.owner && share_inside(mine.value, other.value))) {
                diagnostics.add(mine.at, std::string{"found the "} + (outside ? "outside" : "inside") +
                                             " end of another static mapping, expected it once (" + line(other.at) +
                                             ")");
            }
        }
    }
}

}  // namespace

void check_pools(Diagnostics& diagnostics, const Draft& draft) {
    check_ranges(diagnostics, draft);
    check_from_microsoft(diagnostics, draft);
    check_statics(diagnostics, draft);
}

}  // namespace twinspan
