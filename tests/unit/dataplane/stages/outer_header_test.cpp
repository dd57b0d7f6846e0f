// The header that EspOut puts on: every rule, against headers built from scratch.
#include "dataplane/stages/outer_header.hpp"

#include "dataplane/stages/esp_out.hpp"
#include "tests/support/stage_test.hpp"

namespace twinspan {
namespace {

using test::Bytes;
using test::PacketSpec;
using test::TestPacket;

struct OuterHeaderTest : test::StageTest {
    static PacketSpec inner4() {
        return {
            .src = "10.10.0.10", .dst = "10.20.0.1", .src_port = 5000, .dst_port = 443, .payload = test::filler(50)};
    }
    static PacketSpec inner6() {
        PacketSpec spec = inner4();
        spec.src = "fd10:10::10";
        spec.dst = "fd10:20::1";
        return spec;
    }
    void over_ipv6() { between(0, "2001:db8::1", "2001:db8::4"); }

    Bytes sealed(const PacketSpec& inner) {
        TestPacket p{test::udp_packet(inner)};
        test::fill_meta(p.mbuf);
        p.meta().tunnel = 0;
        run(stage, {&p});
        EXPECT_EQ(batch.size(), 1);
        EXPECT_EQ(p.meta().ip, config.tunnels[0].local.is_v4() ? IpVersion::v4 : IpVersion::v6);
        EXPECT_EQ(p.meta().l3_length, p.bytes().size());
        return p.bytes();
    }
    Bytes opened(const Bytes& outer) {
        Bytes esp(outer.begin() + tunnel().outer_len, outer.end());
        const Opened got = peer_in0->open_in_place(engine, esp_sequence_low(esp.data()), esp.data(), esp.size());
        EXPECT_EQ(got.status, OpenStatus::ok);
        const auto payload = esp.begin() + static_cast<std::ptrdiff_t>(payload_offset(peer_in0->layout()));
        return {payload, payload + got.payload_len};
    }
    // The outer header as `wanted` has it, around the bytes that the stage made.
    void expect(const PacketSpec& inner, PacketSpec wanted) {
        const Tunnel& tunnel = config.tunnels[0];
        const Bytes got = sealed(inner);
        wanted.src = tunnel.local.text();
        wanted.dst = tunnel.remote.text();
        const Bytes behind(got.begin() + tunnel.outer_len, got.end());
        if (tunnel.encapsulation.udp()) {
            wanted.src_port = tunnel.encapsulation.local_port.host();
            wanted.dst_port = tunnel.encapsulation.remote_port.host();
            wanted.payload = behind;
            wanted.udp_checksum = !tunnel.local.is_v4();
            EXPECT_EQ(got, test::udp_packet(wanted));
        } else {
            EXPECT_EQ(got, test::ip_packet(wanted, +IpProtocol::esp, behind));
        }
    }
    static PacketSpec usual() { return {.id = 0, .fragment = 0x4000}; }
    Tunnel& tunnel() { return config.tunnels[0]; }
    void set(DfRule df, std::uint8_t hop_limit = kDefaultHopLimit) {
        tunnel().df = df;
        tunnel().hop_limit = hop_limit;
        make_outer_header(tunnel());
    }
    EspOut stage;
};

// RFC 6040 section 4.1: both modes, every traffic class, both IP versions inside and outside.
TEST_F(OuterHeaderTest, EcnAndDscpOfEveryClass) {
    for (const bool outer6 : {false, true}) {
        if (outer6) {
            over_ipv6();
            tunnel().flow_label = FlowLabelRule::zero;
        }
        for (const EcnRule rule : {EcnRule::normal, EcnRule::compatibility}) {
            tunnel().ecn = rule;
            for (PacketSpec inner : {inner4(), inner6()}) {
                for (unsigned traffic = 0; traffic < 256; ++traffic) {
                    inner.tos = static_cast<std::uint8_t>(traffic);
                    PacketSpec wanted = usual();
                    wanted.tos = static_cast<std::uint8_t>(rule == EcnRule::normal ? traffic : traffic & 0xfc);
                    expect(inner, wanted);
                }
            }
        }
    }
}

TEST_F(OuterHeaderTest, ADscpMapMapsOnlyOutside) {
    config.dscp_maps.push_back({});  // all to 0 ...
    config.dscp_maps[1][46] = 46;    // ... but EF, and CS5 becomes AF41
    config.dscp_maps[1][40] = 34;
    tunnel().dscp_map = 1;
    for (const auto& [inside, outside] : {std::pair{46, 46}, {40, 34}, {63, 0}, {0, 0}, {1, 0}}) {
        PacketSpec inner = inner4(), wanted = usual();
        inner.tos = static_cast<std::uint8_t>(inside << 2 | 1);
        wanted.tos = static_cast<std::uint8_t>(outside << 2 | 1);
        expect(inner, wanted);
        EXPECT_EQ(opened(sealed(inner)), test::udp_packet(inner));
    }
}

TEST_F(OuterHeaderTest, HopLimitSetOrCopied) {
    for (const bool outer6 : {false, true}) {
        if (outer6) {
            over_ipv6();
            tunnel().flow_label = FlowLabelRule::zero;
        }
        for (PacketSpec inner : {inner4(), inner6()}) {
            for (const unsigned ttl : {1u, 2u, 63u, 128u, 255u}) {
                inner.ttl = static_cast<std::uint8_t>(ttl);
                PacketSpec wanted = usual();
                set(DfRule::set, kCopyHopLimit);
                wanted.ttl = inner.ttl;
                expect(inner, wanted);
                set(DfRule::set, 17);
                wanted.ttl = 17;
                expect(inner, wanted);
            }
        }
    }
}

TEST_F(OuterHeaderTest, DfSetClearedOrCopiedAndAnIdWhereThereIsNone) {
    std::uint16_t number = 0;
    for (const DfRule rule : {DfRule::set, DfRule::clear, DfRule::copy}) {
        set(rule);
        for (const std::uint16_t inner_df : std::array<std::uint16_t, 2>{0x0000, 0x4000}) {
            PacketSpec inner = inner4();
            inner.fragment = inner_df;
            ++number;
            const bool df = rule == DfRule::set || (rule == DfRule::copy && inner_df != 0);
            PacketSpec wanted = usual();
            wanted.fragment = df ? 0x4000 : 0;
            wanted.id = df ? 0 : number;
            expect(inner, wanted);
        }
        ++number;  // IPv6 is not fragmented on the way: it counts as set
        PacketSpec wanted = usual();
        wanted.fragment = rule == DfRule::clear ? 0 : 0x4000;
        wanted.id = rule == DfRule::clear ? number : 0;
        expect(inner6(), wanted);
    }
}

TEST_F(OuterHeaderTest, IdsWithoutDfAreAllDifferent) {
    set(DfRule::clear);
    std::vector<bool> used(0x10000);
    for (unsigned i = 0; i < 0x10000; ++i) {
        const Bytes got = sealed(inner4());
        const auto id = static_cast<std::size_t>(got[4] << 8 | got[5]);
        ASSERT_FALSE(used[id]) << id;
        ASSERT_TRUE(test::checksums_right(got)) << id;
        used[id] = true;
    }
}

TEST_F(OuterHeaderTest, FlowLabels) {
    over_ipv6();
    PacketSpec inner = inner6();
    inner.flow_label = 0xabcde;
    PacketSpec wanted = usual();
    tunnel().flow_label = FlowLabelRule::zero;
    expect(inner, wanted);
    tunnel().flow_label = FlowLabelRule::copy;
    wanted.flow_label = 0xabcde;
    expect(inner, wanted);
    tunnel().ecn = EcnRule::compatibility;
    inner.tos = 3;
    expect(inner, wanted);  // the label alone: the class beside it is another one outside
    wanted.flow_label = 0;
    expect(inner4(), wanted);
}

TEST_F(OuterHeaderTest, AHashedFlowLabelFollowsTheFlow) {
    over_ipv6();
    const auto label = [&](const PacketSpec& inner) {
        const Bytes got = sealed(inner);
        EXPECT_EQ(got[0] >> 4, 6);
        return (got[1] & 15u) << 16 | static_cast<unsigned>(got[2] << 8) | got[3];
    };
    std::vector<unsigned> labels;
    for (PacketSpec inner : {inner4(), inner6()}) {
        const unsigned first = label(inner);
        inner.payload = test::filler(900);
        inner.ttl = 3;
        EXPECT_EQ(label(inner), first) << "the same flow";
        for (unsigned port = 0; port < 100; ++port) {
            inner.src_port = static_cast<std::uint16_t>(6000 + port);
            labels.push_back(label(inner));
        }
    }
    std::ranges::sort(labels);
    EXPECT_GT(std::ranges::unique(labels).begin() - labels.begin(), 190);
    EXPECT_GT(labels[150], 0xffffu) << "all of the 20 bits are used";
}

TEST_F(OuterHeaderTest, UdpOverBothVersions) {
    encapsulate(0, 4501, 61234);
    for (PacketSpec inner : {inner4(), inner6()}) {
        inner.tos = 0xb9;
        PacketSpec wanted = usual();
        wanted.tos = 0xb9;
        expect(inner, wanted);
    }
    over_ipv6();
    tunnel().flow_label = FlowLabelRule::zero;
    for (PacketSpec inner : {inner4(), inner6()}) {
        for (std::size_t bytes = 0; bytes < 200; ++bytes) {
            inner.payload = test::filler(bytes);
            expect(inner, usual());
        }
    }
}

TEST_F(OuterHeaderTest, MixedTunnelsOnlyTheOneOverIpv6HasAChecksum) {
    encapsulate(0);
    encapsulate(1);
    between(1, "2001:db8::1", "2001:db8::5");
    TestPacket& a = parsed(test::udp_packet(inner4()));
    TestPacket& b = parsed(test::udp_packet(inner4()));
    TestPacket& c = parsed(test::udp_packet(inner4()));
    a.meta().tunnel = c.meta().tunnel = 0;
    b.meta().tunnel = 1;
    run(stage, {&a, &b, &c});
    EXPECT_TRUE(test::checksums_right(b.bytes()));
    for (TestPacket* p : {&a, &c}) {
        EXPECT_EQ(p->bytes()[26] | p->bytes()[27], 0);
        EXPECT_TRUE(test::checksums_right(p->bytes()));
        EXPECT_EQ(opened(p->bytes()), test::udp_packet(inner4()));
    }
}

// Lengths up to the longest, bytes that make for many carries, and the sum that comes out as zero.
TEST(UdpChecksumTest, EveryLengthAndTheZeroThatIsNone) {
    for (std::size_t bytes = 8; bytes < 2000; bytes += bytes < 100 ? 1 : 37) {
        for (const std::uint8_t fill : Bytes{0x00, 0x5a, 0xff}) {
            PacketSpec spec{.src = "2001:db8::ffff", .dst = "ffff::1", .src_port = 4500, .dst_port = 4500};
            spec.payload = Bytes(bytes - 8, fill);
            Bytes packet = test::udp_packet(spec);
            packet[46] = packet[47] = 0;
            set_udp_checksum(packet.data(), bytes);
            ASSERT_TRUE(test::checksums_right(packet)) << bytes;
            ASSERT_EQ(packet, test::udp_packet(spec));
        }
    }
    PacketSpec spec{.src = "2001:db8::1", .dst = "2001:db8::2", .payload = Bytes(2)};
    Bytes packet = test::udp_packet(spec);
    std::copy_n(packet.begin() + 46, 2, packet.begin() + 48);  // the payload takes what is missing to zero
    packet[46] = packet[47] = 0;
    set_udp_checksum(packet.data(), 10);
    EXPECT_EQ(packet[46] << 8 | packet[47], 0xffff) << "zero would say that there is none";
}

}  // namespace
}  // namespace twinspan
