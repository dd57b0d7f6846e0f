// The outer header's template, byte by byte.
#include "dataplane/config/tunnel.hpp"

#include "tests/support/checksum.hpp"
#include "tests/support/packet_builder.hpp"

#include <gtest/gtest.h>

namespace twinspan {
namespace {

using test::Bytes;

struct TunnelTest : testing::Test {
    void ends(const char* local, const char* remote) {
        tunnel.local = IpAddress::parse(local).value();
        tunnel.remote = IpAddress::parse(remote).value();
    }
    Bytes header() {
        make_outer_header(tunnel);
        return {tunnel.outer.begin(), tunnel.outer.begin() + tunnel.outer_len};
    }
    Tunnel tunnel;
};

TEST_F(TunnelTest, Ipv4) {
    ends("203.0.113.1", "20.51.0.4");
    const Bytes made = header();
    Bytes wanted{0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 50, 0, 0, 203, 0, 113, 1, 20, 51, 0, 4};
    EXPECT_EQ(test::internet_checksum(made), 0);
    wanted[10] = made[10];
    wanted[11] = made[11];
    EXPECT_EQ(made, wanted);
}

TEST_F(TunnelTest, Ipv4InUdpThatMayBeFragmented) {
    ends("203.0.113.1", "20.51.0.4");
    tunnel.encapsulation = {to_be16(4501), to_be16(61234)};
    tunnel.df = DfRule::clear;
    tunnel.hop_limit = 255;
    const Bytes made = header();
    Bytes wanted{0x45, 0, 0,  0,  0, 0, 0,    0,    255,  17,   0, 0, 203, 0,
                 113,  1, 20, 51, 0, 4, 0x11, 0x95, 0xef, 0x32, 0, 0, 0,   0};
    EXPECT_EQ(test::internet_checksum({made.data(), 20}), 0);
    wanted[10] = made[10];
    wanted[11] = made[11];
    EXPECT_EQ(made, wanted);
}

TEST_F(TunnelTest, WhatIsCopiedIsZeroInTheTemplate) {
    ends("203.0.113.1", "20.51.0.4");
    tunnel.df = DfRule::copy;
    tunnel.hop_limit = kCopyHopLimit;
    const Bytes made = header();
    EXPECT_EQ(made[6], 0);
    EXPECT_EQ(made[8], 0);
    EXPECT_EQ(test::internet_checksum(made), 0);
}

TEST_F(TunnelTest, Ipv6BareAndInUdp) {
    ends("2001:db8::1", "2001:db8::2");
    Bytes wanted{0x60, 0, 0, 0, 0, 0, 50, 64};
    for (const std::uint8_t last : Bytes{1, 2}) {
        wanted.insert(wanted.end(), {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last});
    }
    EXPECT_EQ(header(), wanted);
    tunnel.encapsulation = {kNatTraversalPort, kNatTraversalPort};
    wanted[6] = 17;
    wanted.insert(wanted.end(), {0x11, 0x94, 0x11, 0x94, 0, 0, 0, 0});
    EXPECT_EQ(header(), wanted);
    tunnel.encapsulation = {};
    EXPECT_EQ(header().size(), 40u) << "made again";
}

}  // namespace
}  // namespace twinspan
