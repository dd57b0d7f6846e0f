#include "dataplane/packet/fragment_ipv4.hpp"

#include "tests/support/checksum.hpp"
#include "tests/support/stage_test.hpp"

namespace twinspan {
namespace {

using test::Bytes;
using test::PacketSpec;
using test::TestPacket;

struct FragmentIpv4 : test::StageTest {
    Verdict cut(TestPacket& p, std::uint16_t mtu) {
        pieces.clear();
        return fragment_ipv4(p.mbuf, mtu, ctx.buffers, pieces);
    }
    Bytes piece(std::uint16_t i) const {
        const auto* data = rte_pktmbuf_mtod(pieces[i], const std::uint8_t*);
        return {data, data + pieces[i]->data_len};
    }
    static unsigned field(const Bytes& packet) { return static_cast<unsigned>(packet[6] << 8 | packet[7]); }
    static std::size_t header(const Bytes& packet) { return (packet[0] & 15u) * 4u; }

    // The pieces put together by their offsets, and what a receiver checks of each.
    Bytes joined(const Bytes& original, std::uint16_t mtu) const {
        Bytes payload;
        const unsigned first = field(original) & 0x1fff;
        for (std::uint16_t i = 0; i < pieces.size(); ++i) {
            const Bytes p = piece(i);
            const bool last = i + 1 == pieces.size();
            EXPECT_LE(p.size(), mtu);
            EXPECT_EQ(p[2] << 8 | p[3], p.size());
            EXPECT_TRUE(test::internet_checksum(std::span{p}.first(header(p))) == 0) << i;
            EXPECT_EQ((field(p) & 0x1fff) * 8u, first * 8u + payload.size()) << i;
            EXPECT_EQ((field(p) & 0x2000) != 0, !last || (field(original) & 0x2000) != 0) << i;
            EXPECT_EQ(field(p) & 0xc000, 0u);
            EXPECT_TRUE(last || (p.size() - header(p)) % 8 == 0);
            EXPECT_TRUE(std::equal(p.begin() + 4, p.begin() + 6, original.begin() + 4)) << "the ID is kept";
            EXPECT_TRUE(std::equal(p.begin() + 8, p.begin() + 10, original.begin() + 8)) << "TTL and protocol";
            EXPECT_TRUE(std::equal(p.begin() + 12, p.begin() + 20, original.begin() + 12)) << "addresses";
            EXPECT_EQ(p[1], original[1]) << "TOS";
            payload.insert(payload.end(), p.begin() + static_cast<std::ptrdiff_t>(header(p)), p.end());
            const PacketMeta& pm = meta(*pieces[i]);
            EXPECT_EQ(pm.l3_length, p.size());
            EXPECT_EQ(pm.l4_offset, header(p));
            EXPECT_EQ((pm.flags & meta_flag::kLaterFragment) != 0, (field(p) & 0x1fff) != 0);
            EXPECT_NE(pm.flags & meta_flag::kFragment, 0);
            EXPECT_EQ(pm.egress, 7);
            EXPECT_EQ(pieces[i]->pkt_len, p.size());
        }
        return payload;
    }
    TestPacket& ready(const Bytes& packet) {
        TestPacket& p = parsed(packet);
        p.meta().egress = 7;
        return p;
    }
    PacketList<kMostPieces> pieces;
};

TEST_F(FragmentIpv4, EveryLengthAtSeveralMtus) {
    for (const std::uint16_t mtu : std::to_array<std::uint16_t>({68, 576, 1346, 1399, 1400, 1446, 1500})) {
        for (std::size_t bytes = 1; bytes < 1900; bytes += bytes < 60 || bytes > 1300 ? 1 : 37) {
            const Bytes original = test::ip_packet({.tos = 0xb8, .id = 0xbeef}, 99, test::filler(bytes));
            if (original.size() <= mtu) {
                continue;
            }
            TestPacket& p = ready(original);
            ASSERT_TRUE(cut(p, mtu).kept()) << bytes << " " << mtu;
            ASSERT_EQ(pieces[0], &p.mbuf) << "the first piece stays where it is";
            ASSERT_EQ(joined(original, mtu), test::filler(bytes));
            const std::size_t room = (mtu - 20u) & ~7u;
            const std::size_t tail = mtu - 20u;  // the last piece need not end on a unit
            ASSERT_EQ(pieces.size(), 1 + (bytes - tail + room - 1) / room) << "no more pieces than are needed";
            made.clear();
        }
    }
}

TEST_F(FragmentIpv4, AFragmentIsCutAgain) {
    for (const std::uint16_t flags : std::to_array<std::uint16_t>({0x2000 | 100, 0x2000, 100})) {
        const Bytes original = test::ip_packet({.fragment = flags}, 17, test::filler(1480));
        TestPacket& p = ready(original);
        ASSERT_TRUE(cut(p, 600).kept());
        EXPECT_EQ(pieces.size(), 3u);
        EXPECT_EQ(joined(original, 600), test::filler(1480));
    }
}

// RFC 791 section 3.1: loose and strict source route (131, 137) and security (130) are copied, record route (7) and
// timestamp (68) are not.
TEST_F(FragmentIpv4, OptionsAreCopiedAsTheirFlagSays) {
    const Bytes options{7, 7, 4, 0, 0, 0, 0, 1, 131, 7, 4, 10, 0, 0, 9, 68, 8, 5, 0, 1, 2, 3, 4, 0};
    const Bytes original = test::ip_packet({.ip_options = options}, 17, test::filler(1000));
    TestPacket& p = ready(original);
    ASSERT_TRUE(cut(p, 500).kept());
    EXPECT_EQ(joined(original, 500), test::filler(1000));
    const Bytes first = piece(0);
    EXPECT_EQ(Bytes(first.begin() + 20, first.begin() + 44), options) << "all of them in the first";
    for (std::uint16_t i = 1; i < pieces.size(); ++i) {
        const Bytes later = piece(i);
        ASSERT_EQ(header(later), 28u);
        EXPECT_EQ(Bytes(later.begin() + 20, later.begin() + 28), (Bytes{131, 7, 4, 10, 0, 0, 9, 0}));
    }
}

TEST_F(FragmentIpv4, OptionsThatLieAreNotCopied) {
    for (const Bytes& options : {Bytes{131, 40, 4, 0}, Bytes{131, 1, 4, 0}, Bytes{131, 0, 0, 0}, Bytes{1, 1, 1, 131}}) {
        const Bytes original = test::ip_packet({.ip_options = options}, 17, test::filler(1000));
        TestPacket& p = ready(original);
        ASSERT_TRUE(cut(p, 500).kept());
        EXPECT_EQ(joined(original, 500), test::filler(1000));
        EXPECT_EQ(header(piece(1)), 20u);
    }
}

TEST_F(FragmentIpv4, RefusesWhatCannotBeCut) {
    const Bytes original = test::ip_packet({}, 17, test::filler(1800));
    TestPacket& p = ready(original);
    EXPECT_EQ(cut(p, 27).reason(), Drop::too_big);
    EXPECT_EQ(cut(p, 19).reason(), Drop::too_big) << "not even its header";
    EXPECT_EQ(cut(p, 28 + 16).reason(), Drop::too_big) << "75 pieces";
    EXPECT_TRUE(made.empty());
    buffers_left = 1;
    EXPECT_EQ(cut(p, 600).reason(), Drop::no_mbuf) << "it needs three";
    EXPECT_TRUE(pieces.empty());
    EXPECT_EQ(p.bytes(), original) << "untouched";
    buffers_left = 3;
    EXPECT_TRUE(cut(p, 600).kept());
    TestPacket& beyond = ready(test::ip_packet({.fragment = 0x1fff - 100}, 17, test::filler(1800)));
    EXPECT_EQ(cut(beyond, 600).reason(), Drop::malformed_frame);
}

TEST_F(FragmentIpv4, NoPieceIsLongerThanABuffer) {
    ctx.buffers.room = 300;
    const Bytes original = test::ip_packet({}, 17, test::filler(1800));
    TestPacket& p = ready(original);
    ASSERT_TRUE(cut(p, 1500).kept());
    EXPECT_EQ(joined(original, 300), test::filler(1800));
}

}  // namespace
}  // namespace twinspan
