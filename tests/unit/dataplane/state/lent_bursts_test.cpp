// Bursts of ESP on loan, in one thread: how many a walk lends, and in which order they come back.
#include "dataplane/state/lent_bursts.hpp"

#include "tests/support/fragments.hpp"
#include "tests/support/graph_world.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace twinspan::test {
namespace {

struct LentBurstsTest : testing::Test, GraphWorld {
    LentBurstsTest() {
        encapsulate(1);
        config.tunnels[0].spread = config.tunnels[1].spread = config.has_spread = true;
        ctx.lent = &lent;
    }
    // ESP as far as anybody can tell without the key.
    Bytes esp(std::uint32_t spi) {
        Bytes bytes = filler(200);
        const be32 words[] = {to_be32(spi), to_be32(++sequence)};
        std::memcpy(bytes.data(), words, sizeof words);
        return bytes;
    }
    PacketSpec outer(std::size_t tunnel) {
        const Tunnel& t = config.tunnels[tunnel];
        return {.src = t.remote.text(),
                .dst = t.local.text(),
                .src_port = 4500,
                .dst_port = 4500,
                .id = static_cast<std::uint16_t>(sequence)};
    }
    Bytes bare() { return ip_packet(outer(0), +IpProtocol::esp, esp(0x2001)); }
    Bytes in_udp() {
        PacketSpec spec = outer(1);
        spec.payload = esp(0x2002);
        return udp_packet(spec);
    }
    void walk(const std::vector<Bytes>& packets) {
        std::vector<rte_mbuf*> burst;
        for (const Bytes& p : packets) {
            burst.push_back(&from_msee(p).mbuf);
        }
        from_wire(burst);
    }
    std::uint32_t sequence = 0;
    BurstOffers offers{64};
    LentBursts lent{&offers, 2};
};

// Bare and in UDP, whole and in fragments: each way leads to ESP by itself.
TEST_F(LentBurstsTest, AWalkFindsRoomForAllThatItLends) {
    std::size_t sent = 0;
    while (lent.has_room()) {
        std::vector<Bytes> packets{bare(), in_udp()};
        for (const Bytes& whole : {bare(), in_udp()}) {
            for (Bytes& part : fragments4(whole, 120)) {
                packets.push_back(std::move(part));
            }
        }
        walk(packets);
        sent += 4;
    }
    ASSERT_EQ(all_drops(), 0u);
    std::size_t back = 0;
    while (!lent.empty()) {
        lent.open_one(ctx);
        LentBurst* burst = lent.opened();
        ASSERT_NE(burst, nullptr);
        EXPECT_EQ(burst->batch.size(), 1);
        back += burst->batch.size();
        lent.release();
    }
    EXPECT_EQ(back, sent);
}

TEST_F(LentBurstsTest, TheOldestGoesOnFirstWhoeverOpensWhat) {
    walk({bare()});
    walk({bare(), bare()});
    LentBurst* first = offers.take();
    LentBurst* second = offers.take();
    ASSERT_TRUE(second != nullptr && second->take());
    second->open(ctx);
    EXPECT_EQ(lent.opened(), nullptr);
    EXPECT_TRUE(lent.open_one(ctx));
    EXPECT_FALSE(lent.open_one(ctx)) << "both are";
    EXPECT_EQ(lent.opened(), first);
    EXPECT_EQ(first->batch.size(), 1);
    lent.release();
    EXPECT_EQ(lent.opened(), second);
    EXPECT_EQ(second->batch.size(), 2);
    lent.release();
    EXPECT_TRUE(lent.empty());
}

// Its receiver was faster than any helper; and the same place may be on loan again under an offer of before.
TEST_F(LentBurstsTest, AnOldOfferIsNoneUntilItsPlaceIsLentAgain) {
    for (std::uint32_t place = 0; place < 2 * 2 + LentBursts::kMostPerWalk; ++place) {
        walk({bare()});
        ASSERT_TRUE(lent.open_one(ctx));
        ASSERT_NE(lent.opened(), nullptr);
        lent.release();
    }
    walk({bare()});
    EXPECT_TRUE(help_to_open(offers, ctx));
    EXPECT_FALSE(lent.open_one(ctx)) << "it is opened";
    ASSERT_NE(lent.opened(), nullptr);
    EXPECT_EQ(lent.opened()->batch.size(), 1);
    lent.release();
    EXPECT_FALSE(help_to_open(offers, ctx));
    EXPECT_TRUE(lent.empty());
}

// Once one is on loan, what follows may not overtake it.
TEST_F(LentBurstsTest, OthersQueueBehindWhatIsOnLoan) {
    config.tunnels[1].spread = false;
    walk({in_udp()});
    EXPECT_TRUE(lent.empty());
    walk({bare()});
    walk({in_udp()});
    for (unsigned i = 0; i < 2; ++i) {
        ASSERT_TRUE(lent.open_one(ctx));
        ASSERT_NE(lent.opened(), nullptr);
        lent.release();
    }
    EXPECT_TRUE(lent.empty());
}

}  // namespace
}  // namespace twinspan::test
