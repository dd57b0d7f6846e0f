// Sets of addresses against sets of numbers.
#include "control/config/ranges.hpp"
#include "tests/unit/control/model/test_world.hpp"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <string_view>

namespace twinspan::test {
namespace {

Ipv4Range range(std::string_view first, std::string_view last) { return {ip(first).v4(), ip(last).v4()}; }
Ipv4Range one(std::string_view address) { return range(address, address); }

TEST(Ranges, AreAsSetsOfAddresses) {
    std::minstd_rand source{1};
    const auto random = [&](std::uint32_t below) { return static_cast<std::uint32_t>(source()) % below; };
    const auto some = [&] {
        Ranges ranges;
        for (std::uint32_t at = 0; at < 60;) {
            const std::uint32_t first = at + random(8);
            const std::uint32_t last = first + random(6);
            ranges.push_back({to_be32(first), to_be32(last)});
            at = last + 1 + random(3);
        }
        return ranges;
    };
    const auto set_of = [](const Ranges& ranges) {
        std::set<std::uint32_t> set;
        for (const Ipv4Range r : ranges) {
            for (std::uint32_t a = r.first.host(); a <= r.last.host(); ++a) {
                set.insert(a);
            }
        }
        return set;
    };
    for (int i = 0; i < 500; ++i) {
        const Ranges a = some(), b = some();
        std::set<std::uint32_t> all = set_of(a), less = set_of(a);
        for (const std::uint32_t address : set_of(b)) {
            all.insert(address);
            less.erase(address);
        }
        EXPECT_EQ(set_of(unite(a, b)), all);
        EXPECT_EQ(count_addresses(unite(a, b)), all.size()) << "disjoint";
        EXPECT_EQ(set_of(subtract(a, b)), less);
        EXPECT_EQ(overlap(a, b), less.size() != set_of(a).size());
    }
}

TEST(Ranges, ReachTheEndsOfTheAddressSpace) {
    const Ranges all{range("0.0.0.0", "255.255.255.255")};
    EXPECT_EQ(to_string(subtract(all, {one("0.0.0.0"), one("255.255.255.255")})), "0.0.0.1-255.255.255.254");
    EXPECT_EQ(to_string(unite({one("255.255.255.255")}, {one("0.0.0.0")})), "0.0.0.0, 255.255.255.255");
    EXPECT_TRUE(subtract(all, all).empty());
}

}  // namespace
}  // namespace twinspan::test
