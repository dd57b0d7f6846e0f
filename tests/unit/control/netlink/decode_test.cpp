// Each decoder on messages built by hand: what they mean, and every way to cut or distort them.
#include "control/netlink/decode.hpp"

#include "tests/unit/control/netlink/message_builder.hpp"

#include <gtest/gtest.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

namespace twinspan::netlink {
namespace {

using test::ip;
using test::MessageBuilder;
using test::prefix;

constexpr MacAddress kMac{0x02, 0, 0, 0, 0, 0x17};

rtmsg route_head(std::uint8_t family, std::uint8_t length, std::uint8_t type = RTN_UNICAST) {
    rtmsg fixed{};
    fixed.rtm_family = family;
    fixed.rtm_dst_len = length;
    fixed.rtm_table = RT_TABLE_MAIN;
    fixed.rtm_protocol = RTPROT_BGP;
    fixed.rtm_type = type;
    return fixed;
}

std::vector<std::byte> hop(int ifindex, std::uint8_t hops, unsigned char flags, const IpAddress* gateway) {
    rtnexthop head{};
    head.rtnh_ifindex = ifindex;
    head.rtnh_hops = hops;
    head.rtnh_flags = flags;
    const std::size_t size = gateway == nullptr ? 0 : gateway->is_v4() ? 4 : 16;
    head.rtnh_len = static_cast<std::uint16_t>(sizeof head + (size == 0 ? 0 : sizeof(nlattr) + size));
    std::vector<std::byte> out(head.rtnh_len);
    std::memcpy(out.data(), &head, sizeof head);
    if (size != 0) {
        const nlattr attribute{static_cast<std::uint16_t>(sizeof(nlattr) + size), RTA_GATEWAY};
        std::memcpy(out.data() + sizeof head, &attribute, sizeof attribute);
        std::memcpy(out.data() + sizeof head + sizeof attribute, gateway->bytes.data(), size);
    }
    return out;
}

std::vector<std::byte> joined(std::vector<std::byte> a, const std::vector<std::byte>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

MessageBuilder multipath_route() {
    const IpAddress primary = ip("172.16.0.2");
    const IpAddress secondary = ip("172.16.0.6");
    return MessageBuilder(RTM_NEWROUTE, route_head(AF_INET, 16), NLM_F_REPLACE)
        .attr(RTA_DST, ip("10.20.0.0"))
        .attr(RTA_TABLE, std::uint32_t{254})
        .attr(RTA_PRIORITY, std::uint32_t{20})
        .attr(RTA_MULTIPATH, joined(hop(7, 1, RTNH_F_LINKDOWN, &secondary), hop(6, 0, 0, &primary)));
}

std::vector<std::vector<std::byte>> one_of_each() {
    ifinfomsg link{};
    link.ifi_index = 6;
    link.ifi_flags = IFF_UP | IFF_RUNNING;
    ifaddrmsg address{};
    address.ifa_family = AF_INET;
    address.ifa_prefixlen = 30;
    address.ifa_index = 6;
    ndmsg neighbour{};
    neighbour.ndm_family = AF_INET6;
    neighbour.ndm_ifindex = 6;
    neighbour.ndm_state = NUD_STALE;
    nhmsg nexthop{};
    const nexthop_grp members[] = {{10, 0, 0, 0}, {11, 2, 0, 0}};
    nhmsg single{};
    single.nh_family = AF_INET;
    return {
        MessageBuilder(RTM_NEWLINK, link)
            .attr(IFLA_IFNAME, std::string("prv-pri"))
            .attr(IFLA_MTU, std::uint32_t{1500})
            .attr(IFLA_ADDRESS, kMac)
            .bytes(),
        MessageBuilder(RTM_NEWADDR, address)
            .attr(IFA_ADDRESS, ip("172.16.0.1"))
            .attr(IFA_LOCAL, ip("172.16.0.1"))
            .attr(IFA_FLAGS, std::uint32_t{IFA_F_PERMANENT})
            .bytes(),
        MessageBuilder(RTM_NEWNEIGH, neighbour).attr(NDA_DST, ip("fe80::2")).attr(NDA_LLADDR, kMac).bytes(),
        multipath_route().bytes(),
        MessageBuilder(RTM_NEWNEXTHOP, nexthop)
            .attr(NHA_ID, std::uint32_t{100})
            .raw(NHA_GROUP, members, sizeof members)
            .attr(NHA_GROUP_TYPE, std::uint16_t{NEXTHOP_GRP_TYPE_RES})
            .bytes(),
        MessageBuilder(RTM_NEWNEXTHOP, single)
            .attr(NHA_ID, std::uint32_t{10})
            .attr(NHA_OIF, std::uint32_t{6})
            .attr(NHA_GATEWAY, ip("172.16.0.2"))
            .bytes(),
    };
}

TEST(DecodeLink, TellsNameFlagsMacAndMtu) {
    const Result<LinkEvent> link = decode_link(one_of_each()[0]);
    ASSERT_TRUE(link) << link.error().what;
    EXPECT_EQ(*link, (LinkEvent{6, "prv-pri", true, true, kMac, 1500, false}));
}

TEST(DecodeLink, RefusesABridgePortsReportAndANamelessLink) {
    ifinfomsg fixed{};
    fixed.ifi_family = AF_BRIDGE;
    fixed.ifi_index = 6;
    const auto bridge = MessageBuilder(RTM_DELLINK, fixed).attr(IFLA_IFNAME, std::string("lan0")).bytes();
    EXPECT_FALSE(decode(bridge)->has_value());
    fixed.ifi_family = AF_UNSPEC;
    EXPECT_FALSE(decode_link(MessageBuilder(RTM_NEWLINK, fixed).bytes()));
    EXPECT_FALSE(decode_link(MessageBuilder(RTM_NEWLINK, fixed).attr(IFLA_IFNAME, std::string(16, 'x')).bytes()));
}

TEST(DecodeAddress, PrefersLocalOverPeerAndReadsWideFlags) {
    ifaddrmsg fixed{};
    fixed.ifa_family = AF_INET;
    fixed.ifa_prefixlen = 32;
    fixed.ifa_index = 9;
    const auto point_to_point =
        MessageBuilder(RTM_DELADDR, fixed).attr(IFA_ADDRESS, ip("192.0.2.2")).attr(IFA_LOCAL, ip("192.0.2.1")).bytes();
    EXPECT_EQ(decode_address(point_to_point).value(), (AddressEvent{9, prefix("192.0.2.1/32"), false, true}));

    fixed.ifa_family = AF_INET6;
    fixed.ifa_prefixlen = 126;
    const auto tentative = MessageBuilder(RTM_NEWADDR, fixed)
                               .attr(IFA_ADDRESS, ip("2001:db8::1"))
                               .attr(IFA_FLAGS, std::uint32_t{IFA_F_TENTATIVE | IFA_F_NOPREFIXROUTE})
                               .bytes();
    EXPECT_EQ(decode_address(tentative).value(), (AddressEvent{9, prefix("2001:db8::1/126"), true, false}));
}

TEST(DecodeNeighbour, IsUsableByStateAndMac) {
    struct Row {
        std::uint16_t nud;
        bool mac;
        NeighbourState state;
        bool usable;
    };
    const Row rows[] = {
        {NUD_REACHABLE, true, NeighbourState::reachable, true},
        {NUD_STALE, true, NeighbourState::stale, true},
        {NUD_DELAY, true, NeighbourState::delay, true},
        {NUD_PROBE, true, NeighbourState::probe, true},
        {NUD_PERMANENT, true, NeighbourState::permanent, true},
        {NUD_NOARP, true, NeighbourState::noarp, true},
        {NUD_NOARP, false, NeighbourState::noarp, false},
        {NUD_INCOMPLETE, false, NeighbourState::incomplete, false},
        {NUD_FAILED, true, NeighbourState::failed, false},
        {NUD_NONE, false, NeighbourState::none, false},
    };
    for (const Row& row : rows) {
        ndmsg fixed{};
        fixed.ndm_family = AF_INET;
        fixed.ndm_ifindex = 4;
        fixed.ndm_state = row.nud;
        MessageBuilder message(RTM_NEWNEIGH, fixed);
        message.attr(NDA_DST, ip("172.16.0.2"));
        if (row.mac) {
            message.attr(NDA_LLADDR, kMac);
        }
        EXPECT_EQ(decode_neighbour(message.bytes()).value(),
                  (NeighbourEvent{4, ip("172.16.0.2"), row.mac ? kMac : MacAddress{}, row.state, row.usable, false}))
            << row.nud;
    }
}

TEST(DecodeNeighbour, ProxyAndBridgeEntriesAreNone) {
    ndmsg fixed{};
    fixed.ndm_family = AF_INET;
    fixed.ndm_ifindex = 4;
    fixed.ndm_flags = NTF_PROXY;
    EXPECT_FALSE(decode(MessageBuilder(RTM_NEWNEIGH, fixed).attr(NDA_DST, ip("172.16.0.2")).bytes())->has_value());
    fixed.ndm_family = AF_BRIDGE;
    fixed.ndm_flags = 0;
    EXPECT_FALSE(decode(MessageBuilder(RTM_NEWNEIGH, fixed).attr(NDA_LLADDR, kMac).bytes())->has_value());
}

TEST(DecodeRoute, MultipathWithWeightsAndFlags) {
    const Result<RouteEvent> route = decode_route(multipath_route().bytes());
    ASSERT_TRUE(route) << route.error().what;
    RouteEvent want;
    want.prefix = prefix("10.20.0.0/16");
    want.metric = 20;
    want.protocol = RTPROT_BGP;
    want.placement = RoutePlacement::replace;
    want.nexthops = {{ip("172.16.0.2"), 6, 1, false, false}, {ip("172.16.0.6"), 7, 2, true, false}};
    EXPECT_EQ(*route, want);
}

TEST(DecodeRoute, SingleHopByGatewayViaOrLink) {
    const auto base = [](std::uint8_t family) {
        return MessageBuilder(RTM_DELROUTE, route_head(family, 0)).attr(RTA_OIF, std::uint32_t{6});
    };
    EXPECT_EQ(decode_route(base(AF_INET).bytes())->nexthops,
              (std::vector<NextHop>{{std::nullopt, 6, 1, false, false}}));
    EXPECT_EQ(decode_route(base(AF_INET6).attr(RTA_GATEWAY, ip("fe80::2")).bytes())->nexthops,
              (std::vector<NextHop>{{ip("fe80::2"), 6, 1, false, false}}));
    std::vector<std::byte> via(18);
    const std::uint16_t family = AF_INET6;
    std::memcpy(via.data(), &family, sizeof family);
    std::memcpy(via.data() + 2, ip("fe80::2").bytes.data(), 16);
    const Result<RouteEvent> route = decode_route(base(AF_INET).attr(RTA_VIA, via).bytes());
    ASSERT_TRUE(route) << route.error().what;
    EXPECT_TRUE(route->deleted);
    EXPECT_EQ(route->prefix, prefix("0.0.0.0/0"));
    EXPECT_EQ(route->nexthops, (std::vector<NextHop>{{ip("fe80::2"), 6, 1, false, false}}));
}

TEST(DecodeRoute, KindsThatDiscardHaveNoNextHop) {
    const std::pair<std::uint8_t, RouteType> kinds[] = {{RTN_BLACKHOLE, RouteType::blackhole},
                                                        {RTN_UNREACHABLE, RouteType::unreachable},
                                                        {RTN_PROHIBIT, RouteType::prohibit}};
    for (const auto& [rtn, type] : kinds) {
        const auto route = decode_route(MessageBuilder(RTM_NEWROUTE, route_head(AF_INET6, 0, rtn))
                                            .attr(RTA_OIF, std::uint32_t{1})
                                            .attr(RTA_TABLE, std::uint32_t{1000})
                                            .bytes());
        ASSERT_TRUE(route);
        EXPECT_EQ(route->type, type);
        EXPECT_EQ(route->table, 1000u);
        EXPECT_TRUE(route->nexthops.empty());
    }
}

TEST(DecodeRoute, RefusesHostBitsBadLengthsAndNextHopsThatOverrun) {
    EXPECT_FALSE(
        decode_route(MessageBuilder(RTM_NEWROUTE, route_head(AF_INET, 8)).attr(RTA_DST, ip("10.20.0.0")).bytes()));
    EXPECT_FALSE(decode_route(MessageBuilder(RTM_NEWROUTE, route_head(AF_INET, 33)).bytes()));
    EXPECT_FALSE(
        decode_route(MessageBuilder(RTM_NEWROUTE, route_head(AF_INET, 8)).attr(RTA_DST, ip("2001:db8::")).bytes()));
    EXPECT_FALSE(decode_route(MessageBuilder(RTM_NEWROUTE, route_head(AF_MPLS, 20)).bytes()));
    for (const std::uint16_t length : std::initializer_list<std::uint16_t>{0, 4, 7, 9, 24, 1000}) {
        std::vector<std::byte> hops = hop(6, 0, 0, nullptr);
        std::memcpy(hops.data(), &length, sizeof length);
        EXPECT_FALSE(
            decode_route(MessageBuilder(RTM_NEWROUTE, route_head(AF_INET, 0)).attr(RTA_MULTIPATH, hops).bytes()))
            << length;
    }
}

TEST(DecodeNexthop, GroupsAndSingles) {
    const auto messages = one_of_each();
    const Result<NexthopEvent> group = decode_nexthop(messages[4]);
    ASSERT_TRUE(group) << group.error().what;
    EXPECT_EQ(group->id, 100u);
    EXPECT_TRUE(group->resilient);
    EXPECT_EQ(group->members, (std::vector<NexthopMember>{{10, 1}, {11, 3}}));
    EXPECT_EQ(decode_nexthop(messages[5])->hop, (NextHop{ip("172.16.0.2"), 6, 1, false, false}));
}

// No cut may be read past, and none may be taken for the whole message's meaning unless it ends between attributes.
TEST(Decode, AnyCutIsAnErrorOrEndsBetweenAttributes) {
    for (const std::vector<std::byte>& whole : one_of_each()) {
        ASSERT_TRUE(decode(whole)->has_value());
        for (std::size_t size = 0; size < whole.size(); ++size) {
            const std::vector<std::byte> cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
            EXPECT_FALSE(decode(cut)) << "nlmsg_len says more than there is";
            if (size >= sizeof(nlmsghdr)) {
                std::vector<std::byte> shorter = cut;
                const auto length = static_cast<std::uint32_t>(size);
                std::memcpy(shorter.data(), &length, sizeof length);
                const auto event = decode(shorter);
                EXPECT_TRUE(!event || size % 4 == 0 || whole.size() - size < 4) << size;
            }
        }
    }
}

// Every attribute in turn gets every other length; a reader that trusts one reads beyond the buffer under ASan.
TEST(Decode, WrongAttributeLengthsNeverPass) {
    for (const std::vector<std::byte>& whole : one_of_each()) {
        const std::uint16_t type = [&] {
            std::uint16_t t = 0;
            std::memcpy(&t, whole.data() + 4, sizeof t);
            return t;
        }();
        const std::size_t fixed = type == RTM_NEWLINK ? 16 : type == RTM_NEWADDR || type == RTM_NEWNEXTHOP ? 8 : 12;
        for (std::size_t at = sizeof(nlmsghdr) + fixed; at < whole.size();) {
            std::uint16_t length = 0;
            std::memcpy(&length, whole.data() + at, sizeof length);
            for (std::uint16_t wrong = 0; wrong < 4; ++wrong) {
                std::vector<std::byte> bent = whole;
                std::memcpy(bent.data() + at, &wrong, sizeof wrong);
                EXPECT_FALSE(decode(bent)) << type << " at " << at << " length " << wrong;
            }
            for (std::uint32_t wrong = static_cast<std::uint32_t>(whole.size() - at) + 1; wrong < 0x10000;
                 wrong += 257) {
                std::vector<std::byte> bent = whole;
                const auto value = static_cast<std::uint16_t>(wrong);
                std::memcpy(bent.data() + at, &value, sizeof value);
                EXPECT_FALSE(decode(bent)) << type << " at " << at << " length " << wrong;
            }
            at += (length + 3u) / 4u * 4u;
        }
    }
}

TEST(Decode, FixedLengthAttributesAreHeldToTheirLength) {
    const rtmsg v4 = route_head(AF_INET, 8);
    for (const std::uint16_t type :
         std::initializer_list<std::uint16_t>{RTA_OIF, RTA_PRIORITY, RTA_TABLE, RTA_NH_ID, RTA_GATEWAY, RTA_DST}) {
        for (std::size_t size = 0; size <= 20; ++size) {
            const std::vector<std::byte> zeros(size);
            EXPECT_EQ(decode_route(MessageBuilder(RTM_NEWROUTE, v4).attr(type, zeros).bytes()).has_value(), size == 4)
                << type << " of " << size;
        }
    }
}

TEST(DecodeError, GivesThePositiveNumber) {
    struct {
        std::int32_t error;
        nlmsghdr request;
    } body{-105, {}};
    EXPECT_EQ(decode_error(MessageBuilder(NLMSG_ERROR, body).bytes()).value(), 105);
    body.error = 1;
    EXPECT_FALSE(decode_error(MessageBuilder(NLMSG_ERROR, body).bytes()));
}

}  // namespace
}  // namespace twinspan::netlink
