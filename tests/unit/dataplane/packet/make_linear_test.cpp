#include "dataplane/packet/make_linear.hpp"

#include "tests/support/stage_test.hpp"

namespace twinspan {
namespace {

using test::Bytes;
using test::ExactPacket;

struct MakeLinear : test::StageTest {
    // A chain of buffers over `bytes`, each of at most `segment`.
    rte_mbuf& chain(const Bytes& bytes, std::size_t segment) {
        rte_mbuf* head = nullptr;
        rte_mbuf* last = nullptr;
        for (std::size_t at = 0; at < bytes.size(); at += segment) {
            const std::size_t n = std::min(segment, bytes.size() - at);
            rte_mbuf& m = segments.emplace_back(std::span{bytes}.subspan(at, n)).mbuf;
            (head == nullptr ? head : last->next) = &m;
            last = &m;
        }
        head->pkt_len = static_cast<std::uint32_t>(bytes.size());
        head->nb_segs = static_cast<std::uint16_t>((bytes.size() + segment - 1) / segment);
        return *head;
    }
    void linear(std::initializer_list<rte_mbuf*> packets) {
        batch.clear();
        std::ranges::for_each(packets, [this](rte_mbuf* m) { batch.push(m); });
        make_linear(ctx, batch);
    }
    std::deque<ExactPacket> segments;
};

TEST_F(MakeLinear, AChainIsCopiedInOrderAndOthersStay) {
    rte_mbuf& single = chain(test::filler(100), 100);
    rte_mbuf& long_one = chain(test::filler(9018), 2048);
    long_one.port = 3;
    long_one.ol_flags = RTE_MBUF_F_RX_VLAN_STRIPPED;
    long_one.vlan_tci = 300;
    linear({&single, &long_one, &single});
    ASSERT_EQ(made.size(), 1u);
    rte_mbuf& copy = made[0].mbuf;
    EXPECT_EQ(all(batch), (Packets{&single, &copy, &single}));
    EXPECT_EQ(made[0].bytes(), test::filler(9018));
    EXPECT_EQ(copy.nb_segs, 1);
    EXPECT_EQ(copy.pkt_len, 9018u);
    EXPECT_EQ(copy.port, 3);
    EXPECT_EQ(copy.ol_flags, RTE_MBUF_F_RX_VLAN_STRIPPED);
    EXPECT_EQ(copy.vlan_tci, 300);
    EXPECT_EQ(all(ctx.dropped), Packets{&long_one}) << "to be freed";
    EXPECT_EQ(all_drops(), 0u) << "but not lost";
}

TEST_F(MakeLinear, WhatIsTooLongOrHasNoBufferIsDroppedByName) {
    rte_mbuf& fits = chain(test::filler(kLargePacket), 4000);
    rte_mbuf& too_long = chain(test::filler(kLargePacket + 1), 4000);
    linear({&too_long, &fits});
    EXPECT_EQ(batch.size(), 1);
    EXPECT_EQ(drops(Drop::too_long), 1u);
    buffers_left = 0;
    linear({&fits});
    EXPECT_TRUE(batch.empty());
    EXPECT_EQ(drops(Drop::no_mbuf), 1u);
    EXPECT_EQ(all_drops(), 2u);
}

}  // namespace
}  // namespace twinspan
