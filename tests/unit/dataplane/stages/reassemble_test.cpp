#include "dataplane/stages/reassemble.hpp"

#include "dataplane/packet/parse_ip.hpp"
#include "dataplane/packet/pipeline.hpp"
#include "dataplane/state/reassembly.hpp"
#include "tests/support/fragments.hpp"
#include "tests/support/stage_test.hpp"

namespace twinspan {
namespace {

using test::Bytes;
using test::TestPacket;

static_assert(Stage<Reassemble>);

struct ReassembleTest : test::StageTest {
    ReassembleTest() { ctx.reassembly = &table; }
    // As Parse leaves it, on this leg, with the leg's link layer header before it.
    TestPacket& fragment(const Bytes& ip_packet, LegIndex leg = kMsftPri) {
        TestPacket& p = from_msee(ip_packet, 300, leg == kMsftPri ? kPriPort : kSecPort);
        rte_pktmbuf_adj(&p.mbuf, 18);
        PacketMeta& pm = p.meta();
        pm.rx_leg = leg;
        pm.l2_length = 18;
        pm.zone = Zone::microsoft_peering;
        pm.tunnel = kNone;
        pm.route = 77;
        EXPECT_TRUE(parse_ip(p.mbuf, pm).kept());
        EXPECT_NE(pm.flags & meta_flag::kFragment, 0);
        return p;
    }
    static Bytes esp(std::size_t bytes, std::uint8_t tos = 0) {
        return test::ip_packet({.src = "20.51.0.4", .dst = "203.0.113.1", .tos = tos}, 50, test::filler(bytes));
    }
    static Bytes esp6(std::size_t bytes) {
        return test::ip_packet({.src = "2001:db8::4", .dst = "2001:db8::1"}, 50, test::filler(bytes));
    }
    Bytes only_packet() {
        EXPECT_EQ(batch.size(), 1);
        const auto* p = rte_pktmbuf_mtod(batch[0], const std::uint8_t*);
        return {p, p + batch[0]->data_len};
    }
    Reassembly table{{.datagrams = 8, .timeout_tsc = 1000}};
    Reassemble stage;
};

TEST_F(ReassembleTest, EspIsWholeAgain) {
    const Bytes whole = esp(1480);
    const std::vector<Bytes> parts = test::fragments4(whole, 1400);
    TestPacket& first = fragment(parts[0]);
    TestPacket& second = fragment(parts[1], kMsftSec);
    run(stage, {&first, &second});
    EXPECT_EQ(only_packet(), whole) << "header checksum included";
    const PacketMeta& pm = meta(*batch[0]);
    EXPECT_EQ(pm.protocol, 50);
    EXPECT_EQ(pm.l3_length, 1500);
    EXPECT_EQ(pm.l4_offset, 20);
    EXPECT_EQ(pm.flags, 0);
    EXPECT_EQ(pm.rx_leg, kMsftSec) << "where it was completed";
    EXPECT_EQ(pm.route, 77u);
    EXPECT_EQ(pm.zone, Zone::microsoft_peering);
    EXPECT_EQ(batch[0]->port, kSecPort);
    EXPECT_EQ(std::memcmp(rte_pktmbuf_mtod(batch[0], const char*) - 18, rte_pktmbuf_mtod(&second.mbuf, char*) - 18, 18),
              0)
        << "the link layer header of that leg";
    EXPECT_EQ(all(ctx.dropped), (Packets{&first.mbuf, &second.mbuf})) << "to be freed";
    EXPECT_EQ(all_drops(), 0u);
    EXPECT_EQ(counters.merged.read(), 1u);
    EXPECT_EQ(counters.held.read(), 0u);
}

TEST_F(ReassembleTest, LastFragmentFirstAndAcrossBursts) {
    const Bytes whole = esp(4000);
    const std::vector<Bytes> parts = test::fragments4(whole, 1400);
    run(stage, {&fragment(parts[2])});
    EXPECT_TRUE(batch.empty());
    run(stage, {&fragment(parts[1])});
    EXPECT_TRUE(batch.empty());
    EXPECT_EQ(counters.held.read(), 2u);
    run(stage, {&fragment(parts[0])});
    EXPECT_EQ(only_packet(), whole);
    EXPECT_EQ(counters.held.read(), 0u);
    EXPECT_EQ(counters.merged.read(), 2u);
}

TEST_F(ReassembleTest, AllUdpIsOursWhateverItsPort) {
    for (const std::uint16_t port : std::to_array<std::uint16_t>({4500, 500, 53})) {
        const Bytes whole = test::udp_packet(
            {.src = "20.51.0.4", .dst = "203.0.113.1", .dst_port = port, .payload = test::filler(3000), .id = port});
        for (const Bytes& part : test::fragments4(whole, 1400)) {
            run(stage, {&fragment(part)});
        }
        EXPECT_EQ(only_packet(), whole);
        EXPECT_EQ(meta(*batch[0]).dst_port.host(), port);
    }
}

TEST_F(ReassembleTest, OtherProtocolsAreLinuxs) {
    const Bytes ping = test::echo_request({.src = "20.51.0.4", .dst = "203.0.113.1", .payload = test::filler(1600)});
    const std::vector<Bytes> parts = test::fragments4(ping, 1400);
    TestPacket& first = fragment(parts[0]);
    TestPacket& second = fragment(parts[1]);
    run(stage, {&second, &first});
    EXPECT_EQ(all(batch), (Packets{&second.mbuf, &first.mbuf}));
    EXPECT_EQ(second.bytes(), parts[1]);
    EXPECT_TRUE(ctx.dropped.empty());
}

TEST_F(ReassembleTest, CongestionIsPutIntoTheHeader) {
    const Bytes ect = esp(1480, 0xb8 | 2);
    const Bytes ce = esp(1480, 0xb8 | 3);
    run(stage, {&fragment(test::fragments4(ect, 1400)[0]), &fragment(test::fragments4(ce, 1400)[1])});
    EXPECT_EQ(only_packet(), ce);
    Bytes ect6 = esp6(1480), ce6 = ect6;
    ect6[1] |= 2 << 4;
    ce6[1] |= 3 << 4;
    run(stage, {&fragment(test::fragments6(ect6, 1400, 5)[0]), &fragment(test::fragments6(ce6, 1400, 5)[1])});
    EXPECT_EQ(only_packet(), ce6);
}

TEST_F(ReassembleTest, Ipv6LosesItsFragmentHeader) {
    const Bytes whole = esp6(4000);
    const std::vector<Bytes> parts = test::fragments6(whole, 1400, 0xabcd1234);
    run(stage, {&fragment(parts[1]), &fragment(parts[0]), &fragment(parts[2])});
    EXPECT_EQ(only_packet(), whole);
    EXPECT_EQ(meta(*batch[0]).ip, IpVersion::v6);
    EXPECT_EQ(meta(*batch[0]).l4_offset, 40);
}

TEST_F(ReassembleTest, Ipv6HeadersBeforeTheFragmentHeaderStay) {
    Bytes whole = esp6(1600);
    const Bytes hop_by_hop{60, 0, 1, 4, 0, 0, 0, 0}, destination{50, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    whole.insert(whole.begin() + 40, destination.begin(), destination.end());
    whole.insert(whole.begin() + 40, hop_by_hop.begin(), hop_by_hop.end());
    whole[6] = 0;
    whole[4] = static_cast<std::uint8_t>((whole.size() - 40) >> 8);
    whole[5] = static_cast<std::uint8_t>(whole.size() - 40);
    // The fragment header stands behind the first option header, and behind both.
    for (const std::size_t before : {48u, 64u}) {
        const std::vector<Bytes> parts =
            test::fragments6(whole, 800, static_cast<std::uint32_t>(before), before, before == 48 ? 40 : 48);
        for (const Bytes& part : parts) {
            run(stage, {&fragment(part)});
        }
        EXPECT_EQ(only_packet(), whole) << before;
        EXPECT_EQ(meta(*batch[0]).l4_offset, 64);
        EXPECT_EQ(meta(*batch[0]).protocol, 50);
    }
}

TEST_F(ReassembleTest, AtomicFragmentsMeetNoOthers) {
    const Bytes whole = esp6(300);
    run(stage, {&fragment(test::fragments6(esp6(1480), 1400, 9)[0])});
    const std::vector<Bytes> atomic = test::fragments6(whole, 1400, 9);
    ASSERT_EQ(atomic.size(), 1u);
    TestPacket& p = fragment(atomic[0]);
    const Bytes link_layer(rte_pktmbuf_mtod(&p.mbuf, const std::uint8_t*) - 18,
                           rte_pktmbuf_mtod(&p.mbuf, const std::uint8_t*));
    run(stage, {&p});
    EXPECT_EQ(all(batch), Packets{&p.mbuf});
    EXPECT_EQ(p.bytes(), whole);
    EXPECT_EQ(
        Bytes(rte_pktmbuf_mtod(&p.mbuf, const std::uint8_t*) - 18, rte_pktmbuf_mtod(&p.mbuf, const std::uint8_t*)),
        link_layer);
    EXPECT_EQ(p.meta().l4_offset, 40);
    EXPECT_EQ(p.meta().flags, 0);
    EXPECT_EQ(counters.held.read(), 1u) << "the other still waits";
    run(stage, {&fragment(test::fragments6(esp6(1480), 1400, 9)[1])});
    EXPECT_EQ(only_packet(), esp6(1480));
}

// What tells packets apart comes from their headers.
TEST_F(ReassembleTest, FragmentsOfOtherPacketsDoNotMeet) {
    Reassembly wide{{.datagrams = 32, .timeout_tsc = 1000}};
    ctx.reassembly = &wide;
    const auto packet4 = [](std::uint16_t id, const std::string& src, const std::string& dst, std::uint8_t protocol) {
        return test::fragments4(test::ip_packet({.src = src, .dst = dst, .id = id}, protocol, test::filler(1480)),
                                1400);
    };
    const auto packet6 = [](std::uint32_t id, const std::string& src, const std::string& dst) {
        return test::fragments6(test::ip_packet({.src = src, .dst = dst}, 50, test::filler(1480)), 1400, id);
    };
    const std::vector<std::vector<Bytes>> packets[] = {
        {packet4(7, "20.51.0.4", "203.0.113.1", 50), packet4(8, "20.51.0.4", "203.0.113.1", 50),
         packet4(7, "20.51.0.5", "203.0.113.1", 50), packet4(7, "20.51.0.4", "203.0.113.5", 50),
         packet4(7, "20.51.0.4", "203.0.113.1", 17)},
        {packet6(7, "2001:db8::4", "2001:db8::1"), packet6(8, "2001:db8::4", "2001:db8::1"),
         packet6(7, "2001:db8::5", "2001:db8::1"), packet6(7, "2001:db8::4", "2001:db8::2")}};
    for (const auto& alike : packets) {
        run(stage, {&fragment(alike[0][0])});
        for (std::size_t other = 1; other < alike.size(); ++other) {
            run(stage, {&fragment(alike[other][1])});
            EXPECT_TRUE(batch.empty()) << other;
        }
        run(stage, {&fragment(alike[0][1])});
        EXPECT_EQ(batch.size(), 1);
    }
    EXPECT_EQ(all_drops(), 0u);
}

TEST_F(ReassembleTest, AFragmentInAFragmentEnds) {
    const Bytes whole = esp6(3000);
    for (const Bytes& inner : test::fragments6(whole, 1600, 1)) {
        for (const Bytes& outer : test::fragments6(inner, 800, 2)) {
            run(stage, {&fragment(outer)});
            EXPECT_TRUE(batch.empty());
        }
        run(stage, {&fragment(test::fragments6(inner, 2000, 3)[0])});
        EXPECT_TRUE(batch.empty()) << "nor an atomic one";
    }
    EXPECT_EQ(drops(Drop::malformed_frame), 4u);
    EXPECT_EQ(all_drops(), 4u);
}

TEST_F(ReassembleTest, WithoutATableFragmentsEnd) {
    ctx.reassembly = nullptr;
    TestPacket& p = fragment(test::fragments4(esp(1480), 1400)[0]);
    run(stage, {&p});
    expect_dropped(p, Drop::fragment_unsupported);
}

}  // namespace
}  // namespace twinspan
