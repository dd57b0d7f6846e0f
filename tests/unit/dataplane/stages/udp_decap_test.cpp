#include "dataplane/stages/udp_decap.hpp"

#include "dataplane/packet/pipeline.hpp"
#include "tests/support/stage_test.hpp"

namespace twinspan {
namespace {

using test::Bytes;
using test::TestPacket;

static_assert(Stage<UdpDecap>);

struct UdpDecapTest : test::StageTest {
    static test::PacketSpec spec(Bytes payload) {
        return {.src = "20.51.0.4",
                .dst = "203.0.113.1",
                .src_port = 1024,
                .dst_port = 4500,
                .payload = std::move(payload),
                .udp_checksum = false};
    }
    TestPacket& arrival(const test::PacketSpec& from) {
        return parsed(test::udp_packet(from), Zone::microsoft_peering, kMsftPri);
    }
    // It went on as it came.
    void expect_untouched(TestPacket& p, std::uint8_t protocol = 17) {
        const Bytes bytes = p.bytes();
        const PacketMeta before = p.meta();
        run(stage, {&p});
        expect_kept(p);
        EXPECT_EQ(p.bytes(), bytes);
        EXPECT_EQ(p.meta().protocol, protocol);
        EXPECT_EQ(p.meta().l4_offset, before.l4_offset);
        EXPECT_EQ(p.meta().l3_length, before.l3_length);
    }
    void expect_esp(TestPacket& p, std::size_t at, std::size_t bytes, std::uint16_t port = 4500) {
        run(stage, {&p});
        expect_kept(p);
        EXPECT_EQ(p.meta().protocol, 50);
        EXPECT_EQ(p.meta().l4_offset, at);
        EXPECT_EQ(p.meta().l3_length, at + bytes);
        EXPECT_EQ(p.mbuf.data_len, at + bytes);
        EXPECT_EQ(p.mbuf.pkt_len, at + bytes);
        EXPECT_EQ(p.meta().dst_port, to_be16(port));
    }
    void expect_drop(TestPacket& p, Drop reason) {
        run(stage, {&p});
        EXPECT_TRUE(batch.empty());
        expect_dropped(p, reason);
    }
    static Bytes esp(std::size_t bytes) {
        Bytes b = test::filler(bytes);
        b[0] |= 1;
        return b;
    }
    UdpDecap stage;
};

TEST_F(UdpDecapTest, EspIsFoundBehindTheHeader) { expect_esp(arrival(spec(esp(100))), 28, 100); }
TEST_F(UdpDecapTest, TheChecksumDoesNotMatter) {
    test::PacketSpec s = spec(esp(100));
    s.udp_checksum = true;
    expect_esp(arrival(s), 28, 100);
}
TEST_F(UdpDecapTest, IpOptionsAreSkipped) {
    test::PacketSpec s = spec(esp(64));
    s.ip_options = Bytes(40, 1);
    expect_esp(arrival(s), 68, 64);
}
TEST_F(UdpDecapTest, WhatStandsBehindTheUdpLengthIsCutOff) {
    Bytes packet = test::udp_packet(spec(esp(64)));
    packet[24] = 0;
    packet[25] = 8 + 60;
    expect_esp(parsed(packet), 28, 60);
}
TEST_F(UdpDecapTest, ALengthThatIsNotThere) {
    for (const unsigned told : {0u, 7u, 8u + 65u, 0xffffu}) {
        Bytes packet = test::udp_packet(spec(esp(64)));
        packet[24] = static_cast<std::uint8_t>(told >> 8);
        packet[25] = static_cast<std::uint8_t>(told);
        run(stage, {&parsed(packet)});
        EXPECT_TRUE(batch.empty()) << told;
    }
    EXPECT_EQ(drops(Drop::malformed_frame), 4u);
    EXPECT_EQ(all_drops(), 4u);
}
TEST_F(UdpDecapTest, AKeepaliveEndsHere) { expect_drop(arrival(spec({0xff})), Drop::nat_keepalive); }
TEST_F(UdpDecapTest, OneByteThatIsNoKeepalive) { expect_drop(arrival(spec({0xfe})), Drop::esp_bad_length); }
TEST_F(UdpDecapTest, TwoBytesAreNoKeepalive) { expect_drop(arrival(spec({0xff, 0xff})), Drop::esp_bad_length); }
TEST_F(UdpDecapTest, NothingIsNoEsp) { expect_drop(arrival(spec({})), Drop::esp_bad_length); }
TEST_F(UdpDecapTest, EveryLengthBelowAnEspHeader) {
    for (std::size_t bytes = 1; bytes < sizeof(EspHeader); ++bytes) {
        run(stage, {&arrival(spec(esp(bytes)))});
        EXPECT_TRUE(batch.empty()) << bytes;
    }
    EXPECT_EQ(drops(Drop::esp_bad_length), 7u);
    EXPECT_EQ(all_drops(), 7u);
    run(stage, {&arrival(spec(esp(sizeof(EspHeader))))});
    EXPECT_EQ(batch.size(), 1);
}
// What fills a short frame up is zero, too.
TEST_F(UdpDecapTest, ThreeZerosAreNoMarker) {
    test::PacketSpec three = spec({0, 0, 0, 0});
    Bytes packet = test::udp_packet(three);
    packet[25] = sizeof(UdpHeader) + 3;
    expect_drop(parsed(packet), Drop::esp_bad_length);
}
TEST_F(UdpDecapTest, FourZerosAreIke) {
    for (const std::size_t bytes : {4u, 5u, 32u, 1200u}) {
        clear_lists();
        Bytes ike = test::filler(bytes);
        std::fill_n(ike.begin(), 4, std::uint8_t{0});
        expect_untouched(arrival(spec(ike)));
    }
}
TEST_F(UdpDecapTest, AnyBitOfTheMarkerMakesItEsp) {
    for (std::size_t bit = 0; bit < 32; ++bit) {
        clear_lists();
        Bytes payload(40);
        payload[bit / 8] = static_cast<std::uint8_t>(1u << (bit % 8));
        expect_esp(arrival(spec(payload)), 28, 40);
    }
}
TEST_F(UdpDecapTest, OtherPortsAndProtocolsAreNotLookedAt) {
    for (const unsigned port : {0u, 500u, 4499u, 4501u, 53u}) {
        clear_lists();
        test::PacketSpec s = spec(esp(64));
        s.dst_port = static_cast<std::uint16_t>(port);
        s.src_port = 4500;
        expect_untouched(arrival(s));
    }
    clear_lists();
    expect_untouched(parsed(test::tcp_packet(spec(esp(64)))), 6);
}
TEST_F(UdpDecapTest, TheLocalPortOfAnSa) {
    encapsulate(0, 4999);
    test::PacketSpec s = spec(esp(64));
    s.dst_port = 4999;
    expect_esp(arrival(s), 28, 64, 4999);
    clear_lists();
    expect_esp(arrival(spec(esp(64))), 28, 64);
}
TEST_F(UdpDecapTest, OverIpv6) {
    test::PacketSpec s = spec(esp(64));
    s.src = "fd10:20::1";
    s.dst = "fd10:10::1";
    s.udp_checksum = true;
    expect_esp(arrival(s), 48, 64);
    clear_lists();
    Bytes no_checksum = test::udp_packet(s);
    no_checksum[46] = no_checksum[47] = 0;
    expect_esp(parsed(no_checksum), 48, 64);  // RFC 6935 allows it to a tunnel
    clear_lists();
    std::fill_n(s.payload.begin(), 4, std::uint8_t{0});
    TestPacket& ike = arrival(s);
    run(stage, {&ike});
    EXPECT_EQ(all(batch), Packets{&ike.mbuf});
}
TEST_F(UdpDecapTest, BehindMoreExtensionHeadersThanItsOffsetCanTell) {
    test::PacketSpec s = spec(esp(64));
    s.src = "fd10:20::1";
    s.dst = "fd10:10::1";
    const Bytes plain = test::udp_packet(s);
    for (const std::size_t l4_offset : {247u, 248u, 255u}) {
        clear_lists();
        Bytes long_way(plain.begin(), plain.begin() + 40);
        long_way.resize(l4_offset);
        long_way.insert(long_way.end(), plain.begin() + 40, plain.end());
        TestPacket& p = parsed(long_way);
        PacketMeta& pm = p.meta();
        pm.protocol = 17;
        pm.dst_port = to_be16(4500);
        pm.l4_offset = static_cast<std::uint8_t>(l4_offset);
        pm.l3_length = static_cast<std::uint16_t>(long_way.size());
        if (l4_offset == 247) {
            expect_esp(p, 255, 64);
        } else {
            run(stage, {&p});
            EXPECT_TRUE(batch.empty());
        }
    }
    EXPECT_EQ(drops(Drop::malformed_frame), 2u);
    EXPECT_EQ(all_drops(), 2u);
}

}  // namespace
}  // namespace twinspan
