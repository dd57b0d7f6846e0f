// Linux's ignore_routes_with_linkdown: whether its lookups pass over a route through an interface without carrier.
#pragma once

#include "control/netlink/types.hpp"

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

namespace twinspan::netlink {

struct LinkdownRule {
    bool v4 = true;
    bool v6 = true;
    friend bool operator==(const LinkdownRule&, const LinkdownRule&) = default;
};

// What cannot be read counts as set, as this daemon sets it on its own netdevs. IPv4 also obeys "all".
LinkdownRule read_linkdown_rule(std::string_view interface, const std::filesystem::path& root = "/proc/sys/net");

class LinkdownRules {
public:
    // Reads it anew for these interfaces, by name. Whether anything is other than before.
    bool refresh(const std::map<IfIndex, std::string>& interfaces, const std::filesystem::path& root = "/proc/sys/net");

    // Whether Linux uses a route through the interface, of which it knows that it is up.
    bool usable(IfIndex interface, IpFamily family, bool carrier) const;

private:
    std::map<IfIndex, LinkdownRule> rules_;
};

}  // namespace twinspan::netlink
