// What tests of stages share: a small world, packets as Parse leaves them, and where a packet ended.
#pragma once

#include "tests/support/small_world.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace twinspan::test {

class StageTest : public testing::Test, public SmallWorld {
protected:
    // As Parse leaves a packet of the LAN host: data at the IP header, the Ethernet header before it.
    TestPacket& parsed(const Bytes& ip_packet, Zone zone = Zone::lan, std::uint16_t leg = kLan) {
        TestPacket& p = from_lan(ip_packet);
        rte_pktmbuf_adj(&p.mbuf, sizeof(EthernetHeader));
        fill_meta(p.mbuf, zone);
        p.meta().rx_leg = leg;
        p.meta().l2_length = sizeof(EthernetHeader);
        return p;
    }
    void clear_lists() {
        ctx.dropped.clear();
        ctx.punted.clear();
        ctx.generated.clear();
        ctx.handed.clear();
        ctx.oversize.clear();
        ctx.fragments.clear();
        for (auto& list : ctx.transmit) {
            list.clear();
        }
    }
    template <class List>
    static std::vector<const rte_mbuf*> all(List& list) {
        return {list.begin(), list.end()};
    }
    using Packets = std::vector<const rte_mbuf*>;

    // The only packet dropped so far, for this reason.
    void expect_dropped(const TestPacket& p, Drop reason) {
        EXPECT_EQ(all(ctx.dropped), Packets{&p.mbuf});
        EXPECT_EQ(drops(reason), 1u) << name_of(reason);
        EXPECT_EQ(all_drops(), 1u);
    }
    void expect_kept(const TestPacket& p) {
        EXPECT_EQ(all(batch), Packets{&p.mbuf});
        EXPECT_TRUE(ctx.dropped.empty());
        EXPECT_EQ(all_drops(), 0u);
    }
};

}  // namespace twinspan::test
