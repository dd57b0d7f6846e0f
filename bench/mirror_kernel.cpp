#include "bench/mirror_kernel.hpp"

#include "control/netlink/requests.hpp"
#include "dataplane/base/prefix_map.hpp"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace twinspan::bench {
namespace {

constexpr std::size_t kBatchBytes = 32 * 1024;

std::unexpected<Error> failed(const std::string& what) {
    return std::unexpected(Error{what + ": " + std::strerror(errno)});
}

Result<Descriptor> make_tap(const char* name) {
    Descriptor tap{::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK)};
    ifreq request{};
    std::strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    if (tap.get() < 0 || ::ioctl(tap.get(), TUNSETIFF, &request) != 0) {
        return failed(std::string("making TAP ") + name);
    }
    return tap;
}

// Per mille of the global table in 2026, rounded; the rest of a thousand is /24.
constexpr std::array<std::pair<std::uint8_t, unsigned>, 14> kLengths{{{8, 1},
                                                                      {12, 1},
                                                                      {14, 1},
                                                                      {15, 2},
                                                                      {16, 14},
                                                                      {17, 9},
                                                                      {18, 15},
                                                                      {19, 26},
                                                                      {20, 45},
                                                                      {21, 55},
                                                                      {22, 115},
                                                                      {23, 105},
                                                                      {25, 3},
                                                                      {32, 8}}};

std::uint8_t any_length(std::mt19937& random) {
    unsigned at = static_cast<unsigned>(random() % 1000);
    for (const auto& [length, share] : kLengths) {
        if (at < share) {
            return length;
        }
        at -= share;
    }
    return 24;
}

}  // namespace

Result<BenchNamespace> BenchNamespace::enter() {
    if (::unshare(CLONE_NEWNET) != 0) {
        return failed("making a network namespace");
    }
    BenchNamespace space;
    auto requests = netlink::Requests::open();
    if (!requests) {
        return std::unexpected(requests.error());
    }
    for (std::size_t i = 0; i < kBenchLegs.size(); ++i) {
        const BenchLeg& leg = kBenchLegs[i];
        auto tap = make_tap(leg.netdev);
        if (!tap) {
            return std::unexpected(tap.error());
        }
        space.taps_.push_back(std::move(*tap));
        const auto index = netlink::Requests::index_of(leg.netdev);
        if (!index) {
            return std::unexpected(index.error());
        }
        space.ifindex_[i] = *index;
        Result<void> done = requests->set_up(*index, true);
        done = done ? requests->add_address(*index, IpPrefix::parse(leg.address).value()) : done;
        if (!done) {
            return std::unexpected(done.error());
        }
        const std::string n = std::to_string(i);
        const std::string neighbours = "for i in $(seq 16 31); do echo neigh replace 100.64." + n +
                                       ".$i lladdr 02:00:00:00:0" + n + ":$i nud permanent dev " + leg.netdev +
                                       "; done | ip -batch -";
        if (std::system(neighbours.c_str()) != 0) {
            return std::unexpected(Error{std::string("adding the neighbours of ") + leg.netdev});
        }
    }
    // Until Linux has its first rule besides those for local, main and default, the routes of table local stand in
    // main's trie, and a dump of the few goes through a million leaves in one call.
    if (std::system("ip rule add pref 100 to 203.0.113.1 lookup main && ip rule del pref 100") != 0) {
        return std::unexpected(Error{"adding a rule"});
    }
    return space;
}

std::vector<BenchPrefix> internet_prefixes(std::size_t count, std::mt19937& random) {
    std::vector<BenchPrefix> result;
    result.reserve(count);
    PrefixMap4 known;
    while (result.size() < count) {
        const std::uint8_t length = any_length(random);
        const std::uint32_t first_octet = 1 + static_cast<std::uint32_t>(random() % 222);
        if (first_octet == 100 || first_octet == 127) {
            continue;  // ours, and Linux'
        }
        const std::uint32_t address =
            (first_octet << 24 | static_cast<std::uint32_t>(random() & 0xffffff)) & ~std::uint32_t{0} << (32 - length);
        if (known.insert_or_assign(address, length, 0)) {
            const std::uint8_t leg = random() % 100 == 0 ? 2 : static_cast<std::uint8_t>(random() % 2);
            result.push_back({address, length, leg});
        }
    }
    return result;
}

Result<KernelWriter> KernelWriter::open(const BenchNamespace& space) {
    Descriptor socket{::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)};
    if (socket.get() < 0) {
        return failed("opening a NETLINK_ROUTE socket");
    }
    return KernelWriter{std::move(socket), space};
}

void KernelWriter::begin(std::uint16_t type, std::uint16_t flags, const void* body, std::size_t size) {
    message_ = batch_.size();
    batch_.resize(message_ + sizeof(nlmsghdr) + NLMSG_ALIGN(size));
    nlmsghdr header{};
    header.nlmsg_type = type;
    header.nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
    std::memcpy(&batch_[message_], &header, sizeof header);
    std::memcpy(&batch_[message_ + sizeof header], body, size);
}

void KernelWriter::attribute(std::uint16_t type, const void* value, std::size_t size) {
    const rtattr head{static_cast<unsigned short>(sizeof(rtattr) + size), type};
    const std::size_t at = batch_.size();
    batch_.resize(at + RTA_SPACE(size));
    std::memcpy(&batch_[at], &head, sizeof head);
    std::memcpy(&batch_[at + sizeof head], value, size);
}

void KernelWriter::end() {
    const auto length = static_cast<std::uint32_t>(batch_.size() - message_);
    std::memcpy(&batch_[message_], &length, sizeof length);
    ++sent_;
    if (batch_.size() > kBatchBytes) {
        flush();
    }
}

void KernelWriter::begin_route(std::uint16_t type, std::uint16_t flags, const BenchPrefix& prefix, std::uint8_t kind) {
    rtmsg route{};
    route.rtm_family = AF_INET;
    route.rtm_dst_len = prefix.length;
    route.rtm_table = RT_TABLE_MAIN;
    route.rtm_protocol = RTPROT_BGP;
    route.rtm_scope = type == RTM_DELROUTE ? RT_SCOPE_NOWHERE : RT_SCOPE_UNIVERSE;
    route.rtm_type = kind;
    begin(type, flags, &route, sizeof route);
    const be32 to = to_be32(prefix.address);
    attribute(RTA_DST, &to, sizeof to);
}

std::uint32_t KernelWriter::gateway(BenchHop hop) const noexcept {
    return to_be32(kBenchLegs[hop.leg].first_gateway + hop.gateway).raw;
}

void KernelWriter::add(const BenchPrefix& prefix, std::span<const BenchHop> hops, std::uint32_t metric) {
    begin_route(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, prefix, RTN_UNICAST);
    if (metric != 0) {
        attribute(RTA_PRIORITY, &metric, sizeof metric);
    }
    if (hops.size() == 1) {
        const std::uint32_t to = gateway(hops[0]);
        attribute(RTA_GATEWAY, &to, sizeof to);
        const netlink::IfIndex over = space_->ifindex(hops[0].leg);
        attribute(RTA_OIF, &over, sizeof over);
        end();
        return;
    }
    std::array<std::byte, 8 * (sizeof(rtnexthop) + 8)> all{};
    std::size_t used = 0;
    for (const BenchHop& hop : hops.first(std::min<std::size_t>(hops.size(), 8))) {
        rtnexthop head{};
        head.rtnh_len = sizeof head + 8;
        head.rtnh_ifindex = static_cast<int>(space_->ifindex(hop.leg));
        const rtattr to{8, RTA_GATEWAY};
        const std::uint32_t address = gateway(hop);
        std::memcpy(&all[used], &head, sizeof head);
        std::memcpy(&all[used + sizeof head], &to, sizeof to);
        std::memcpy(&all[used + sizeof head + sizeof to], &address, sizeof address);
        used += head.rtnh_len;
    }
    attribute(RTA_MULTIPATH, all.data(), used);
    end();
}

void KernelWriter::add_through(const BenchPrefix& prefix, std::uint32_t nexthop_id) {
    begin_route(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, prefix, RTN_UNICAST);
    attribute(RTA_NH_ID, &nexthop_id, sizeof nexthop_id);
    end();
}

void KernelWriter::add_blackhole(const BenchPrefix& prefix) {
    begin_route(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, prefix, RTN_BLACKHOLE);
    end();
}

void KernelWriter::remove(const BenchPrefix& prefix) {
    begin_route(RTM_DELROUTE, 0, prefix, RTN_UNSPEC);
    end();
}

void KernelWriter::put_nexthop(std::uint32_t id, BenchHop hop) {
    nhmsg body{};
    body.nh_family = AF_INET;
    body.nh_protocol = RTPROT_BGP;
    begin(RTM_NEWNEXTHOP, NLM_F_CREATE | NLM_F_REPLACE, &body, sizeof body);
    const std::uint32_t to = gateway(hop);
    const netlink::IfIndex over = space_->ifindex(hop.leg);
    attribute(NHA_ID, &id, sizeof id);
    attribute(NHA_OIF, &over, sizeof over);
    attribute(NHA_GATEWAY, &to, sizeof to);
    end();
}

void KernelWriter::put_group(std::uint32_t id, std::span<const std::uint32_t> members) {
    nhmsg body{};
    body.nh_protocol = RTPROT_BGP;
    begin(RTM_NEWNEXTHOP, NLM_F_CREATE | NLM_F_REPLACE, &body, sizeof body);
    std::vector<nexthop_grp> group(members.size());
    for (std::size_t i = 0; i < members.size(); ++i) {
        group[i].id = members[i];
    }
    attribute(NHA_ID, &id, sizeof id);
    attribute(NHA_GROUP, group.data(), group.size() * sizeof(nexthop_grp));
    end();
}

void KernelWriter::remove_nexthop(std::uint32_t id) {
    const nhmsg body{};
    begin(RTM_DELNEXTHOP, 0, &body, sizeof body);
    attribute(NHA_ID, &id, sizeof id);
    end();
}

void KernelWriter::set_up(std::size_t leg, bool up) {
    ifinfomsg body{};
    body.ifi_index = static_cast<int>(space_->ifindex(leg));
    body.ifi_change = IFF_UP;
    body.ifi_flags = up ? static_cast<unsigned>(IFF_UP) : 0u;
    begin(RTM_NEWLINK, 0, &body, sizeof body);
    end();
    flush();
}

void KernelWriter::flush() {
    if (batch_.empty()) {
        return;
    }
    static_cast<void>(::send(socket_.get(), batch_.data(), batch_.size(), 0));
    batch_.clear();
    std::array<std::byte, 16384> answers;
    for (ssize_t got; (got = ::recv(socket_.get(), answers.data(), answers.size(), MSG_DONTWAIT)) > 0;) {
        ++refused_;  // only refusals are answered, one each
    }
}

}  // namespace twinspan::bench
