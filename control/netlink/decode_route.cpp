// Routes with one or several next hops, and nexthop objects.
#include "control/netlink/attributes.hpp"
#include "control/netlink/body.hpp"
#include "control/netlink/decode.hpp"

#include <linux/nexthop.h>
#include <linux/rtnetlink.h>

#include <algorithm>

namespace twinspan::netlink {

namespace {

RouteType route_type(std::uint8_t rtn) noexcept {
    switch (rtn) {
        case RTN_UNICAST:
            return RouteType::unicast;
        case RTN_LOCAL:
            return RouteType::local;
        case RTN_BROADCAST:
            return RouteType::broadcast;
        case RTN_ANYCAST:
            return RouteType::anycast;
        case RTN_MULTICAST:
            return RouteType::multicast;
        case RTN_BLACKHOLE:
            return RouteType::blackhole;
        case RTN_UNREACHABLE:
            return RouteType::unreachable;
        case RTN_PROHIBIT:
            return RouteType::prohibit;
        default:
            return RouteType::other;
    }
}

// Linux says "lo" for these in IPv6 and nothing in IPv4; neither means anything.
bool discards(RouteType type) noexcept {
    return type == RouteType::blackhole || type == RouteType::unreachable || type == RouteType::prohibit;
}

// RTA_VIA: a gateway of another family than the destination, with the family in front (struct rtvia).
Result<void> read_via(const Attribute& attribute, std::optional<IpAddress>& gateway) {
    if (attribute.value.size() < sizeof(std::uint16_t)) {
        return malformed("RTA_VIA of " + std::to_string(attribute.value.size()) + " bytes");
    }
    const auto af = load<std::uint16_t>(attribute.value);
    const std::optional<IpFamily> family = af > 0xff ? std::nullopt : ip_family(static_cast<std::uint8_t>(af));
    if (!family) {
        return malformed("RTA_VIA of family " + std::to_string(af));
    }
    return read_address({attribute.type, attribute.value.subspan(sizeof(std::uint16_t))}, *family, gateway);
}

void set_flags(NextHop& hop, unsigned rtnh_flags) noexcept {
    hop.linkdown = (rtnh_flags & RTNH_F_LINKDOWN) != 0;
    hop.dead = (rtnh_flags & RTNH_F_DEAD) != 0;
}

// Kernel weights go to 65536 in new kernels (rtnh_hops counts from 0 in 8 bits, nexthop_grp in 16).
std::uint16_t weight_of(std::uint32_t counted_from_zero) noexcept {
    return static_cast<std::uint16_t>(std::min<std::uint32_t>(counted_from_zero + 1, 0xffff));
}

// RTA_MULTIPATH: an array of struct rtnexthop, each followed by its own attributes.
Result<void> read_multipath(Bytes bytes, IpFamily family, RouteEvent& route) {
    while (!bytes.empty()) {
        if (bytes.size() < sizeof(rtnexthop)) {
            return malformed(std::to_string(bytes.size()) + " bytes after the last next hop");
        }
        const auto head = load<rtnexthop>(bytes);
        if (head.rtnh_len < sizeof(rtnexthop) || head.rtnh_len > bytes.size()) {
            return malformed("next hop says " + std::to_string(head.rtnh_len) + " bytes, " +
                             std::to_string(bytes.size()) + " are left");
        }
        if (head.rtnh_ifindex < 0) {
            return malformed("next hop on interface " + std::to_string(head.rtnh_ifindex));
        }
        NextHop hop;
        hop.ifindex = static_cast<IfIndex>(head.rtnh_ifindex);
        hop.weight = weight_of(head.rtnh_hops);
        set_flags(hop, head.rtnh_flags);
        const Result<void> read =
            for_each_attribute(bytes.subspan(sizeof(rtnexthop), head.rtnh_len - sizeof(rtnexthop)),
                               [&](const Attribute& a) -> Result<void> {
            switch (a.type) {
                case RTA_GATEWAY:
                    return read_address(a, family, hop.gateway);
                case RTA_VIA:
                    return read_via(a, hop.gateway);
                case RTA_ENCAP:
                    route.encapsulated = true;
                    return {};
                default:
                    return {};
            }
        });
        if (!read) {
            return read;
        }
        route.nexthops.push_back(hop);
        bytes = bytes.subspan(std::min(padded(head.rtnh_len), bytes.size()));
    }
    return {};
}

RoutePlacement placement_of(std::uint16_t flags) noexcept {
    return (flags & NLM_F_REPLACE) != 0  ? RoutePlacement::replace
           : (flags & NLM_F_APPEND) != 0 ? RoutePlacement::append
                                         : RoutePlacement::insert;
}

// What read_route_attribute collects beside the route itself.
struct SingleHop {
    NextHop hop;
    bool seen = false;
};

Result<void> read_route_attribute(const Attribute& a, IpFamily family, RouteEvent& route, SingleHop& single) {
    switch (a.type) {
        case RTA_DST: {
            const Result<IpAddress> address = address_of(a, family);
            if (!address) {
                return std::unexpected(address.error());
            }
            route.prefix.address = *address;
            return {};
        }
        case RTA_GATEWAY:
            single.seen = true;
            return read_address(a, family, single.hop.gateway);
        case RTA_VIA:
            single.seen = true;
            return read_via(a, single.hop.gateway);
        case RTA_OIF:
            single.seen = true;
            return read_number(a, single.hop.ifindex);
        case RTA_PRIORITY:
            return read_number(a, route.metric);
        case RTA_TABLE:
            return read_number(a, route.table);
        case RTA_NH_ID:
            return read_number(a, route.nexthop_id);
        case RTA_ENCAP:
            route.encapsulated = true;
            return {};
        case RTA_MULTIPATH:
            return read_multipath(a.value, family, route);
        default:
            return {};
    }
}

Result<void> read_group(const Attribute& attribute, std::vector<NexthopMember>& members) {
    Bytes bytes = attribute.value;
    if (bytes.empty() || bytes.size() % sizeof(nexthop_grp) != 0) {
        return malformed("nexthop group of " + std::to_string(bytes.size()) + " bytes");
    }
    members.clear();
    for (; !bytes.empty(); bytes = bytes.subspan(sizeof(nexthop_grp))) {
        const auto raw = load<nexthop_grp>(bytes);
        // Since Linux 6.12 the byte after the weight is its high half; older kernels send zero, and call it reserved.
        const auto high = std::to_integer<std::uint32_t>(bytes[offsetof(nexthop_grp, weight) + 1]);
        const std::uint32_t weight = raw.weight | high << 8;
        members.push_back({raw.id, weight_of(weight)});
    }
    return {};
}

}  // namespace

Result<RouteEvent> decode_route(Message message) {
    const Result<Body<rtmsg>> body = read_body<rtmsg>(message, RTM_NEWROUTE, RTM_DELROUTE);
    if (!body) {
        return std::unexpected(body.error());
    }
    const rtmsg& fixed = body->fixed;
    const std::optional<IpFamily> family = ip_family(fixed.rtm_family);
    if (!family || fixed.rtm_dst_len > address_bits(*family) || fixed.rtm_src_len > address_bits(*family)) {
        return malformed("route of family " + std::to_string(fixed.rtm_family) + " and length " +
                         std::to_string(fixed.rtm_dst_len));
    }
    RouteEvent route;
    route.prefix = {IpAddress{*family, {}}, fixed.rtm_dst_len};
    route.table = fixed.rtm_table;
    route.type = route_type(fixed.rtm_type);
    route.protocol = fixed.rtm_protocol;
    route.tos = fixed.rtm_tos;
    route.source_length = fixed.rtm_src_len;
    route.cached = (fixed.rtm_flags & RTM_F_CLONED) != 0;
    route.placement = placement_of(body->flags);
    route.deleted = body->deleted;
    SingleHop single;
    set_flags(single.hop, fixed.rtm_flags);
    const Result<void> read = for_each_attribute(
        body->attributes, [&](const Attribute& a) { return read_route_attribute(a, *family, route, single); });
    if (!read) {
        return std::unexpected(read.error());
    }
    if (!route.prefix.is_network()) {
        return malformed("route to " + route.prefix.text() + ", which has host bits");
    }
    if (discards(route.type)) {
        route.nexthops.clear();
    } else if (route.nexthops.empty() && single.seen) {
        route.nexthops.push_back(single.hop);
    }
    // The order says nothing, and differs between an event and a dump.
    std::ranges::sort(route.nexthops);
    return route;
}

Result<NexthopEvent> decode_nexthop(Message message) {
    const Result<Body<nhmsg>> body = read_body<nhmsg>(message, RTM_NEWNEXTHOP, RTM_DELNEXTHOP);
    if (!body) {
        return std::unexpected(body.error());
    }
    NexthopEvent event;
    event.deleted = body->deleted;
    set_flags(event.hop, body->fixed.nh_flags);
    const std::optional<IpFamily> family = ip_family(body->fixed.nh_family);
    const Result<void> read = for_each_attribute(body->attributes, [&](const Attribute& a) -> Result<void> {
        switch (a.type) {
            case NHA_ID:
                return read_number(a, event.id);
            case NHA_GROUP:
                return read_group(a, event.members);
            case NHA_GROUP_TYPE: {
                std::uint16_t type = 0;
                const Result<void> number = read_number(a, type);
                event.resilient = type == NEXTHOP_GRP_TYPE_RES;
                return number;
            }
            case NHA_BLACKHOLE:
                event.blackhole = true;
                return {};
            case NHA_OIF:
                return read_number(a, event.hop.ifindex);
            case NHA_GATEWAY:
                return family ? read_address(a, *family, event.hop.gateway)
                              : Result<void>(malformed("nexthop with a gateway of no family"));
            default:
                return {};
        }
    });
    if (!read) {
        return std::unexpected(read.error());
    }
    if (event.id == 0) {
        return malformed("nexthop object without a number");
    }
    return event;
}

}  // namespace twinspan::netlink
