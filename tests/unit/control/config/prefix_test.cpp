#include "control/config/prefix.hpp"

#include <gtest/gtest.h>

#include <random>

namespace twinspan {
namespace {

TEST(Prefix, ReadsAndWritesTheSameText) {
    for (const char* text : {"0.0.0.0/0", "10.0.0.0/8", "203.0.113.4/30", "255.255.255.255/32"}) {
        EXPECT_EQ(to_string(parse_prefix4(text).value()), text);
    }
    for (const char* text : {"::/0", "2001:db8::/32", "fd10:20::/64", "2001:db8::4/126", "::1/128"}) {
        EXPECT_EQ(to_string(parse_prefix6(text).value()), text);
    }
    EXPECT_EQ(to_string(parse_prefix4("192.0.2.7").value()), "192.0.2.7/32");
}

TEST(Prefix, RefusesWhatIsNoPrefix) {
    for (const char* text : {"", "10.0.0.0/33", "10.0.0.1/8", "10.0.0/8", "10.0.0.0/", "10.0.0.0/8x", "10.0.0.0/-1",
                             "10.0.0.0/+8", "::/0", " 10.0.0.0/8"}) {
        EXPECT_FALSE(parse_prefix4(text)) << text;
    }
    for (const char* text : {"", "::/129", "2001:db8::1/64", "10.0.0.0/8", "::1/", "fe80::1%eth0/64"}) {
        EXPECT_FALSE(parse_prefix6(text)) << text;
    }
    EXPECT_FALSE(parse_prefix4(std::string_view{"10.0.0.0\0/8", 11}));
    EXPECT_FALSE(parse_interface_address4("10.0.0.1")) << "an address of ours needs its subnet";
}

// Against bit-by-bit comparison, over all lengths.
TEST(Prefix, ContainsWhatSharesItsLeadingBits) {
    std::mt19937 random{7};
    for (int round = 0; round < 20000; ++round) {
        const std::uint32_t base = static_cast<std::uint32_t>(random());
        const unsigned length = static_cast<unsigned>(random() % 33);
        const std::uint32_t other = base ^ (random() % 2 == 0 ? 1u << random() % 32 : 0);
        const Prefix4 prefix = InterfaceAddress4{to_be32(base), static_cast<std::uint8_t>(length)}.network();
        bool same = true;
        for (unsigned bit = 0; bit < length; ++bit) {
            same = same && (base >> (31 - bit) & 1) == (other >> (31 - bit) & 1);
        }
        ASSERT_EQ(prefix.contains(to_be32(other)), same) << to_string(prefix) << ' ' << to_string(to_be32(other));

        Ipv6Address six{}, six_other{};
        for (std::size_t i = 0; i < 16; ++i) {
            six[i] = six_other[i] = static_cast<std::uint8_t>(random());
        }
        const unsigned flip = static_cast<unsigned>(random() % 128), length6 = static_cast<unsigned>(random() % 129);
        six_other[flip / 8] = static_cast<std::uint8_t>(six_other[flip / 8] ^ 0x80u >> flip % 8);
        const Prefix6 prefix6 = InterfaceAddress6{six, static_cast<std::uint8_t>(length6)}.network();
        ASSERT_EQ(prefix6.contains(six_other), flip >= length6);
    }
}

TEST(Prefix, CoversRangesWithTheFewest) {
    const auto text = [](const char* first, const char* last) {
        std::string out;
        for (const Prefix4 prefix : prefixes_of({parse_address4(first).value(), parse_address4(last).value()})) {
            out += to_string(prefix) + ' ';
        }
        return out;
    };
    EXPECT_EQ(text("198.51.100.7", "198.51.100.7"), "198.51.100.7/32 ");
    EXPECT_EQ(text("198.51.100.0", "198.51.100.15"), "198.51.100.0/28 ");
    EXPECT_EQ(text("198.51.100.1", "198.51.100.6"), "198.51.100.1/32 198.51.100.2/31 198.51.100.4/31 198.51.100.6/32 ");
    EXPECT_EQ(text("0.0.0.0", "255.255.255.255"), "0.0.0.0/0 ");
    EXPECT_EQ(text("255.255.255.254", "255.255.255.255"), "255.255.255.254/31 ");
}

TEST(Prefix, KnowsPrivateAddresses) {
    const auto touches = [](const char* first, const char* last) {
        return touches_private_space(Ipv4Range{parse_address4(first).value(), parse_address4(last).value()});
    };
    EXPECT_TRUE(touches("10.0.0.0", "10.0.0.0"));
    EXPECT_TRUE(touches("172.31.255.255", "172.31.255.255"));
    EXPECT_FALSE(touches("172.32.0.0", "172.32.0.0"));
    EXPECT_FALSE(touches("172.15.255.255", "172.15.255.255"));
    EXPECT_TRUE(touches("192.167.0.0", "192.168.0.0")) << "the end of a range";
    EXPECT_TRUE(touches("0.0.0.0", "255.255.255.255"));
    EXPECT_FALSE(touches("11.0.0.0", "100.63.255.255"));
    EXPECT_TRUE(touches("100.64.0.0", "100.64.0.0")) << "shared by carriers";
    EXPECT_TRUE(touches("100.127.255.255", "100.127.255.255"));
    EXPECT_FALSE(touches("100.128.0.0", "169.253.255.255"));
    EXPECT_TRUE(touches("169.254.1.1", "169.254.1.1")) << "link-local";
    const auto prefix_touches = [](const char* text) { return touches_private_space(IpPrefix::parse(text).value()); };
    EXPECT_TRUE(prefix_touches("0.0.0.0/0"));
    EXPECT_TRUE(prefix_touches("100.64.3.0/24"));
    EXPECT_FALSE(prefix_touches("20.0.0.0/8"));
    EXPECT_TRUE(prefix_touches("::/0"));
    EXPECT_TRUE(prefix_touches("fd00::/64"));
    EXPECT_FALSE(prefix_touches("fe80::/64")) << "it is on every link";
    EXPECT_FALSE(prefix_touches("2603:1000::/24"));
}

}  // namespace
}  // namespace twinspan
