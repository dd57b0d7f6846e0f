#include "control/netlink/linkdown.hpp"

#include "control/kernel_routes.hpp"

#include <gtest/gtest.h>

#include <stdlib.h>
#include <filesystem>
#include <fstream>

namespace twinspan::netlink {
namespace {

class Linkdown : public testing::Test {
protected:
    Linkdown() {
        std::string pattern = (std::filesystem::temp_directory_path() / "twinspan-linkdown-XXXXXX").string();
        root_ = ::mkdtemp(pattern.data());
    }
    ~Linkdown() override { std::filesystem::remove_all(root_); }

    void set(const std::string& family, const std::string& interface, int value) {
        const auto folder = root_ / family / "conf" / interface;
        std::filesystem::create_directories(folder);
        std::ofstream{folder / "ignore_routes_with_linkdown"} << value << '\n';
    }
    // Two interfaces that are up, the first without carrier; a route over each, the first one's metric the better one.
    static IfIndex chosen(const LinkdownRules& rules, std::string_view prefix) {
        KernelState state;
        Changes changes;
        for (const IfIndex index : {1u, 2u}) {
            LinkEvent link;
            link.ifindex = index;
            link.name = index == 1 ? "prv-pri" : "prv-sec";
            link.up = true;
            link.carrier = index == 2;
            state.apply(link, changes);
            RouteEvent route;
            route.prefix = IpPrefix::parse(prefix).value();
            route.metric = index;
            NextHop hop;
            hop.ifindex = index;
            route.nexthops = {hop};
            state.apply(route, changes);
        }
        const KernelRoutes routes{state, &rules};
        return routes.route(IpPrefix::parse(prefix).value())->nexthops.at(0).ifindex;
    }
    LinkdownRules rules() {
        LinkdownRules rules;
        rules.refresh({{1, "prv-pri"}, {2, "prv-sec"}}, root_);
        return rules;
    }

    std::filesystem::path root_;
};

TEST_F(Linkdown, ipv4_obeys_the_interface_or_all_and_ipv6_the_interface_alone) {
    set("ipv4", "all", 0);
    set("ipv4", "prv-pri", 0);
    set("ipv6", "all", 1);
    set("ipv6", "prv-pri", 0);
    EXPECT_EQ(read_linkdown_rule("prv-pri", root_), (LinkdownRule{false, false}));
    set("ipv4", "all", 1);
    set("ipv6", "prv-pri", 1);
    EXPECT_EQ(read_linkdown_rule("prv-pri", root_), (LinkdownRule{true, true}));
    EXPECT_EQ(read_linkdown_rule("absent", root_), (LinkdownRule{true, true}));
}

TEST_F(Linkdown, the_route_is_the_one_that_linux_would_use) {
    set("ipv4", "all", 0);
    for (const char* interface : {"prv-pri", "prv-sec"}) {
        set("ipv4", interface, 0);
        set("ipv6", interface, 0);
    }
    EXPECT_EQ(chosen(rules(), "10.30.0.0/16"), 1u);
    EXPECT_EQ(chosen(rules(), "fd30::/64"), 1u);
    set("ipv4", "prv-pri", 1);
    EXPECT_EQ(chosen(rules(), "10.30.0.0/16"), 2u);
    EXPECT_EQ(chosen(rules(), "fd30::/64"), 1u);
    set("ipv6", "prv-pri", 1);
    EXPECT_EQ(chosen(rules(), "fd30::/64"), 2u);
}

TEST_F(Linkdown, tells_whether_anything_has_changed) {
    set("ipv4", "all", 0);
    LinkdownRules rules;
    set("ipv4", "prv-pri", 0);
    EXPECT_TRUE(rules.refresh({{1, "prv-pri"}}, root_));
    EXPECT_FALSE(rules.refresh({{1, "prv-pri"}}, root_));
    set("ipv4", "prv-pri", 1);
    EXPECT_TRUE(rules.refresh({{1, "prv-pri"}}, root_));
}

}  // namespace
}  // namespace twinspan::netlink
