// Links, addresses and neighbours, and the choice by kind; routes and nexthop objects are in decode_route.cpp.
#include "control/netlink/decode.hpp"

#include "control/netlink/attributes.hpp"
#include "control/netlink/body.hpp"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

namespace twinspan::netlink {

namespace {

// Ethernet addresses only; a TUN has none, and other link layers are none of ours.
Result<void> read_mac(const Attribute& attribute, MacAddress& mac) {
    if (attribute.value.size() == mac.size()) {
        std::memcpy(mac.data(), attribute.value.data(), mac.size());
    }
    return {};
}

NeighbourState neighbour_state(std::uint16_t nud) noexcept {
    switch (nud) {
        case NUD_INCOMPLETE:
            return NeighbourState::incomplete;
        case NUD_REACHABLE:
            return NeighbourState::reachable;
        case NUD_STALE:
            return NeighbourState::stale;
        case NUD_DELAY:
            return NeighbourState::delay;
        case NUD_PROBE:
            return NeighbourState::probe;
        case NUD_FAILED:
            return NeighbourState::failed;
        case NUD_NOARP:
            return NeighbourState::noarp;
        case NUD_PERMANENT:
            return NeighbourState::permanent;
        default:
            return NeighbourState::none;
    }
}

constexpr std::uint16_t kUsableStates = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_NOARP | NUD_PERMANENT;

}  // namespace

Result<MessageHeader> decode_header(Message message) {
    if (message.size() < sizeof(nlmsghdr)) {
        return malformed("netlink message of " + std::to_string(message.size()) + " bytes has no header");
    }
    const auto raw = load<nlmsghdr>(message);
    if (raw.nlmsg_len < sizeof(nlmsghdr) || raw.nlmsg_len > message.size()) {
        return malformed("netlink message says " + std::to_string(raw.nlmsg_len) + " bytes, " +
                         std::to_string(message.size()) + " are there");
    }
    return MessageHeader{raw.nlmsg_len, raw.nlmsg_type, raw.nlmsg_flags, raw.nlmsg_seq};
}

Result<LinkEvent> decode_link(Message message) {
    const Result<Body<ifinfomsg>> body = read_body<ifinfomsg>(message, RTM_NEWLINK, RTM_DELLINK);
    if (!body) {
        return std::unexpected(body.error());
    }
    if (body->fixed.ifi_index <= 0) {
        return malformed("link with interface index " + std::to_string(body->fixed.ifi_index));
    }
    LinkEvent link;
    link.ifindex = static_cast<IfIndex>(body->fixed.ifi_index);
    link.up = (body->fixed.ifi_flags & IFF_UP) != 0;
    link.carrier = (body->fixed.ifi_flags & IFF_RUNNING) != 0;
    link.deleted = body->deleted;
    const Result<void> read = for_each_attribute(body->attributes, [&](const Attribute& a) -> Result<void> {
        switch (a.type) {
            case IFLA_IFNAME:
                link.name = text_of(a);
                return {};
            case IFLA_ADDRESS:
                return read_mac(a, link.mac);
            case IFLA_MTU:
                return read_number(a, link.mtu);
            default:
                return {};
        }
    });
    if (!read) {
        return std::unexpected(read.error());
    }
    if (link.name.empty() || link.name.size() >= IFNAMSIZ) {
        return malformed("link " + std::to_string(link.ifindex) + " has no name, or one too long");
    }
    return link;
}

Result<AddressEvent> decode_address(Message message) {
    const Result<Body<ifaddrmsg>> body = read_body<ifaddrmsg>(message, RTM_NEWADDR, RTM_DELADDR);
    if (!body) {
        return std::unexpected(body.error());
    }
    const std::optional<IpFamily> family = ip_family(body->fixed.ifa_family);
    if (!family || body->fixed.ifa_prefixlen > address_bits(*family) || body->fixed.ifa_index == 0) {
        return malformed("address of family " + std::to_string(body->fixed.ifa_family) + ", length " +
                         std::to_string(body->fixed.ifa_prefixlen) + ", interface " +
                         std::to_string(body->fixed.ifa_index));
    }
    AddressEvent event;
    event.ifindex = body->fixed.ifa_index;
    event.deleted = body->deleted;
    std::optional<IpAddress> local;  // ours on a point-to-point link, where IFA_ADDRESS is the peer's
    std::optional<IpAddress> address;
    std::uint32_t flags = body->fixed.ifa_flags;
    const Result<void> read = for_each_attribute(body->attributes, [&](const Attribute& a) -> Result<void> {
        switch (a.type) {
            case IFA_LOCAL:
                return read_address(a, *family, local);
            case IFA_ADDRESS:
                return read_address(a, *family, address);
            case IFA_FLAGS:
                return read_number(a, flags);
            default:
                return {};
        }
    });
    if (!read) {
        return std::unexpected(read.error());
    }
    if (!local && !address) {
        return malformed("address message without an address");
    }
    event.prefix = {local ? *local : *address, body->fixed.ifa_prefixlen};
    event.tentative = (flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) != 0 && (flags & IFA_F_OPTIMISTIC) == 0;
    return event;
}

Result<NeighbourEvent> decode_neighbour(Message message) {
    const Result<Body<ndmsg>> body = read_body<ndmsg>(message, RTM_NEWNEIGH, RTM_DELNEIGH);
    if (!body) {
        return std::unexpected(body.error());
    }
    const std::optional<IpFamily> family = ip_family(body->fixed.ndm_family);
    if (!family || body->fixed.ndm_ifindex <= 0) {
        return malformed("neighbour of family " + std::to_string(body->fixed.ndm_family) + " on interface " +
                         std::to_string(body->fixed.ndm_ifindex));
    }
    NeighbourEvent event;
    event.ifindex = static_cast<IfIndex>(body->fixed.ndm_ifindex);
    event.deleted = body->deleted;
    event.state = neighbour_state(body->fixed.ndm_state);
    std::optional<IpAddress> address;
    bool has_mac = false;
    const Result<void> read = for_each_attribute(body->attributes, [&](const Attribute& a) -> Result<void> {
        switch (a.type) {
            case NDA_DST:
                return read_address(a, *family, address);
            case NDA_LLADDR:
                has_mac = a.value.size() == event.mac.size();
                return read_mac(a, event.mac);
            default:
                return {};
        }
    });
    if (!read) {
        return std::unexpected(read.error());
    }
    if (!address) {
        return malformed("neighbour message without an address");
    }
    event.address = *address;
    event.usable = !event.deleted && has_mac && (body->fixed.ndm_state & kUsableStates) != 0;
    return event;
}

Result<int> decode_error(Message message) {
    const Result<MessageHeader> header = decode_header(message);
    if (!header) {
        return std::unexpected(header.error());
    }
    if (header->type != NLMSG_ERROR || header->length < sizeof(nlmsghdr) + sizeof(std::int32_t)) {
        return malformed("not an error message, or one without its number");
    }
    const auto code = load<std::int32_t>(message.subspan(sizeof(nlmsghdr)));
    if (code > 0 || code < -4095) {
        return malformed("error message with the number " + std::to_string(code));
    }
    return -code;
}

namespace {

template <class T>
Result<std::optional<Event>> as_event(Result<T> decoded) {
    if (!decoded) {
        return std::unexpected(decoded.error());
    }
    return std::optional<Event>(std::in_place, std::move(*decoded));
}

// The family is the first byte of every rtnetlink body; AF_UNSPEC, 0, where there is no body.
std::uint8_t family_of(Message message, const MessageHeader& header) noexcept {
    return header.length > sizeof(nlmsghdr) ? load<std::uint8_t>(message.subspan(sizeof(nlmsghdr))) : std::uint8_t{0};
}

}  // namespace

Result<std::optional<Event>> decode(Message message) {
    const Result<MessageHeader> header = decode_header(message);
    if (!header) {
        return std::unexpected(header.error());
    }
    const std::uint8_t family = family_of(message, *header);
    const bool ip = family == AF_INET || family == AF_INET6 || header->length == sizeof(nlmsghdr);
    switch (header->type) {
        case RTM_NEWLINK:
        case RTM_DELLINK:
            // A bridge reports its ports with RTM_*LINK of its own family; AF_UNSPEC alone is about the link itself.
            return family == AF_UNSPEC ? as_event(decode_link(message)) : std::optional<Event>{};
        case RTM_NEWADDR:
        case RTM_DELADDR:
            return ip ? as_event(decode_address(message)) : std::optional<Event>{};
        case RTM_NEWNEIGH:
        case RTM_DELNEIGH:
            return ip && !is_proxy(message, *header) ? as_event(decode_neighbour(message)) : std::optional<Event>{};
        case RTM_NEWROUTE:
        case RTM_DELROUTE:
            return ip ? as_event(decode_route(message)) : std::optional<Event>{};
        case RTM_NEWNEXTHOP:
        case RTM_DELNEXTHOP:
            return as_event(decode_nexthop(message));
        default:
            return std::optional<Event>{};
    }
}

}  // namespace twinspan::netlink
