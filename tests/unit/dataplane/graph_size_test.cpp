// Packets longer than their way, and packets that arrive in pieces, through the whole graph.
#include "dataplane/graph.hpp"
#include "tests/support/fragments.hpp"
#include "tests/support/graph_world.hpp"

#include <gtest/gtest.h>

namespace twinspan {
namespace {

using test::Bytes;
using test::ExactPacket;
using test::kPayloadOffset;
using test::PacketSpec;
using test::TestPacket;

constexpr std::size_t kTagged = sizeof(EthernetHeader) + sizeof(VlanTag);

struct GraphSize : testing::Test, test::GraphWorld {
    static constexpr std::array<VlanTag, 1> kTag{VlanTag{kEtherTypeVlan, to_be16(300)}};

    // The frames given to a port, without their link layer headers.
    std::vector<Bytes> sent(std::uint16_t port, std::size_t link) {
        std::vector<Bytes> out;
        for (rte_mbuf* m : ctx.transmit[port]) {
            const auto* data = rte_pktmbuf_mtod(m, const std::uint8_t*);
            EXPECT_EQ(m->pkt_len, m->data_len);
            out.emplace_back(data + link, data + m->data_len);
        }
        return out;
    }
    Bytes opened(const Bytes& outer) {
        Bytes esp(outer.begin() + 20, outer.end());
        const Opened got = peer_in0->open_in_place(engine, peer_in0->sequence_of(esp.data()), esp.data(), esp.size());
        EXPECT_EQ(got.status, OpenStatus::ok);
        return {esp.begin() + kPayloadOffset,
                esp.begin() + static_cast<std::ptrdiff_t>(kPayloadOffset + got.payload_len)};
    }
    // What the pieces, in any order but all of them, were cut from; nothing where they do not fit together.
    static Bytes joined(std::vector<Bytes> pieces) {
        const auto offset = [](const Bytes& p) { return (p[6] << 8 | p[7]) & 0x1fff; };
        std::ranges::sort(pieces, {}, offset);
        Bytes out;
        for (const Bytes& p : pieces) {
            if (!out.empty() && static_cast<std::size_t>(offset(p)) * 8 != out.size() - 20) {
                return {};
            }
            out.insert(out.end(), p.begin() + (out.empty() ? 0 : 20), p.end());
        }
        Bytes whole = test::fragments4(out, 0xfff8)[0];  // header as of a packet that was never cut
        return whole;
    }
    void expect_books(std::initializer_list<rte_mbuf*> packets) {
        EXPECT_TRUE(ended_once(std::vector<rte_mbuf*>(packets)));
        EXPECT_TRUE(accounts_are_right());
    }
    static PacketSpec big(std::size_t payload = 1700) {
        return {
            .src = "10.10.0.10", .dst = "10.20.1.2", .src_port = 1, .dst_port = 2, .payload = test::filler(payload)};
    }
};

TEST_F(GraphSize, IntoATunnelCutBeforeItIsEncrypted) {
    PacketSpec spec = big();
    TestPacket& p = from_lan(test::udp_packet(spec));
    TestPacket& small = from_lan(test::udp_packet(big(100)));
    from_wire({&p, &small});
    std::vector<Bytes> inner;
    for (const Bytes& outer : sent(kPriPort, kTagged)) {
        EXPECT_LE(outer.size(), 1500u);
        EXPECT_EQ(outer[6] & 0x3f, 0) << "the outer packet is no fragment";
        inner.push_back(opened(outer));
        EXPECT_LE(inner.back().size(), 1446u);
    }
    ASSERT_EQ(inner.size(), 3u);
    inner.erase(inner.begin());  // the small one did not wait
    spec.ttl = 63;
    EXPECT_EQ(joined(inner), test::udp_packet(spec));
    EXPECT_EQ(inner[0].size(), 1444u) << "as much as fits";
    EXPECT_EQ(counters.fragmented.read(), 1u);
    EXPECT_EQ(all_drops(), 0u);
    expect_books({&p.mbuf, &small.mbuf});
}

TEST_F(GraphSize, ToAPeeringTranslatedBeforeItIsCut) {
    PacketSpec spec = big();
    spec.dst = "13.107.7.9";
    TestPacket& p = from_lan(test::udp_packet(spec));
    from_wire({&p});
    const std::vector<Bytes> pieces = sent(kPriPort, kTagged);
    ASSERT_EQ(pieces.size(), 2u);
    const Bytes whole = joined(pieces);
    EXPECT_TRUE(test::checksums_right(whole));
    EXPECT_EQ(Bytes(whole.begin() + 12, whole.begin() + 15), (Bytes{198, 51, 100})) << "both pieces";
    EXPECT_EQ(whole.size(), test::udp_packet(spec).size());
    EXPECT_TRUE(std::equal(whole.begin() + 28, whole.end(), spec.payload.begin()));
    EXPECT_EQ(table.usage(0).sessions, 1u);
    EXPECT_EQ(counters.fragmented.read(), 1u);
    expect_books({&p.mbuf});
}

TEST_F(GraphSize, OutOfATunnelToASmallerLan) {
    config.egresses[kToLanHost].mtu = 600;
    PacketSpec spec{
        .src = "10.20.1.2", .dst = "10.10.0.10", .src_port = 1, .dst_port = 2, .payload = test::filler(1400)};
    TestPacket& p = from_msee(from_peer(test::udp_packet(spec)));
    from_wire({&p});
    spec.ttl = 63;
    EXPECT_EQ(sent(kLanPort, sizeof(EthernetHeader)).size(), 3u);
    EXPECT_EQ(joined(sent(kLanPort, sizeof(EthernetHeader))), test::udp_packet(spec));
    expect_books({&p.mbuf});
}

TEST_F(GraphSize, WithDfTheSenderIsToldTheInnerMtu) {
    PacketSpec spec = big();
    spec.fragment = 0x4000;
    TestPacket& p = from_lan(test::udp_packet(spec));
    from_wire({&p});
    const std::vector<Bytes> errors = sent(kLanPort, sizeof(EthernetHeader));
    ASSERT_EQ(errors.size(), 1u);
    EXPECT_EQ(errors[0][20], 3);
    EXPECT_EQ(errors[0][21], 4);
    EXPECT_EQ(errors[0][26] << 8 | errors[0][27], 1446);
    EXPECT_EQ(drops(Drop::too_big), 1u);
    expect_books({&p.mbuf});
}

TEST_F(GraphSize, ABurstOfLongPackets) {
    std::vector<TestPacket*> packets;
    std::vector<rte_mbuf*> mbufs;
    for (unsigned i = 0; i < kBurst; ++i) {
        packets.push_back(&from_lan(test::udp_packet(big())));
        mbufs.push_back(&packets.back()->mbuf);
    }
    from_wire(mbufs);
    EXPECT_EQ(counters.tx.read(), 2u * kBurst);
    EXPECT_EQ(counters.fragmented.read(), kBurst);
    EXPECT_TRUE(ended_once(mbufs));
    EXPECT_TRUE(accounts_are_right());
}

TEST_F(GraphSize, EspInPiecesOverBothLinks) {
    PacketSpec spec{
        .src = "10.20.1.2", .dst = "10.10.0.10", .src_port = 1, .dst_port = 2, .payload = test::filler(1440)};
    const std::vector<Bytes> parts = test::fragments4(from_peer(test::udp_packet(spec)), 1400);
    ASSERT_EQ(parts.size(), 2u);
    TestPacket& first = from_msee(parts[0]);
    TestPacket& second = from_msee(parts[1], 300, kSecPort);
    from_wire({&second});
    EXPECT_EQ(counters.held.read(), 1u);
    from_wire({&first});
    spec.ttl = 63;
    EXPECT_EQ(sent(kLanPort, sizeof(EthernetHeader)), std::vector<Bytes>{test::udp_packet(spec)});
    EXPECT_EQ(counters.merged.read(), 1u);
    EXPECT_EQ(all_drops(), 0u);
    expect_books({&first.mbuf, &second.mbuf});
}

TEST_F(GraphSize, EspInUdpInPiecesBesideWholeEsp) {
    encapsulate(0);
    PacketSpec spec{
        .src = "10.20.1.2", .dst = "10.10.0.10", .src_port = 1, .dst_port = 2, .payload = test::filler(1440)};
    const std::vector<Bytes> parts = test::fragments4(from_peer_in_udp(test::udp_packet(spec)), 800);
    PacketSpec other = spec;
    other.payload = test::filler(7);
    TestPacket& first = from_msee(parts[0]);
    TestPacket& whole = from_msee(from_peer_in_udp(test::udp_packet(other)));
    TestPacket& second = from_msee(parts[1]);
    from_wire({&first, &whole, &second});
    spec.ttl = other.ttl = 63;
    EXPECT_EQ(sent(kLanPort, sizeof(EthernetHeader)),
              (std::vector<Bytes>{test::udp_packet(other), test::udp_packet(spec)}));
    EXPECT_EQ(all_drops(), 0u);
    expect_books({&first.mbuf, &whole.mbuf, &second.mbuf});
}

// IKE_AUTH with certificates is longer than a frame; what Linux reassembles itself it still gets in pieces.
TEST_F(GraphSize, IkeIsPuntedWholeAndAPingInPieces) {
    Bytes message(4, 0);
    message.resize(3000, 0x5a);
    const Bytes ike = test::udp_packet(
        {.src = "20.51.0.4", .dst = "203.0.113.1", .src_port = 4500, .dst_port = 4500, .payload = message});
    const Bytes ping = test::echo_request({.src = "20.51.0.4", .dst = "203.0.113.1", .payload = test::filler(1600)});
    std::vector<Bytes> parts = test::fragments4(ike, 1400);
    std::ranges::copy(test::fragments4(ping, 1400), std::back_inserter(parts));
    std::vector<rte_mbuf*> mbufs;
    for (const Bytes& part : parts) {
        mbufs.push_back(&from_msee(part).mbuf);
    }
    from_wire(mbufs);
    const Bytes link = test::ethernet_frame(kOurPriMac, kMsee1Mac, {}, {});
    std::vector<Bytes> punted;
    for (rte_mbuf* m : ctx.punted) {
        const auto* data = rte_pktmbuf_mtod(m, const std::uint8_t*);
        punted.emplace_back(data + sizeof(EthernetHeader), data + m->data_len);
        EXPECT_TRUE(std::equal(data, data + 12, link.begin()));
    }
    std::ranges::sort(punted, {}, &Bytes::size);
    ASSERT_EQ(punted.size(), 3u);
    EXPECT_EQ(punted[2], ike);
    EXPECT_EQ((std::vector<Bytes>{punted[1], punted[0]}), test::fragments4(ping, 1400));
    EXPECT_TRUE(ended_once(mbufs));
    EXPECT_TRUE(accounts_are_right());
}

TEST_F(GraphSize, WhatIsNeverCompletedIsCountedInTheEnd) {
    const std::vector<Bytes> parts = test::fragments4(from_peer(test::filler(1400)), 400);
    TestPacket& a = from_msee(parts[0]);
    TestPacket& b = from_msee(parts[2]);
    from_wire({&a, &b});
    EXPECT_EQ(counters.held.read(), 2u);
    expect_books({&a.mbuf, &b.mbuf});
    reassembly.expire(ctx.now_tsc + kReassemblyTimeout, counters);
    EXPECT_EQ(counters.held.read(), 0u);
    EXPECT_EQ(drops(Drop::fragment_timeout), 2u);
    EXPECT_TRUE(accounts_are_right());
}

// 9,000 bytes, received in a chain of buffers, through a tunnel whose path carries them, both ways.
TEST_F(GraphSize, JumboFramesInChains) {
    config.tunnels[0].inner_mtu = config.egresses[kIntoTunnel0].mtu = 8946;
    config.egresses[kOuterPri].mtu = config.egresses[kToLanHost].mtu = 9000;
    PacketSpec spec = big(8946 - 28);
    spec.fragment = 0x4000;
    const auto chained = [](const Bytes& frame, std::deque<ExactPacket>& segments, std::uint16_t port) -> rte_mbuf* {
        constexpr std::size_t kSegment = 2048;
        for (std::size_t at = 0; at < frame.size(); at += kSegment) {
            segments.emplace_back(std::span{frame}.subspan(at, std::min(kSegment, frame.size() - at)));
            if (at != 0) {
                segments[segments.size() - 2].mbuf.next = &segments.back().mbuf;
            }
        }
        rte_mbuf& head = segments.front().mbuf;
        head.nb_segs = static_cast<std::uint16_t>(segments.size());
        head.pkt_len = static_cast<std::uint32_t>(frame.size());
        head.port = port;
        return &head;
    };
    std::deque<ExactPacket> out_segments;
    rte_mbuf* out =
        chained(test::ethernet_frame(kOurLanMac, kHostMac, {}, test::udp_packet(spec)), out_segments, kLanPort);
    from_wire({&out, 1});
    spec.ttl = 63;
    ASSERT_EQ(sent(kPriPort, kTagged).size(), 1u);
    EXPECT_EQ(sent(kPriPort, kTagged)[0].size(), 9000u);
    EXPECT_EQ(opened(sent(kPriPort, kTagged)[0]), test::udp_packet(spec));
    EXPECT_EQ(all_drops(), 0u);
    expect_books({out});

    PacketSpec back{
        .src = "10.20.1.2", .dst = "10.10.0.10", .src_port = 1, .dst_port = 2, .payload = test::filler(8900)};
    std::deque<ExactPacket> in_segments;
    rte_mbuf* in = chained(test::ethernet_frame(kOurPriMac, kMsee1Mac, kTag, from_peer(test::udp_packet(back))),
                           in_segments, kPriPort);
    from_wire({&in, 1});
    back.ttl = 63;
    EXPECT_EQ(sent(kLanPort, sizeof(EthernetHeader)), std::vector<Bytes>{test::udp_packet(back)});
    EXPECT_EQ(all_drops(), 0u);
    expect_books({in});
}

}  // namespace
}  // namespace twinspan
