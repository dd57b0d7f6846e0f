// What the daemon asks of Linux: addresses and state of its netdevs, neighbours to be resolved, sysctls; and routes,
// for tests and tools. Each call waits for the kernel's answer.
#pragma once

#include "control/netlink/socket.hpp"
#include "control/netlink/types.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace twinspan::netlink {

class Requests {
public:
    static Result<Requests> open();

    static Result<IfIndex> index_of(const std::string& name);

    Result<void> set_up(IfIndex ifindex, bool up);
    Result<void> set_mac(IfIndex ifindex, const MacAddress& mac);
    // An address that is there already is no error, nor is a missing one that is to go. IPv6 addresses are used at once
    // (no duplicate detection: a leg's /126 has one other end).
    Result<void> add_address(IfIndex ifindex, const IpPrefix& address);
    Result<void> remove_address(IfIndex ifindex, const IpPrefix& address);
    // NTF_USE: as if Linux itself had a packet for it. The answer comes as a NeighbourEvent.
    Result<void> resolve(IfIndex ifindex, const IpAddress& neighbour);
    // By prefix, table, metric, type, protocol, placement, nexthop_id and nexthops; `deleted` is not looked at.
    Result<void> add_route(const RouteEvent& route);
    Result<void> remove_route(const RouteEvent& route);

private:
    explicit Requests(Socket socket) : socket_(std::move(socket)) {}
    struct Builder;
    // `tolerated`: an errno value that counts as success, or 0.
    Result<void> ask(Builder& request, const std::string& what, int tolerated = 0);

    Socket socket_;
    std::uint32_t sequence_ = 0;
    std::vector<std::byte> buffer_;
};

// What our netdevs need: Linux must neither forward between them (the data plane does), nor answer ARP for another
// netdev's addresses, nor drop a packet because the best way back is another link.
struct InterfaceSysctls {
    bool forwarding = false;
    bool accept_redirects = false;
    bool send_redirects = false;
    bool ignore_routes_with_linkdown = true;
    int rp_filter = 0;  // 0 off, 1 strict, 2 loose; "all" must not be stricter
    int arp_ignore = 1;  // answer only for addresses of the interface asked on
    int arp_announce = 2;  // ask with an address of the interface
    bool ipv6 = true;  // false: leave net.ipv6 alone
    bool accept_ra = false;
    bool link_local = true;  // false: no address of Linux's own making, and so no solicitations either
};
Result<void> set_sysctls(std::string_view interface, const InterfaceSysctls& values);

}  // namespace twinspan::netlink
