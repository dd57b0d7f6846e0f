#include "dataplane/stages/clamp_mss.hpp"

#include "dataplane/packet/pipeline.hpp"
#include "tests/support/stage_test.hpp"

namespace twinspan {
namespace {

using test::Bytes;
using test::PacketSpec;
using test::TestPacket;

static_assert(Stage<ClampMss>);

struct ClampMssTest : test::StageTest {
    // `options` is filled up to a multiple of four with ends of options.
    static Bytes syn(Bytes options, bool v6 = false, std::uint8_t flags = kTcpSyn, std::uint16_t source_port = 40000) {
        options.resize((options.size() + 3) / 4 * 4, 0);
        PacketSpec spec{
            .src_port = source_port, .dst_port = 443, .payload = {}, .tcp_flags = flags, .tcp_options = options};
        if (v6) {
            spec.src = "fd10:10::10";
            spec.dst = "fd10:20::1";
        }
        return test::tcp_packet(spec);
    }
    static Bytes mss(unsigned value) {
        return {2, 4, static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)};
    }
    static Bytes join(std::initializer_list<Bytes> parts) {
        Bytes out;
        for (const Bytes& part : parts) {
            out.insert(out.end(), part.begin(), part.end());
        }
        return out;
    }
    TestPacket& run_one(const Bytes& packet, std::uint16_t tunnel = 0) {
        TestPacket& p = parsed(packet);
        p.meta().tunnel = tunnel;
        run(stage, {&p});
        expect_kept(p);
        return p;
    }
    void expect_untouched(const Bytes& packet, const char* why) {
        SCOPED_TRACE(why);
        EXPECT_EQ(run_one(packet).bytes(), packet);
    }
    ClampMss stage;
};

TEST_F(ClampMssTest, EveryLayoutOfTheOption) {
    const Bytes nop{1};
    const Bytes sack_permitted{4, 2};
    const Bytes window_scale{3, 3, 7};
    const Bytes timestamps{8, 10, 1, 2, 3, 4, 5, 6, 7, 8};
    for (const Bytes& before :
         {Bytes{}, nop, join({nop, nop}), join({nop, nop, nop}), sack_permitted, window_scale, timestamps,
          join({window_scale, nop}), join({nop, timestamps}), join({window_scale, timestamps, window_scale})}) {
        for (const Bytes& after : {Bytes{}, nop, timestamps, Bytes{0, 2, 4, 0xff, 0xff}}) {
            for (const bool v6 : {false, true}) {
                const Bytes in = syn(join({before, mss(8960), after}), v6);
                const Bytes wanted = syn(join({before, mss(v6 ? 1386 : 1406), after}), v6);
                const Bytes got = run_one(in).bytes();
                EXPECT_EQ(got, wanted) << before.size() << " bytes before, " << after.size() << " behind";
                EXPECT_TRUE(test::checksums_right(got));
            }
        }
    }
}

// Sweeping the port sweeps the checksum, at an even and an odd offset; the old and the new value differ in both bytes.
TEST_F(ClampMssTest, KeepsEveryChecksumRight) {
    for (const Bytes& before : {Bytes{}, Bytes{1}}) {
        for (unsigned port = 0; port <= 0xffff; port += 3) {
            TestPacket p{syn(join({before, mss(0xfffe)}), false, kTcpSyn, static_cast<std::uint16_t>(port))};
            test::fill_meta(p.mbuf);
            p.meta().tunnel = 0;
            run(stage, {&p});
            ASSERT_EQ(p.bytes(), syn(join({before, mss(1406)}), false, kTcpSyn, static_cast<std::uint16_t>(port)))
                << port;
        }
    }
}

TEST_F(ClampMssTest, OnlyWhatIsAboveTheLimit) {
    expect_untouched(syn(mss(1405)), "below");
    expect_untouched(syn(mss(1406)), "at the limit");
    EXPECT_EQ(run_one(syn(mss(1407))).bytes(), syn(mss(1406)));
    expect_untouched(syn(mss(0)), "zero");
    expect_untouched(syn(mss(1386), true), "at the limit of IPv6");
    EXPECT_EQ(run_one(syn(mss(1387), true)).bytes(), syn(mss(1386), true));
}

TEST_F(ClampMssTest, TheTunnelsOwnLimit) {
    config.tunnels[1].mss4 = 1000;
    EXPECT_EQ(run_one(syn(mss(1300)), 1).bytes(), syn(mss(1000)));
    EXPECT_EQ(run_one(syn(mss(1300)), 0).bytes(), syn(mss(1300)));
}

TEST_F(ClampMssTest, SynAndSynAckOnly) {
    EXPECT_EQ(run_one(syn(mss(1460), false, kTcpSyn | kTcpAck)).bytes(), syn(mss(1406), false, kTcpSyn | kTcpAck));
    expect_untouched(syn(mss(1460), false, kTcpAck), "no SYN");
    expect_untouched(syn(mss(1460), false, kTcpRst), "RST");
}

TEST_F(ClampMssTest, OptionsThatLie) {
    expect_untouched(syn({}), "none");
    expect_untouched(syn({1, 1, 1, 1}), "no operations only");
    expect_untouched(syn({0, 2, 4, 0xff, 0xff}), "behind the end of options");
    expect_untouched(syn({2, 3, 0xff, 0xff}), "MSS too short");
    expect_untouched(syn({2, 5, 0xff, 0xff, 0xff}), "MSS too long");
    expect_untouched(syn({8, 0, 2, 4, 0xff, 0xff}), "length 0");
    expect_untouched(syn({8, 1, 2, 4, 0xff, 0xff}), "length 1");
    expect_untouched(syn({8, 40, 2, 4, 0xff, 0xff}), "beyond the header");
    expect_untouched(syn({1, 1, 1, 2}), "cut behind the kind");
    expect_untouched(syn({1, 1, 2, 4}), "cut before the value");
    expect_untouched(syn({1, 2, 4, 0xff}), "cut in the value");
}

TEST_F(ClampMssTest, TheHeaderEndsWhereThePacketEnds) {
    Bytes packet = syn({1, 1, 1, 1});
    packet[20 + 12] = 0xf0;  // claims 60 bytes of header; 24 are there
    TestPacket& p = parsed(packet);
    p.meta().tunnel = 0;
    // What lies behind the packet in its buffer is not of this packet.
    const Bytes behind = mss(9000);
    std::ranges::copy(behind, rte_pktmbuf_mtod_offset(&p.mbuf, std::uint8_t*, p.mbuf.data_len));
    run(stage, {&p});
    EXPECT_EQ(p.bytes(), packet);
    EXPECT_TRUE(
        std::equal(behind.begin(), behind.end(), rte_pktmbuf_mtod_offset(&p.mbuf, std::uint8_t*, p.mbuf.data_len)));
}

TEST_F(ClampMssTest, OptionsEndWithTheHeader) {
    Bytes packet = syn(mss(9000));
    packet[20 + 12] = 0x50;  // the option is payload now
    expect_untouched(packet, "no options");
    packet[20 + 12] = 0x00;
    expect_untouched(packet, "no header");
}

TEST_F(ClampMssTest, NotLaterFragmentsNorOtherProtocols) {
    PacketSpec later{.payload = {}, .fragment = 0x2001, .tcp_flags = kTcpSyn, .tcp_options = mss(9000)};
    expect_untouched(test::tcp_packet(later), "later fragment");
    Bytes tcp = syn(mss(9000));
    tcp.erase(tcp.begin(), tcp.begin() + 20);
    expect_untouched(test::ip_packet({}, 17, tcp), "UDP");
    PacketSpec first = later;
    first.fragment = 0x2000;
    const Bytes got = run_one(test::tcp_packet(first)).bytes();
    EXPECT_EQ(got[42] << 8 | got[43], 1406) << "the first fragment has the option";
}

}  // namespace
}  // namespace twinspan
