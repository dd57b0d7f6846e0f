#include "control/netlink/linkdown.hpp"

#include <fstream>

namespace twinspan::netlink {
namespace {

bool read_flag(const std::filesystem::path& file) {
    int value = 1;
    std::ifstream{file} >> value;
    return value != 0;
}

}  // namespace

LinkdownRule read_linkdown_rule(std::string_view interface, const std::filesystem::path& root) {
    constexpr const char* kName = "ignore_routes_with_linkdown";
    const auto flag = [&](const char* family, std::string_view of) {
        return read_flag(root / family / "conf" / of / kName);
    };
    return {flag("ipv4", interface) || flag("ipv4", "all"), flag("ipv6", interface)};
}

bool LinkdownRules::refresh(const std::map<IfIndex, std::string>& interfaces, const std::filesystem::path& root) {
    std::map<IfIndex, LinkdownRule> now;
    for (const auto& [index, name] : interfaces) {
        now.emplace(index, read_linkdown_rule(name, root));
    }
    const bool changed = now != rules_;
    rules_ = std::move(now);
    return changed;
}

bool LinkdownRules::usable(IfIndex interface, IpFamily family, bool carrier) const {
    const auto rule = rules_.find(interface);
    const bool ignored = rule == rules_.end() || (family == IpFamily::v4 ? rule->second.v4 : rule->second.v6);
    return carrier || !ignored;
}

}  // namespace twinspan::netlink
