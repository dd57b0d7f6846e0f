// Peers whose address or port moves, as Linux tells it.
#include "tests/unit/control/sa/site.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <optional>

namespace twinspan {
namespace {

using test::FakeSa;
using test::Site;

constexpr be16 kPort = to_be16(4500);

struct Moving : testing::Test {
    Moving() {
        FakeSa& in = site.kernel.add(0x1001, false, 1, 1);
        in.encapsulation = {kPort, kPort, true};
        FakeSa& out = site.kernel.add(0x1002, true, 2, 1);
        out.encapsulation = {kPort, kPort, true};
        in_id = in.id;
        out_id = out.id;
        site.dump();
    }
    void map(const char* address, std::uint16_t port) {
        site.store->apply(netlink::SaMapped{in_id, IpAddress::parse(address).value(), to_be16(port)});
        site.store->commit();
    }
    std::optional<IpAddress> at(const char* address) { return IpAddress::parse(address).value(); }

    Site site;
    netlink::SaId in_id, out_id;
};

TEST_F(Moving, APeerIsFollowedToItsPortAndItsAddressAndBack) {
    EXPECT_FALSE(site.tunnel().moved_to);
    map("20.51.0.4", 61234);
    EXPECT_FALSE(site.tunnel().moved_to);
    EXPECT_EQ(site.tunnel().encapsulation.remote_port.host(), 61234);
    map("198.51.100.77", 1024);
    EXPECT_EQ(site.tunnel().moved_to, at("198.51.100.77"));
    EXPECT_EQ(site.tunnel().encapsulation.remote_port.host(), 1024);
    EXPECT_EQ(site.metrics[Metric::tunnel_moves], 2u);
    map("20.51.0.4", 4500);
    EXPECT_FALSE(site.tunnel().moved_to);
    EXPECT_EQ(site.tunnel().encapsulation.remote_port, kPort);
    map("20.51.0.4", 4500);
    EXPECT_EQ(site.metrics[Metric::tunnel_moves], 3u) << "it is there already";
}

// RFC 7296 section 2.23, by an authentic packet that is newer than all others.
TEST_F(Moving, APeerIsFollowedToWhereItsPacketsComeFrom) {
    PeerAddress from;
    std::memcpy(from.address.data(), IpAddress::parse("198.51.100.77").value().bytes.data(), 4);
    from.port_be = to_be16(61234).raw;
    InboundSa& in = *site.tunnel().in.at(0).sa;
    site.store->tick();
    EXPECT_FALSE(site.tunnel().moved_to);
    in.peer().note(from);
    site.store->tick();
    EXPECT_EQ(site.tunnel().moved_to, at("198.51.100.77"));
    EXPECT_EQ(site.tunnel().encapsulation.remote_port.host(), 61234);
    EXPECT_EQ(site.tunnel().encapsulation.local_port, kPort);
    EXPECT_EQ(site.publications, 2u);
    site.store->tick();
    EXPECT_EQ(site.metrics[Metric::tunnel_moves], 1u);
    // A new SA from the same place moves nothing; a packet of the old one that was late neither.
    FakeSa& next = site.kernel.add(0x2001, false, 3, 2);
    next.encapsulation = {kPort, kPort, true};
    site.store->apply(site.kernel.event(next));
    site.store->commit();
    site.tunnel().in.at(1).sa->peer().note(from);
    site.store->tick();
    EXPECT_EQ(site.metrics[Metric::tunnel_moves], 1u);
    std::memcpy(from.address.data(), IpAddress::parse("20.51.0.4").value().bytes.data(), 4);
    from.port_be = kPort.raw;
    site.tunnel().in.at(1).sa->peer().note(from);
    site.store->tick();
    EXPECT_FALSE(site.tunnel().moved_to);
    EXPECT_EQ(site.metrics[Metric::tunnel_moves], 2u);
}

TEST_F(Moving, BareEspIsNotMovedByAPacket) {
    site.kernel.sas.clear();
    site.kernel.add(0x3001, false, 5, 1);
    site.kernel.add(0x3002, true, 6, 1);
    site.dump();
    in_id.spi = 0x3001;
    map("198.51.100.77", 1024);
    EXPECT_FALSE(site.tunnel().moved_to);
    EXPECT_EQ(site.metrics[Metric::tunnel_moves], 0u);
}

TEST_F(Moving, NoPeerMovesToWhereWeAre) {
    site.world.config.legs[0].addresses4 = {{IpAddress::parse("198.51.100.77").value().v4(), 30}};
    map("198.51.100.77", 4500);
    EXPECT_FALSE(site.tunnel().moved_to);
    EXPECT_EQ(site.metrics[Metric::tunnel_moves_refused], 1u);
}

TEST_F(Moving, NoPeerMovesUnderEncryptOrOutsideOfAccept) {
    site.world.config.encrypt4 = {{IpAddress::parse("10.20.0.0").value().v4(), 16}};
    site.world.config.legs[0].zone = Zone::microsoft_peering;
    site.world.config.accept = {{Zone::microsoft_peering, {{IpAddress::parse("20.51.0.0").value().v4(), 16}}, {}}};
    map("10.20.0.1", 4500);
    map("198.51.100.77", 4500);
    EXPECT_FALSE(site.tunnel().moved_to);
    EXPECT_EQ(site.metrics[Metric::tunnel_moves_refused], 2u);
    map("20.51.9.9", 4500);
    EXPECT_EQ(site.tunnel().moved_to, at("20.51.9.9"));
}

// As charon does it: both SAs are deleted and added again with other ends, or updated.
TEST_F(Moving, WhatTheKeyDaemonSaysMovesTheTunnel) {
    for (const netlink::SaId& id : {in_id, out_id}) {
        site.remove(id);
    }
    FakeSa in = site.kernel.add(0x1001, false, 1, 2);
    FakeSa out = site.kernel.add(0x1002, true, 2, 2);
    site.kernel.sas.clear();
    in.source = out.id.destination = *at("198.51.100.77");
    for (const FakeSa& sa : {in, out}) {
        site.kernel.sas[sa.id] = sa;
        site.store->apply(site.kernel.event(sa));
    }
    site.store->commit();
    ASSERT_TRUE(site.tunnel().complete());
    EXPECT_EQ(site.tunnel().moved_to, at("198.51.100.77"));
    site.kernel.sas[out.id].encapsulation = {kPort, to_be16(61234), true};
    site.store->apply(site.kernel.event(site.kernel.sas[out.id]));  // XFRM_MSG_UPDSA
    site.store->commit();
    EXPECT_EQ(site.tunnel().encapsulation.remote_port.host(), 61234);
}

// charon rekeys to the address that it knew before, and the peer is elsewhere still.
TEST_F(Moving, ARekeyThatRepeatsTheOldPlaceDoesNotLoseTheNewOne) {
    map("198.51.100.77", 61234);
    FakeSa& next = site.kernel.add(0x2002, true, 4, 3);
    next.encapsulation = {kPort, kPort, true};
    site.store->apply(site.kernel.event(next));
    site.remove(out_id);
    EXPECT_EQ(site.tunnel().out->spi(), 0x2002u);
    EXPECT_EQ(site.tunnel().moved_to, at("198.51.100.77"));
    EXPECT_EQ(site.tunnel().encapsulation.remote_port.host(), 61234);
    FakeSa& moved = site.kernel.sas[next.id];
    moved.encapsulation = {kPort, to_be16(5000), true};
    site.store->apply(site.kernel.event(moved));
    site.store->commit();
    EXPECT_FALSE(site.tunnel().moved_to) << "what charon says anew counts";
    EXPECT_EQ(site.tunnel().encapsulation.remote_port.host(), 5000);
}

TEST_F(Moving, AMigrationAsksForADump) {
    EXPECT_FALSE(site.store->wants_resync());
    site.store->apply(netlink::SasMigrated{});
    site.store->commit();
    EXPECT_TRUE(site.store->wants_resync());
}

}  // namespace
}  // namespace twinspan
