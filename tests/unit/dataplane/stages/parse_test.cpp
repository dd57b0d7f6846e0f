#include "dataplane/stages/parse.hpp"

#include "dataplane/packet/pipeline.hpp"
#include "tests/support/exact_packet.hpp"
#include "tests/support/stage_test.hpp"

namespace twinspan {
namespace {

using test::Bytes;
using test::PacketSpec;
using test::TestPacket;

static_assert(Stage<Parse> && Stage<ParseInner>);

struct ParseTest : test::StageTest {
    // A QinQ leg on the primary port, 0x88a8 outside and 0x8100 inside, of the public peering.
    ParseTest() {
        Leg leg = config.legs[kPubPri];
        leg.tag_count = 2;
        leg.tags = {VlanTag{kEtherTypeQinQ, to_be16(100)}, VlanTag{kEtherTypeVlan, to_be16(300)}};
        config.ports[kPriPort].qinq.push_back({100, 300, static_cast<std::uint16_t>(config.legs.size())});
        config.legs.push_back(leg);
    }
    static constexpr std::uint16_t kQinQ = 5;
    static VlanTag tag(be16 tpid, unsigned tci) { return {tpid, to_be16(static_cast<std::uint16_t>(tci))}; }

    TestPacket& frame(std::uint16_t port, std::initializer_list<VlanTag> tags, const Bytes& inside) {
        const MacAddress& to = port == kLanPort ? kOurLanMac : kOurPriMac;
        return packet(test::ethernet_frame(to, kMsee1Mac, {tags.begin(), tags.size()}, inside), port);
    }
    static TestPacket& strip(TestPacket& p, std::uint16_t tci) {
        p.mbuf.ol_flags = RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
        p.mbuf.vlan_tci = tci;
        return p;
    }
    void expect_leg(TestPacket& p, std::uint16_t leg, std::size_t l2_length, const Bytes& inside) {
        const Bytes frame_bytes = p.bytes();
        run(stage, {&p});
        expect_kept(p);
        EXPECT_EQ(p.bytes(), inside);
        EXPECT_EQ(p.meta().rx_leg, leg);
        EXPECT_EQ(p.meta().l2_length, l2_length);
        EXPECT_EQ(p.meta().zone, config.legs[leg].zone);
        EXPECT_EQ(p.meta().tunnel, kNone);
        EXPECT_EQ(p.mbuf.pkt_len, p.mbuf.data_len);
        const auto* before = rte_pktmbuf_mtod(&p.mbuf, const std::uint8_t*) - l2_length;
        EXPECT_EQ(Bytes(before, before + l2_length),
                  Bytes(frame_bytes.begin(), frame_bytes.begin() + static_cast<std::ptrdiff_t>(l2_length)));
        EXPECT_EQ(counters.leg_rx[leg].packets.read(), 1u);
        EXPECT_EQ(counters.leg_rx[leg].bytes.read(), frame_bytes.size());
    }
    void expect_drop(TestPacket& p, Drop reason) {
        run(stage, {&p});
        EXPECT_TRUE(batch.empty());
        expect_dropped(p, reason);
        for (std::uint16_t leg = 0; leg < config.legs.size(); ++leg) {
            const bool own =
                reason != Drop::unknown_vlan && reason != Drop::malformed_frame && reason != Drop::not_for_us;
            EXPECT_LE(counters.leg_rx[leg].packets.read(), own ? 1u : 0u);
        }
    }
    // An ethertype that ethernet_frame does not make.
    TestPacket& of_type(std::uint16_t type, const MacAddress& to = kOurLanMac) {
        Bytes f = test::ethernet_frame(to, kHostMac, {}, test::filler(46));
        f[12] = static_cast<std::uint8_t>(type >> 8);
        f[13] = static_cast<std::uint8_t>(type);
        return packet(f);
    }
    const Bytes udp = test::udp_packet({.src_port = 7, .dst_port = 8, .payload = test::filler(64)});
    Parse stage;
};

TEST_F(ParseTest, Untagged) { expect_leg(frame(kLanPort, {}, udp), kLan, 14, udp); }
TEST_F(ParseTest, TagInBand) { expect_leg(frame(kPriPort, {tag(kEtherTypeVlan, 300)}, udp), kMsftPri, 18, udp); }
TEST_F(ParseTest, PriorityBitsOfTheTagDoNotMatter) {
    expect_leg(frame(kPriPort, {tag(kEtherTypeVlan, 0xf000 | 300)}, udp), kMsftPri, 18, udp);
}
TEST_F(ParseTest, StrippedTag) { expect_leg(strip(frame(kPriPort, {}, udp), 0x6000 | 200), kPubPri, 14, udp); }
TEST_F(ParseTest, QinQ) {
    expect_leg(frame(kPriPort, {tag(kEtherTypeQinQ, 100), tag(kEtherTypeVlan, 300)}, udp), kQinQ, 22, udp);
}
TEST_F(ParseTest, QinQWithTheOuterTagStripped) {
    expect_leg(strip(frame(kPriPort, {tag(kEtherTypeVlan, 300)}, udp), 100), kQinQ, 18, udp);
}
TEST_F(ParseTest, CutsEthernetPadding) {
    const Bytes tiny = test::udp_packet({.payload = {1}});
    Bytes f = test::ethernet_frame(kOurLanMac, kHostMac, {}, tiny);
    f.resize(60, 0xaa);
    expect_leg(packet(f), kLan, 14, tiny);
}

TEST_F(ParseTest, WrongOuterTpid) {
    expect_drop(frame(kPriPort, {tag(kEtherTypeVlan, 100), tag(kEtherTypeVlan, 300)}, udp), Drop::unknown_vlan);
}
TEST_F(ParseTest, WrongInnerTpid) {
    expect_drop(frame(kPriPort, {tag(kEtherTypeQinQ, 100), tag(kEtherTypeQinQ, 300)}, udp), Drop::unknown_vlan);
}
TEST_F(ParseTest, WrongInnerTpidBehindAStrippedTag) {
    expect_drop(strip(frame(kPriPort, {tag(kEtherTypeQinQ, 300)}, udp), 100), Drop::unknown_vlan);
}
TEST_F(ParseTest, WrongTpidOfASingleTag) {
    expect_drop(frame(kPriPort, {tag(kEtherTypeQinQ, 300)}, udp), Drop::unknown_vlan);
}
TEST_F(ParseTest, UnknownVlan) { expect_drop(frame(kPriPort, {tag(kEtherTypeVlan, 301)}, udp), Drop::unknown_vlan); }
TEST_F(ParseTest, UnknownStrippedVlan) { expect_drop(strip(frame(kPriPort, {}, udp), 4095), Drop::unknown_vlan); }
TEST_F(ParseTest, UntaggedWhereAllLegsAreTagged) { expect_drop(frame(kPriPort, {}, udp), Drop::unknown_vlan); }
TEST_F(ParseTest, TaggedWhereNoLegIs) {
    expect_drop(frame(kLanPort, {tag(kEtherTypeVlan, 300)}, udp), Drop::unknown_vlan);
}
TEST_F(ParseTest, UnknownQinQPair) {
    expect_drop(frame(kPriPort, {tag(kEtherTypeQinQ, 300), tag(kEtherTypeVlan, 100)}, udp), Drop::unknown_vlan);
}
TEST_F(ParseTest, ThreeTags) {
    expect_drop(frame(kPriPort, {tag(kEtherTypeQinQ, 100), tag(kEtherTypeVlan, 300), tag(kEtherTypeVlan, 1)}, udp),
                Drop::unknown_vlan);
}
TEST_F(ParseTest, ThreeTagsOneStripped) {
    expect_drop(strip(frame(kPriPort, {tag(kEtherTypeVlan, 300), tag(kEtherTypeVlan, 1)}, udp), 100),
                Drop::unknown_vlan);
}
TEST_F(ParseTest, PortOutOfRange) {
    TestPacket& p = frame(kLanPort, {}, udp);
    p.mbuf.port = 3;
    expect_drop(p, Drop::malformed_frame);
}

TEST_F(ParseTest, OtherStation) {
    TestPacket& p = packet(test::ethernet_frame(kHostMac, kMsee1Mac, {}, udp));
    expect_drop(p, Drop::not_for_us);
}
TEST_F(ParseTest, OurOtherPortsMac) {
    TestPacket& p = packet(test::ethernet_frame(kOurPriMac, kMsee1Mac, {}, udp));
    expect_drop(p, Drop::not_for_us);
}
TEST_F(ParseTest, MulticastAndBroadcastAreMarked) {
    for (const MacAddress& to : {MacAddress{1, 0, 0x5e, 0, 0, 5}, MacAddress{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}) {
        TestPacket& p = packet(test::ethernet_frame(to, kHostMac, {}, udp));
        run(stage, {&p});
        expect_kept(p);
        EXPECT_EQ(p.meta().flags, meta_flag::kMulticast);
    }
}

TEST_F(ParseTest, ControlProtocolsPassAsNoIp) {
    for (const unsigned type : {0x0806u, 0x88ccu, 0x888eu, 0x8809u, 0x0026u, 0x05ffu}) {
        TestPacket& p = of_type(static_cast<std::uint16_t>(type));
        run(stage, {&p});
        expect_kept(p);
        EXPECT_EQ(p.meta().ip, IpVersion::none) << type;
        EXPECT_EQ(p.meta().l2_length, 14);
        EXPECT_EQ(p.bytes(), test::filler(46));
    }
}
TEST_F(ParseTest, UnknownEthertype) { expect_drop(of_type(0x8847), Drop::unknown_ethertype); }
TEST_F(ParseTest, FirstEthertypeThatIsNoLength) { expect_drop(of_type(0x0600), Drop::unknown_ethertype); }
TEST_F(ParseTest, Ipv6SaidToBeIpv4) { expect_drop(of_type(0x0800), Drop::bad_ip_header); }  // filler: version 0

TEST_F(ParseTest, EveryLengthOfAFrame) {
    const Bytes whole = test::ethernet_frame(kOurPriMac, kMsee1Mac,
                                             std::array{tag(kEtherTypeQinQ, 100), tag(kEtherTypeVlan, 300)}, udp);
    for (std::size_t length = 0; length <= whole.size(); ++length) {
        test::ExactPacket p{std::span{whole}.first(length)};
        p.mbuf.port = kPriPort;
        batch.clear();
        batch.push(&p.mbuf);
        stage.process(ctx, batch);
        EXPECT_EQ(batch.size(), length == whole.size() ? 1 : 0) << length;
        ctx.dropped.clear();
    }
    EXPECT_EQ(all_drops(), whole.size());
    EXPECT_EQ(drops(Drop::malformed_frame), 14u + 20u);  // no Ethernet header; less than an IP header behind it
    EXPECT_EQ(drops(Drop::unknown_vlan), 8u);            // a tag cut in two
}

TEST_F(ParseTest, KeptOnesCloseRanksInOrder) {
    TestPacket& a = frame(kLanPort, {}, udp);
    TestPacket& bad = frame(kPriPort, {}, udp);
    TestPacket& b = frame(kPriPort, {tag(kEtherTypeVlan, 300)}, udp);
    TestPacket& worse = packet(Bytes(13));
    TestPacket& c = frame(kLanPort, {}, udp);
    run(stage, {&a, &bad, &b, &worse, &c});
    EXPECT_EQ(all(batch), (Packets{&a.mbuf, &b.mbuf, &c.mbuf}));
    EXPECT_EQ(all(ctx.dropped), (Packets{&bad.mbuf, &worse.mbuf}));
}

TEST_F(ParseTest, InnerForgetsTheOuterFrame) {
    TestPacket& p = packet(udp);
    p.meta().flags = meta_flag::kFragment;
    p.meta().l2_length = 18;
    p.meta().zone = Zone::tunnel;
    p.meta().rx_leg = kMsftPri;
    ParseInner inner;
    run(inner, {&p});
    expect_kept(p);
    EXPECT_EQ(p.meta().flags, 0);
    EXPECT_EQ(p.meta().l2_length, 0);
    EXPECT_EQ(p.meta().zone, Zone::tunnel);
    EXPECT_EQ(p.meta().rx_leg, kMsftPri);
    EXPECT_EQ(p.meta().src_port.host(), 7);
}
TEST_F(ParseTest, InnerRefusesWhatIsNoIp) {
    TestPacket& p = packet(test::filler(40));
    ParseInner inner;
    run(inner, {&p});
    expect_dropped(p, Drop::bad_ip_header);
}

}  // namespace
}  // namespace twinspan
