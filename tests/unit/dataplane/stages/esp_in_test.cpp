#include "dataplane/stages/esp_in.hpp"

#include "dataplane/packet/pipeline.hpp"
#include "tests/support/stage_test.hpp"

namespace twinspan {
namespace {

using test::Bytes;
using test::kLayout;
using test::kPayloadOffset;
using test::TestPacket;

static_assert(Stage<EspIn>);

struct EspInTest : test::StageTest {
    EspInTest() {
        SaConfig peer;
        peer.spi = 0x2002;
        peer.suite = Suite::aes_256_gcm;
        peer.keymat = SecretBytes(keymat_len(Suite::aes_256_gcm));
        std::fill_n(peer.keymat.data(), peer.keymat.size(), std::uint8_t{0x22});
        peer1 = std::move(*OutboundSa::create(engine, peer));
        peer1->raise_limit(1u << 20);
        gcm = std::make_unique<GcmKey>(std::move(*engine.expand(Suite::aes_256_gcm, Bytes(32, 0x21))));
    }
    static Bytes sized(std::size_t bytes) {
        return test::ip_packet({.src = "10.20.0.1", .dst = "10.10.0.10"}, 253, test::filler(bytes - 20));
    }
    // The ESP packet, without an outer header.
    Bytes sealed(OutboundSa& sa, std::uint64_t seq, const Bytes& inner, std::uint8_t next = kNextHeaderIpv4) {
        Bytes esp(kPayloadOffset + inner.size() + kEspMaxRoom);
        std::ranges::copy(inner, esp.begin() + kPayloadOffset);
        esp.resize(sa.seal_in_place(engine, seq, esp.data(), inner.size(), next));
        return esp;
    }
    // Tunnel 0 with this plaintext, trailer and all.
    Bytes sealed_raw(std::uint32_t seq, Bytes plaintext) {
        Bytes esp(kPayloadOffset);
        write_esp_header(esp.data(), __builtin_bswap32(0x2001), seq);
        alignas(16) std::array<std::uint8_t, 16> nonce;
        write_nonce(nonce.data(), 0x21212121, __builtin_bswap64(seq));
        esp.insert(esp.end(), plaintext.begin(), plaintext.end());
        esp.resize(esp.size() + kLayout.icv_len);
        engine.seal(*gcm, esp.data() + kPayloadOffset, plaintext.size(), nonce.data(), esp.data(), kEspHeaderLen,
                    esp.data() + kPayloadOffset + plaintext.size());
        return esp;
    }
    TestPacket& outer(const Bytes& esp, std::uint16_t tunnel = 0, test::PacketSpec spec = {}) {
        spec.src = tunnel == 0 ? "20.51.0.4" : "20.51.0.5";
        spec.dst = tunnel == 0 ? "203.0.113.1" : "203.0.113.5";
        return parsed(test::ip_packet(spec, 50, esp), Zone::microsoft_peering, tunnel == 0 ? kMsftPri : kMsftSec);
    }
    TestPacket& arrival(std::uint64_t seq, const Bytes& inner) { return outer(sealed(*peer0, seq, inner)); }
    TestPacket& arrival1(std::uint64_t seq, const Bytes& inner) { return outer(sealed(*peer1, seq, inner), 1); }
    void expect_drop(TestPacket& p, Drop reason) {
        run(stage, {&p});
        EXPECT_TRUE(batch.empty());
        expect_dropped(p, reason);
        EXPECT_EQ((*counters.tunnel_rx)[0].packets.read(), 0u);
    }
    bool seen(std::uint64_t seq) { return in0->replay().check(seq) != ReplayVerdict::fresh; }

    std::unique_ptr<OutboundSa> peer1;
    std::unique_ptr<GcmKey> gcm;
    EspIn stage;
};

TEST_F(EspInTest, EverySizeComesBack) {
    std::uint64_t bytes = 0;
    std::uint64_t seq = 0;
    for (std::size_t size = 20; size <= 1446; ++size) {
        TestPacket p{
            test::ip_packet({.src = "20.51.0.4", .dst = "203.0.113.1"}, 50, sealed(*peer0, ++seq, sized(size)))};
        test::fill_meta(p.mbuf, Zone::microsoft_peering);
        run(stage, {&p});
        ASSERT_EQ(batch.size(), 1) << size;
        ASSERT_EQ(p.bytes(), sized(size));
        ASSERT_EQ(p.mbuf.pkt_len, size);
        ASSERT_EQ(p.meta().zone, Zone::tunnel);
        ASSERT_EQ(p.meta().tunnel, 0);
        bytes += size;
    }
    EXPECT_EQ(all_drops(), 0u);
    EXPECT_EQ((*counters.tunnel_rx)[0].packets.read(), seq);
    EXPECT_EQ((*counters.tunnel_rx)[0].bytes.read(), bytes);
    EXPECT_EQ(in0->usage(), (SaUsage{seq, bytes}));
    EXPECT_EQ(in1->usage(), SaUsage{});
}

TEST_F(EspInTest, InnerIpv6) {
    const Bytes inner = test::udp_packet({.src = "fd10:20::1", .dst = "fd10:10::10"});
    TestPacket& p = outer(sealed(*peer0, 1, inner, kNextHeaderIpv6));
    run(stage, {&p});
    expect_kept(p);
    EXPECT_EQ(p.bytes(), inner);
}

TEST_F(EspInTest, OuterOptionsAreSkipped) {
    TestPacket& p = outer(sealed(*peer0, 1, sized(60)), 0, {.ip_options = Bytes(8, 1)});
    run(stage, {&p});
    expect_kept(p);
    EXPECT_EQ(p.bytes(), sized(60));
}

TEST_F(EspInTest, AReplayInOneBurst) {
    TestPacket& a = arrival(5, sized(60));
    TestPacket& again = arrival(5, sized(60));
    TestPacket& b = arrival(6, sized(61));
    run(stage, {&a, &again, &b});
    EXPECT_EQ(all(batch), (Packets{&a.mbuf, &b.mbuf}));
    expect_dropped(again, Drop::esp_replayed);
    EXPECT_EQ((*counters.tunnel_rx)[0].packets.read(), 2u);
    EXPECT_EQ((*counters.tunnel_rx)[0].bytes.read(), 121u);
}

TEST_F(EspInTest, AReplayInALaterBurst) {
    run(stage, {&arrival(5, sized(60))});
    ASSERT_EQ(batch.size(), 1);
    TestPacket& again = arrival(5, sized(60));
    const Bytes before = again.bytes();
    run(stage, {&again});
    EXPECT_TRUE(batch.empty());
    expect_dropped(again, Drop::esp_replayed);
    EXPECT_EQ(again.bytes(), before) << "refused before the cipher";
}

TEST_F(EspInTest, LeftOfTheWindow) {
    run(stage, {&arrival(5000, sized(60))});
    TestPacket& oldest = arrival(5000 - 1023, sized(60));
    TestPacket& too_old = arrival(5000 - 1024, sized(60));
    run(stage, {&oldest, &too_old});
    EXPECT_EQ(all(batch), Packets{&oldest.mbuf});
    expect_dropped(too_old, Drop::esp_replayed);
}

TEST_F(EspInTest, NumberZeroIsNeverSent) { expect_drop(arrival(0, sized(60)), Drop::esp_replayed); }

TEST_F(EspInTest, AnyChangedByteFailsAndLeavesTheWindowAlone) {
    const Bytes good = sealed(*peer0, 9, sized(60));
    std::uint64_t failures = 0;
    for (std::size_t at = 4; at < good.size(); ++at) {  // the SPI finds another SA
        Bytes bad = good;
        bad[at] ^= 0x10;
        run(stage, {&outer(bad)});
        EXPECT_TRUE(batch.empty()) << at;
        EXPECT_EQ(drops(Drop::esp_auth_failed), ++failures) << at;
    }
    EXPECT_EQ(in0->replay().highest(), 0u);
    clear_lists();
    TestPacket& p = outer(good);
    run(stage, {&p});
    EXPECT_EQ(all(batch), Packets{&p.mbuf}) << "a forgery must not use the number up";
    EXPECT_EQ(p.bytes(), sized(60));
}

TEST_F(EspInTest, BadPaddingIsAuthenticSoItsNumberIsUsed) {
    Bytes plaintext = sized(20);
    plaintext.insert(plaintext.end(), {1, 9, 2, 4});
    expect_drop(outer(sealed_raw(3, plaintext)), Drop::esp_bad_padding);
    EXPECT_TRUE(seen(3));
}
TEST_F(EspInTest, PaddingLongerThanThePacket) {
    expect_drop(outer(sealed_raw(3, {1, 2, 200, 4})), Drop::esp_bad_padding);
}
TEST_F(EspInTest, DummyPacketsEndSilently) {
    expect_drop(outer(sealed(*peer0, 3, test::filler(40), kNextHeaderDummy)), Drop::esp_dummy);
    EXPECT_TRUE(seen(3));
}
TEST_F(EspInTest, ADummyThatIsReplayedIsAReplay) {
    TestPacket& a = outer(sealed(*peer0, 3, test::filler(40), kNextHeaderDummy));
    TestPacket& b = outer(sealed(*peer0, 3, test::filler(40), kNextHeaderDummy));
    run(stage, {&a, &b});
    EXPECT_EQ(drops(Drop::esp_dummy), 1u);
    EXPECT_EQ(drops(Drop::esp_replayed), 1u);
}

TEST_F(EspInTest, TheInnerPacketMustBeWhatTheTrailerSays) {
    const Bytes v4 = sized(60);
    const Bytes v6 = test::udp_packet({.src = "fd10:20::1", .dst = "fd10:10::10"});
    Bytes version5 = v4;
    version5[0] = 0x55;
    std::uint64_t seq = 0;
    run(stage, {&outer(sealed(*peer0, ++seq, v4, kNextHeaderIpv6))});
    run(stage, {&outer(sealed(*peer0, ++seq, v6, kNextHeaderIpv4))});
    run(stage, {&outer(sealed(*peer0, ++seq, version5, kNextHeaderIpv4))});
    run(stage, {&outer(sealed(*peer0, ++seq, v4, 6))});
    run(stage, {&outer(sealed(*peer0, ++seq, {}, kNextHeaderIpv4))});
    EXPECT_TRUE(batch.empty());
    EXPECT_EQ(drops(Drop::esp_inner_not_ip), seq);
    EXPECT_EQ(all_drops(), seq);
    EXPECT_TRUE(seen(1) && seen(5));
}

TEST_F(EspInTest, NoSa) {
    Bytes esp = sealed(*peer0, 1, sized(60));
    esp[3] ^= 0x40;
    expect_drop(outer(esp), Drop::esp_no_sa);
}
TEST_F(EspInTest, SpiZero) {
    Bytes esp = sealed(*peer0, 1, sized(60));
    std::fill_n(esp.begin(), 4, std::uint8_t{0});
    expect_drop(outer(esp), Drop::esp_no_sa);
}
TEST_F(EspInTest, WrongPeer) { expect_drop(outer(sealed(*peer0, 1, sized(60)), 1), Drop::esp_wrong_peer); }
TEST_F(EspInTest, WrongRemoteAddress) {
    config.tunnels[0].remote = IpAddress::from(test::ip4("20.51.0.5"));
    expect_drop(arrival(1, sized(60)), Drop::esp_wrong_peer);
    EXPECT_FALSE(seen(1));
}
TEST_F(EspInTest, WrongLocalAddress) {
    config.tunnels[0].local = IpAddress::from(test::ip4("203.0.113.5"));
    expect_drop(arrival(1, sized(60)), Drop::esp_wrong_peer);
    EXPECT_FALSE(seen(1));
}
TEST_F(EspInTest, BareEspForAnSaInUdp) {
    encapsulate(0);
    expect_drop(arrival(1, sized(60)), Drop::esp_wrong_encapsulation);
    EXPECT_FALSE(seen(1));
}
TEST_F(EspInTest, UdpForAnSaOfBareEsp) {
    TestPacket& p = arrival(1, sized(60));
    p.meta().dst_port = to_be16(4500);
    expect_drop(p, Drop::esp_wrong_encapsulation);
    EXPECT_FALSE(seen(1));
}
TEST_F(EspInTest, UdpToAnotherPortThanTheSas) {
    encapsulate(0, 4501);
    TestPacket& p = arrival(1, sized(60));
    p.meta().dst_port = to_be16(4500);
    expect_drop(p, Drop::esp_wrong_encapsulation);
    TestPacket& q = arrival(1, sized(60));
    q.meta().dst_port = to_be16(4501);
    run(stage, {&q});
    EXPECT_EQ(all(batch), Packets{&q.mbuf});
}
TEST_F(EspInTest, OuterIpv6IsNoPeer) {
    TestPacket& p =
        parsed(test::ip_packet({.src = "fd10:20::1", .dst = "fd10:10::1"}, 50, sealed(*peer0, 1, sized(60))));
    expect_drop(p, Drop::esp_wrong_peer);
}
TEST_F(EspInTest, EveryLength) {
    const Bytes whole = sealed(*peer0, 1, sized(22));
    for (std::size_t length = kEspHeaderLen; length < whole.size(); ++length) {
        run(stage, {&outer(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)))});
        EXPECT_TRUE(batch.empty()) << length;
        clear_lists();
    }
    EXPECT_EQ(drops(Drop::esp_bad_length) + drops(Drop::esp_auth_failed), whole.size() - kEspHeaderLen);
    EXPECT_GE(drops(Drop::esp_bad_length), min_len(kLayout) - kEspHeaderLen);
    EXPECT_FALSE(seen(1));
}

TEST_F(EspInTest, MixedSasWithFailuresInBetween) {
    TestPacket& a = arrival(1, sized(60));
    TestPacket& b = arrival1(1, sized(61));
    Bytes forged = sealed(*peer0, 2, sized(62));
    forged.back() ^= 1;
    TestPacket& bad = outer(forged);
    TestPacket& c = arrival(3, sized(63));
    TestPacket& dummy = outer(sealed(*peer0, 4, test::filler(40), kNextHeaderDummy));
    TestPacket& again = arrival(1, sized(60));
    TestPacket& d = arrival(5, sized(64));
    Bytes unknown = sealed(*peer0, 6, sized(65));
    unknown[0] ^= 1;
    TestPacket& stray = outer(unknown);
    TestPacket& e = arrival1(2, sized(66));
    TestPacket& f = arrival1(3, sized(67));
    run(stage, {&a, &b, &bad, &c, &dummy, &again, &d, &stray, &e, &f});
    EXPECT_EQ(all(batch), (Packets{&a.mbuf, &b.mbuf, &c.mbuf, &d.mbuf, &e.mbuf, &f.mbuf}));
    std::size_t size = 60;
    for (TestPacket* p : {&a, &b}) {
        EXPECT_EQ(p->bytes(), sized(size++));
    }
    EXPECT_EQ(c.bytes(), sized(63));
    EXPECT_EQ(d.bytes(), sized(64));
    EXPECT_EQ(e.bytes(), sized(66));
    EXPECT_EQ(f.bytes(), sized(67));
    EXPECT_EQ(b.meta().tunnel, 1);
    EXPECT_EQ(c.meta().tunnel, 0);
    EXPECT_EQ(f.meta().tunnel, 1);
    EXPECT_EQ(ctx.dropped.size(), 4);
    EXPECT_EQ(drops(Drop::esp_auth_failed), 1u);
    EXPECT_EQ(drops(Drop::esp_dummy), 1u);
    EXPECT_EQ(drops(Drop::esp_replayed), 1u);
    EXPECT_EQ(drops(Drop::esp_no_sa), 1u);
    EXPECT_EQ((*counters.tunnel_rx)[0].packets.read(), 3u);
    EXPECT_EQ((*counters.tunnel_rx)[1].packets.read(), 3u);
    EXPECT_EQ(in0->usage(), (SaUsage{3, 60 + 63 + 64}));
    EXPECT_EQ(in1->usage(), (SaUsage{3, 61 + 66 + 67}));
}

TEST_F(EspInTest, AWholeBurstInReverse) {
    batch.clear();
    std::vector<TestPacket*> in;
    for (unsigned i = 0; i < kBurst; ++i) {
        in.push_back(&arrival(kBurst - i, sized(20 + i)));
        batch.push(&in.back()->mbuf);
    }
    stage.process(ctx, batch);
    ASSERT_EQ(batch.size(), kBurst);
    for (unsigned i = 0; i < kBurst; ++i) {
        EXPECT_EQ(batch[static_cast<std::uint16_t>(i)], &in[i]->mbuf);
        EXPECT_EQ(in[i]->bytes(), sized(20 + i));
    }
}

// RFC 6040 section 4.2 through the stage: the inner field, IPv4's checksum, and what is told.
TEST_F(EspInTest, EcnOfEveryCombination) {
    // [inner][outer]; 4: dropped
    constexpr unsigned kWanted[4][4] = {{0, 0, 0, 4}, {1, 1, 1, 3}, {2, 1, 2, 3}, {3, 3, 3, 3}};
    std::uint64_t seq = 0;
    for (const bool v6 : {false, true}) {
        for (unsigned inner = 0; inner < 4; ++inner) {
            for (unsigned outer_field = 0; outer_field < 4; ++outer_field) {
                test::PacketSpec spec{
                    .src = "10.20.0.1", .dst = "10.10.0.10", .tos = static_cast<std::uint8_t>(0xb8 | inner)};
                if (v6) {
                    spec.src = "fd10:20::1";
                    spec.dst = "fd10:10::10";
                }
                TestPacket& p =
                    outer(sealed(*peer0, ++seq, test::udp_packet(spec), v6 ? kNextHeaderIpv6 : kNextHeaderIpv4), 0,
                          {.tos = static_cast<std::uint8_t>(outer_field)});
                run(stage, {&p});
                const unsigned wanted = kWanted[inner][outer_field];
                ASSERT_EQ(batch.size(), wanted == 4 ? 0 : 1) << inner << " in " << outer_field;
                if (wanted != 4) {
                    spec.tos = static_cast<std::uint8_t>(0xb8 | wanted);  // the DSCP inside is left alone
                    EXPECT_EQ(p.bytes(), test::udp_packet(spec)) << inner << " in " << outer_field;
                }
            }
        }
    }
    EXPECT_EQ(drops(Drop::esp_ecn_illegal), 2u);
    EXPECT_EQ(all_drops(), 2u);
    EXPECT_EQ(counters.ecn_dangerous.read(), 2u * 4);
    EXPECT_EQ(counters.ecn_unused.read(), 2u * 1);
    EXPECT_TRUE(seen(4)) << "what is dropped was authentic";
}
TEST_F(EspInTest, TheOuterDscpStaysOutside) {
    TestPacket& p = outer(sealed(*peer0, 1, sized(60)), 0, {.tos = 0xb8});
    run(stage, {&p});
    expect_kept(p);
    EXPECT_EQ(p.bytes(), sized(60));
}
TEST_F(EspInTest, AnInnerPacketTooShortForAFieldIsLeftAlone) {
    TestPacket& p = outer(sealed(*peer0, 1, {0x45, 0x02}), 0, {.tos = 3});
    run(stage, {&p});
    EXPECT_EQ(p.bytes(), (Bytes{0x45, 0x02}));
}

struct EspInPeerTest : EspInTest {
    EspInPeerTest() { encapsulate(0); }
    // In UDP, from anywhere.
    TestPacket& in_udp(std::uint64_t seq, const char* src = "20.51.0.4", std::uint16_t port = 4500,
                       const char* dst = "203.0.113.1", Bytes esp = {}) {
        if (esp.empty()) {
            esp = sealed(*peer0, seq, sized(60));
        }
        TestPacket& p =
            parsed(test::udp_packet({.src = src, .dst = dst, .src_port = port, .dst_port = 4500, .payload = esp}),
                   Zone::microsoft_peering, kMsftPri);
        p.meta().protocol = 50;
        p.meta().l4_offset = static_cast<std::uint8_t>(p.meta().l4_offset + 8);
        return p;
    }
    void expect_peer(const std::string& address, std::uint16_t port) {
        const auto last = in0->peer().load();
        ASSERT_TRUE(last);
        const IpAddress wanted = IpAddress::parse(address).value();
        EXPECT_EQ(last->address, wanted.bytes);
        EXPECT_EQ(last->ipv6, !wanted.is_v4());
        EXPECT_EQ(be16{last->port_be}, to_be16(port));
    }
    void arrives(TestPacket& p, std::uint16_t kept = 1) {
        run(stage, {&p});
        ASSERT_EQ(batch.size(), kept);
    }
};

TEST_F(EspInPeerTest, IsWhereTheNewestPacketCameFrom) {
    EXPECT_FALSE(in0->peer().load());
    arrives(in_udp(1));
    expect_peer("20.51.0.4", 4500);
    arrives(in_udp(2, "20.51.0.4", 61234));
    expect_peer("20.51.0.4", 61234);
    arrives(in_udp(3, "192.0.2.77", 61234));
    expect_peer("192.0.2.77", 61234);
    EXPECT_FALSE(in1->peer().load());
}
TEST_F(EspInPeerTest, AReplayFromElsewhereMovesNothing) {
    const Bytes esp = sealed(*peer0, 5, sized(60));
    arrives(in_udp(5, "20.51.0.4", 4500, "203.0.113.1", esp));
    arrives(in_udp(5, "192.0.2.66", 4500, "203.0.113.1", esp), 0);
    expect_peer("20.51.0.4", 4500);
    EXPECT_EQ(drops(Drop::esp_replayed), 1u);
    TestPacket& original = in_udp(6);
    TestPacket& copy = in_udp(6, "192.0.2.66");  // in one burst, the copy behind
    run(stage, {&original, &copy});
    EXPECT_EQ(batch.size(), 1);
    expect_peer("20.51.0.4", 4500);
}
TEST_F(EspInPeerTest, AnOldPacketThatWasHeldBackMovesNothing) {
    arrives(in_udp(10));
    arrives(in_udp(9, "192.0.2.66"));
    expect_peer("20.51.0.4", 4500);
    TestPacket& old = in_udp(11, "192.0.2.66");
    TestPacket& newest = in_udp(12);
    TestPacket& late = in_udp(8, "192.0.2.66");
    run(stage, {&newest, &old, &late});
    EXPECT_EQ(batch.size(), 3);
    expect_peer("20.51.0.4", 4500);
}
TEST_F(EspInPeerTest, TheNewestOfABurstIsFollowedWhereverItStands) {
    TestPacket& before = in_udp(1);
    TestPacket& newest = in_udp(2, "20.51.0.4", 61234);
    run(stage, {&before, &newest});
    expect_peer("20.51.0.4", 61234);
}
TEST_F(EspInPeerTest, AForgeryMovesNothing) {
    arrives(in_udp(1));
    Bytes forged = sealed(*peer0, 2, sized(60));
    forged.back() ^= 1;
    arrives(in_udp(2, "192.0.2.66", 4500, "203.0.113.1", forged), 0);
    expect_peer("20.51.0.4", 4500);
    EXPECT_EQ(drops(Drop::esp_auth_failed), 1u);
}
TEST_F(EspInPeerTest, OurOwnEndDoesNotMove) {
    arrives(in_udp(1, "20.51.0.4", 4500, "203.0.113.5"), 0);
    EXPECT_EQ(drops(Drop::esp_wrong_peer), 1u);
    EXPECT_FALSE(seen(1));
}
TEST_F(EspInPeerTest, BareEspKeepsItsPeer) {
    encapsulate(0, 0, 0);
    TestPacket& p =
        parsed(test::ip_packet({.src = "192.0.2.66", .dst = "203.0.113.1"}, 50, sealed(*peer0, 1, sized(60))));
    arrives(p, 0);
    EXPECT_EQ(drops(Drop::esp_wrong_peer), 1u);
    arrives(arrival(2, sized(60)));
    EXPECT_FALSE(in0->peer().load()) << "there is nothing to follow";
}
TEST_F(EspInPeerTest, OverIpv6) {
    between(0, "2001:db8::1", "2001:db8::4");
    arrives(in_udp(1, "2001:db8::99", 61234, "2001:db8::1"));
    expect_peer("2001:db8::99", 61234);
    arrives(in_udp(2, "2001:db8::4", 4500, "2001:db8::2"), 0);
    EXPECT_EQ(drops(Drop::esp_wrong_peer), 1u);
    arrives(in_udp(3), 0);
    EXPECT_EQ(drops(Drop::esp_wrong_peer), 2u);
}
// A rekey that changes the encapsulation: what the peer still sends the old way passes.
TEST_F(EspInPeerTest, TheEncapsulationIsTheSasNotTheTunnels) {
    config.tunnels[0].encapsulation = {};
    make_outer_header(config.tunnels[0]);
    arrives(in_udp(1));
    expect_peer("20.51.0.4", 4500);
}

struct EspInOverIpv6Test : EspInTest {
    EspInOverIpv6Test() { between(0, "2001:db8::1", "2001:db8::4"); }
    TestPacket& from(const char* src, const char* dst) {
        return parsed(test::ip_packet({.src = src, .dst = dst}, 50, sealed(*peer0, 1, sized(60))));
    }
};
TEST_F(EspInOverIpv6Test, BothVersionsInside) {
    TestPacket& a = from("2001:db8::4", "2001:db8::1");
    run(stage, {&a});
    expect_kept(a);
    EXPECT_EQ(a.bytes(), sized(60));
    const Bytes inner = test::udp_packet({.src = "fd10:20::1", .dst = "fd10:10::10"});
    TestPacket& b = parsed(
        test::ip_packet({.src = "2001:db8::4", .dst = "2001:db8::1"}, 50, sealed(*peer0, 2, inner, kNextHeaderIpv6)));
    run(stage, {&b});
    expect_kept(b);
    EXPECT_EQ(b.bytes(), inner);
}
TEST_F(EspInOverIpv6Test, WrongPeers) {
    run(stage, {&from("2001:db8::5", "2001:db8::1"), &from("2001:db8::4", "2001:db8::2"),
                &from("2001:db9::4", "2001:db8::1"), &arrival(1, sized(60))});
    EXPECT_TRUE(batch.empty());
    EXPECT_EQ(drops(Drop::esp_wrong_peer), 4u);
    EXPECT_FALSE(seen(1));
}

// Packets of two SAs that take turns, numbers in disorder, one of them twice: each SA's window sees its own.
TEST_F(EspInTest, InterleavedSasAndAReplayAmongThem) {
    std::vector<TestPacket*> in;
    Packets wanted;
    for (const std::uint64_t seq : {7u, 3u, 7u, 9u, 1u, 3u}) {
        const bool fresh = in.size() != 4 && in.size() != 10;
        in.push_back(&arrival(seq, sized(60)));
        in.push_back(&arrival1(seq, sized(61)));
        if (fresh) {
            wanted.push_back(&in[in.size() - 2]->mbuf);
            wanted.push_back(&in.back()->mbuf);
        }
    }
    batch.clear();
    for (TestPacket* p : in) {
        batch.push(&p->mbuf);
    }
    stage.process(ctx, batch);
    EXPECT_EQ(all(batch), wanted);
    EXPECT_EQ(drops(Drop::esp_replayed), 4u);
    EXPECT_EQ((*counters.tunnel_rx)[0].packets.read(), 4u);
    EXPECT_EQ((*counters.tunnel_rx)[1].packets.read(), 4u);
    EXPECT_EQ(in0->replay().highest(), 9u);
    EXPECT_EQ(in1->usage(), (SaUsage{4, 4 * 61}));
}

}  // namespace
}  // namespace twinspan
