#include "dataplane/base/prefix_map.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <random>

namespace twinspan {
namespace {

IpPrefix pfx(std::string_view text) { return IpPrefix::parse(text).value(); }

// A small world, so that prefixes come, change and go again, and chains of probes grow and close.
IpPrefix any_prefix(std::mt19937& random) {
    const bool v4 = random() % 4 != 0;
    IpAddress address{v4 ? IpFamily::v4 : IpFamily::v6, {}};
    address.bytes[0] = static_cast<std::uint8_t>(10 + random() % 4);
    address.bytes[1] = static_cast<std::uint8_t>(random() % 8);
    address.bytes[2] = static_cast<std::uint8_t>(random() % 16);
    return IpPrefix{address, static_cast<std::uint8_t>(random() % 25)}.network();
}

TEST(PrefixMap, answers_like_a_map_through_random_changes) {
    std::mt19937 random{20261120};
    PrefixMap map;
    std::map<IpPrefix, std::uint32_t> model;
    for (std::uint32_t step = 0; step < 200'000; ++step) {
        const IpPrefix prefix = any_prefix(random);
        // Grows, shrinks, grows: in waves.
        if (random() % 16 < (step / 20'000 % 2 == 0 ? 10u : 5u)) {
            ASSERT_EQ(map.insert_or_assign(prefix, step), !model.contains(prefix));
            model.insert_or_assign(prefix, step);
        } else {
            ASSERT_EQ(map.erase(prefix), model.erase(prefix) != 0);
        }
        ASSERT_EQ(map.size(), model.size());
        const IpPrefix other = any_prefix(random);
        const auto found = model.find(other);
        ASSERT_EQ(map.find(other) == nullptr, found == model.end()) << other.text();
        ASSERT_TRUE(found == model.end() || *map.find(other) == found->second);
    }
    std::map<IpPrefix, std::uint32_t> seen;
    map.for_each([&](const IpPrefix& prefix, std::uint32_t value) { EXPECT_TRUE(seen.emplace(prefix, value).second); });
    EXPECT_EQ(seen, model);
}

// Each map scatters in its own way: with one way for all, this takes minutes.
TEST(PrefixMap, fills_fast_in_the_order_of_another) {
    PrefixMap first, second;
    for (std::uint32_t i = 0; i < 300'000; ++i) {
        first.insert_or_assign({IpAddress::from(to_be32(i << 8)), 24}, i);
    }
    const auto began = std::chrono::steady_clock::now();
    first.for_each([&](const IpPrefix& prefix, std::uint32_t value) { second.insert_or_assign(prefix, value); });
    EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(10));
    EXPECT_EQ(second.size(), first.size());
}

TEST(PrefixMap, longest_match_is_the_nearest_around_and_of_the_same_family) {
    PrefixMap map;
    map.insert_or_assign(pfx("0.0.0.0/0"), 1);
    map.insert_or_assign(pfx("10.0.0.0/8"), 2);
    map.insert_or_assign(pfx("10.1.0.0/16"), 3);
    map.insert_or_assign(pfx("fd00::/8"), 4);
    EXPECT_EQ(map.longest_match(pfx("10.1.2.3/32")), (std::pair{pfx("10.1.0.0/16"), 3u}));
    EXPECT_EQ(map.longest_match(pfx("10.1.0.0/16")), (std::pair{pfx("10.1.0.0/16"), 3u}));
    EXPECT_EQ(map.longest_match(pfx("10.0.0.0/15")), (std::pair{pfx("10.0.0.0/8"), 2u}));
    EXPECT_EQ(map.longest_match(pfx("11.0.0.0/8")), (std::pair{pfx("0.0.0.0/0"), 1u}));
    EXPECT_EQ(map.longest_match(pfx("fd10::/32")), (std::pair{pfx("fd00::/8"), 4u}));
    EXPECT_FALSE(map.longest_match(pfx("2001:db8::/32")));
}

}  // namespace
}  // namespace twinspan
