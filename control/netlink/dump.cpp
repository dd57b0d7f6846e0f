#include "control/netlink/dump.hpp"

#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>

#include <array>
#include <span>

namespace twinspan::netlink {

std::vector<Part> in_dump_order(Parts parts) {
    std::vector<Part> order;
    for (Part part : {Part::links, Part::addresses, Part::nexthops, Part::routes4, Part::routes6, Part::neighbours}) {
        if (parts.has(part)) {
            order.push_back(part);
        }
    }
    return order;
}

std::vector<std::byte> dump_request(Part part, std::uint32_t sequence) {
    alignas(nlmsghdr) std::array<std::byte, 128> storage{};
    nlmsghdr* header = mnl_nlmsg_put_header(storage.data());
    header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    header->nlmsg_seq = sequence;
    switch (part) {
        case Part::links:
            header->nlmsg_type = RTM_GETLINK;
            mnl_nlmsg_put_extra_header(header, sizeof(ifinfomsg));
            mnl_attr_put_u32(header, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
            break;
        case Part::addresses:
            header->nlmsg_type = RTM_GETADDR;
            mnl_nlmsg_put_extra_header(header, sizeof(ifaddrmsg));
            break;
        case Part::neighbours:
            header->nlmsg_type = RTM_GETNEIGH;
            mnl_nlmsg_put_extra_header(header, sizeof(ndmsg));
            break;
        case Part::nexthops:
            header->nlmsg_type = RTM_GETNEXTHOP;
            mnl_nlmsg_put_extra_header(header, sizeof(nhmsg));
            break;
        case Part::routes4:
        case Part::routes6:
            header->nlmsg_type = RTM_GETROUTE;
            static_cast<rtmsg*>(mnl_nlmsg_put_extra_header(header, sizeof(rtmsg)))->rtm_family =
                part == Part::routes4 ? AF_INET : AF_INET6;
            break;
    }
    const auto used = std::span<const std::byte>(storage).first(header->nlmsg_len);
    return {used.begin(), used.end()};
}

}  // namespace twinspan::netlink
