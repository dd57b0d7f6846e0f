#include "control/netlink/requests.hpp"

#include "control/netlink/answer.hpp"

#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

namespace twinspan::netlink {

namespace {

constexpr std::size_t kRequestBytes = 16 * 1024;
constexpr std::size_t kMaxNextHops = 256;  // of 28 bytes each: they fit a request

std::uint8_t af(IpFamily family) noexcept { return family == IpFamily::v4 ? AF_INET : AF_INET6; }

std::uint8_t rtn(RouteType type) noexcept {
    switch (type) {
        case RouteType::local:
            return RTN_LOCAL;
        case RouteType::broadcast:
            return RTN_BROADCAST;
        case RouteType::anycast:
            return RTN_ANYCAST;
        case RouteType::multicast:
            return RTN_MULTICAST;
        case RouteType::blackhole:
            return RTN_BLACKHOLE;
        case RouteType::unreachable:
            return RTN_UNREACHABLE;
        case RouteType::prohibit:
            return RTN_PROHIBIT;
        default:
            return RTN_UNICAST;
    }
}

}  // namespace

// One request being built in a buffer of its own.
struct Requests::Builder {
    Builder(std::uint16_t type, std::uint16_t flags) : header(mnl_nlmsg_put_header(storage.data())) {
        header->nlmsg_type = type;
        header->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
    }
    template <class T>
    T& fixed() {
        return *static_cast<T*>(mnl_nlmsg_put_extra_header(header, sizeof(T)));
    }
    void address(std::uint16_t type, const IpAddress& a) {
        mnl_attr_put(header, type, address_bits(a.family) / 8, a.bytes.data());
    }
    void gateway(IpFamily of_route, const IpAddress& a) {
        if (a.family == of_route) {
            address(RTA_GATEWAY, a);
            return;
        }
        std::array<std::byte, sizeof(std::uint16_t) + 16> via{};  // struct rtvia
        const std::uint16_t family = af(a.family);
        const std::size_t bytes = address_bits(a.family) / 8;
        std::memcpy(via.data(), &family, sizeof family);
        std::memcpy(via.data() + sizeof family, a.bytes.data(), bytes);
        mnl_attr_put(header, RTA_VIA, sizeof family + bytes, via.data());
    }

    alignas(nlmsghdr) std::array<std::byte, kRequestBytes> storage{};
    nlmsghdr* header;
};

Result<Requests> Requests::open() {
    Result<Socket> socket = Socket::open();
    if (!socket) {
        return std::unexpected(socket.error());
    }
    Requests requests(std::move(*socket));
    requests.buffer_.resize(Socket::kReadBytes);
    return requests;
}

Result<IfIndex> Requests::index_of(const std::string& name) {
    const unsigned index = if_nametoindex(name.c_str());
    if (index == 0) {
        return std::unexpected(Error{"no interface " + name + ": " + std::strerror(errno)});
    }
    return index;
}

Result<void> Requests::ask(Builder& request, const std::string& what, int tolerated) {
    request.header->nlmsg_seq = ++sequence_;
    if (Result<void> sent = socket_.send(std::span<const std::byte>(request.storage).first(request.header->nlmsg_len));
        !sent) {
        return std::unexpected(Error{what + ": " + sent.error().what});
    }
    const auto answer = await_answer(socket_, buffer_, sequence_);
    if (!answer) {
        return std::unexpected(Error{what + ": " + answer.error().why});
    }
    const Result<int> error = decode_error(*answer);
    if (!error) {
        return std::unexpected(Error{what + ": " + error.error().what});
    }
    if (*error != 0 && *error != tolerated) {
        return std::unexpected(Error{what + ": " + std::strerror(*error)});
    }
    return {};
}

Result<void> Requests::set_up(IfIndex ifindex, bool up) {
    Builder request(RTM_NEWLINK, 0);
    auto& link = request.fixed<ifinfomsg>();
    link.ifi_index = static_cast<int>(ifindex);
    link.ifi_change = IFF_UP;
    link.ifi_flags = up ? static_cast<unsigned>(IFF_UP) : 0u;
    return ask(request, "setting interface " + std::to_string(ifindex) + (up ? " up" : " down"));
}

Result<void> Requests::set_mac(IfIndex ifindex, const MacAddress& mac) {
    Builder request(RTM_NEWLINK, 0);
    request.fixed<ifinfomsg>().ifi_index = static_cast<int>(ifindex);
    mnl_attr_put(request.header, IFLA_ADDRESS, mac.size(), mac.data());
    return ask(request, "setting the MAC address of interface " + std::to_string(ifindex));
}

Result<void> Requests::add_address(IfIndex ifindex, const IpPrefix& address) {
    Builder request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
    auto& fixed = request.fixed<ifaddrmsg>();
    fixed.ifa_family = af(address.family());
    fixed.ifa_prefixlen = address.length;
    fixed.ifa_flags = address.family() == IpFamily::v6 ? IFA_F_NODAD : 0;
    fixed.ifa_index = ifindex;
    request.address(IFA_LOCAL, address.address);
    request.address(IFA_ADDRESS, address.address);
    return ask(request, "adding " + address.text() + " to interface " + std::to_string(ifindex), EEXIST);
}

Result<void> Requests::remove_address(IfIndex ifindex, const IpPrefix& address) {
    Builder request(RTM_DELADDR, 0);
    auto& fixed = request.fixed<ifaddrmsg>();
    fixed.ifa_family = af(address.family());
    fixed.ifa_prefixlen = address.length;
    fixed.ifa_index = ifindex;
    request.address(IFA_LOCAL, address.address);
    return ask(request, "removing " + address.text() + " from interface " + std::to_string(ifindex), EADDRNOTAVAIL);
}

Result<void> Requests::resolve(IfIndex ifindex, const IpAddress& neighbour) {
    Builder request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
    auto& fixed = request.fixed<ndmsg>();
    fixed.ndm_family = af(neighbour.family);
    fixed.ndm_ifindex = static_cast<int>(ifindex);
    fixed.ndm_flags = NTF_USE;
    request.address(NDA_DST, neighbour);
    return ask(request, "asking for " + neighbour.text() + " on interface " + std::to_string(ifindex));
}

namespace {

std::uint16_t placement_flags(RoutePlacement placement) noexcept {
    switch (placement) {
        case RoutePlacement::append:
            return NLM_F_CREATE | NLM_F_APPEND;
        case RoutePlacement::replace:
            return NLM_F_CREATE | NLM_F_REPLACE;
        default:
            return NLM_F_CREATE;
    }
}

// rtnh_hops and its like count from zero.
std::uint8_t weight_octet(std::uint16_t weight) noexcept {
    return static_cast<std::uint8_t>(std::clamp<int>(weight, 1, 256) - 1);
}

}  // namespace

Result<void> Requests::add_route(const RouteEvent& route) {
    if (route.nexthops.size() > kMaxNextHops) {
        return std::unexpected(Error{"a route to " + route.prefix.text() + " with " +
                                     std::to_string(route.nexthops.size()) + " next hops: at most " +
                                     std::to_string(kMaxNextHops)});
    }
    Builder request(RTM_NEWROUTE, placement_flags(route.placement));
    auto& fixed = request.fixed<rtmsg>();
    fixed.rtm_family = af(route.prefix.family());
    fixed.rtm_dst_len = route.prefix.length;
    fixed.rtm_protocol = route.protocol != 0 ? route.protocol : std::uint8_t{RTPROT_STATIC};
    fixed.rtm_type = rtn(route.type);
    const bool has_gateway = !route.nexthops.empty() && route.nexthops.front().gateway;
    fixed.rtm_scope = route.type == RouteType::local                                   ? RT_SCOPE_HOST
                      : has_gateway || route.nexthops.empty() || route.nexthop_id != 0 ? RT_SCOPE_UNIVERSE
                                                                                       : RT_SCOPE_LINK;
    request.address(RTA_DST, route.prefix.address);
    mnl_attr_put_u32(request.header, RTA_TABLE, route.table);
    if (route.metric != 0) {
        mnl_attr_put_u32(request.header, RTA_PRIORITY, route.metric);
    }
    if (route.nexthop_id != 0) {
        mnl_attr_put_u32(request.header, RTA_NH_ID, route.nexthop_id);
    } else if (route.nexthops.size() == 1) {
        mnl_attr_put_u32(request.header, RTA_OIF, route.nexthops.front().ifindex);
        if (has_gateway) {
            request.gateway(route.prefix.family(), *route.nexthops.front().gateway);
        }
    } else if (!route.nexthops.empty()) {
        nlattr* all = mnl_attr_nest_start(request.header, RTA_MULTIPATH);
        for (const NextHop& hop : route.nexthops) {
            auto& one = request.fixed<rtnexthop>();
            one.rtnh_hops = weight_octet(hop.weight);
            one.rtnh_ifindex = static_cast<int>(hop.ifindex);
            if (hop.gateway) {
                request.gateway(route.prefix.family(), *hop.gateway);
            }
            one.rtnh_len =
                static_cast<std::uint16_t>(static_cast<std::byte*>(mnl_nlmsg_get_payload_tail(request.header)) -
                                           reinterpret_cast<std::byte*>(&one));
        }
        mnl_attr_nest_end(request.header, all);
    }
    return ask(request, "adding a route to " + route.prefix.text());
}

Result<void> Requests::remove_route(const RouteEvent& route) {
    Builder request(RTM_DELROUTE, 0);
    auto& fixed = request.fixed<rtmsg>();
    fixed.rtm_family = af(route.prefix.family());
    fixed.rtm_dst_len = route.prefix.length;
    fixed.rtm_scope = RT_SCOPE_NOWHERE;  // any
    request.address(RTA_DST, route.prefix.address);
    mnl_attr_put_u32(request.header, RTA_TABLE, route.table);
    if (route.metric != 0) {
        mnl_attr_put_u32(request.header, RTA_PRIORITY, route.metric);
    }
    if (route.nexthops.size() == 1) {
        mnl_attr_put_u32(request.header, RTA_OIF, route.nexthops.front().ifindex);
        if (route.nexthops.front().gateway) {
            request.gateway(route.prefix.family(), *route.nexthops.front().gateway);
        }
    }
    return ask(request, "removing the route to " + route.prefix.text());
}

namespace {

Result<void> write_sysctl(const std::string& path, int value) {
    std::ofstream file(path);
    file << value << std::flush;
    if (!file) {
        return std::unexpected(Error{"writing " + std::to_string(value) + " to " + path + ": " + std::strerror(errno)});
    }
    return {};
}

}  // namespace

Result<void> set_sysctls(std::string_view interface, const InterfaceSysctls& values) {
    if (interface.empty() || interface.find('/') != std::string_view::npos || interface == "." || interface == "..") {
        return std::unexpected(Error{"not an interface name: '" + std::string(interface) + "'"});
    }
    const std::string v4 = "/proc/sys/net/ipv4/conf/" + std::string(interface) + "/";
    const std::string v6 = "/proc/sys/net/ipv6/conf/" + std::string(interface) + "/";
    std::vector<std::pair<std::string, int>> all{
        {v4 + "forwarding", values.forwarding},
        {v4 + "accept_redirects", values.accept_redirects},
        {v4 + "send_redirects", values.send_redirects},
        {v4 + "ignore_routes_with_linkdown", values.ignore_routes_with_linkdown},
        {v4 + "rp_filter", values.rp_filter},
        {v4 + "arp_ignore", values.arp_ignore},
        {v4 + "arp_announce", values.arp_announce},
    };
    if (values.ipv6) {
        all.insert(all.end(), {{v6 + "forwarding", values.forwarding},
                               {v6 + "accept_redirects", values.accept_redirects},
                               {v6 + "ignore_routes_with_linkdown", values.ignore_routes_with_linkdown},
                               {v6 + "accept_ra", values.accept_ra},
                               {v6 + "addr_gen_mode", values.link_local ? 0 : 1}});
    }
    for (const auto& [path, value] : all) {
        if (Result<void> written = write_sysctl(path, value); !written) {
            return written;
        }
    }
    return {};
}

}  // namespace twinspan::netlink
