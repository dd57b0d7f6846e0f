#include "control/shared_ports.hpp"

#include "control/model/world.hpp"

#include <ifaddrs.h>
#include <netinet/in.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <memory>
#include <numeric>
#include <system_error>

namespace twinspan {
namespace {

struct FreeAddresses {
    void operator()(ifaddrs* list) const noexcept { ::freeifaddrs(list); }
};

template <class Bytes>
std::uint8_t length_of(const Bytes& mask) noexcept {
    return static_cast<std::uint8_t>(std::accumulate(
        mask.begin(), mask.end(), 0, [](int sum, std::uint8_t byte) { return sum + std::popcount(byte); }));
}

bool is_link_local(const Ipv6Address& a) noexcept { return a[0] == 0xfe && (a[1] & 0xc0) == 0x80; }

void add_address(const ifaddrs& entry, LegConfig& out) {
    if (entry.ifa_addr == nullptr || entry.ifa_netmask == nullptr) {
        return;
    }
    if (entry.ifa_addr->sa_family == AF_INET) {
        sockaddr_in address, mask;
        std::memcpy(&address, entry.ifa_addr, sizeof address);
        std::memcpy(&mask, entry.ifa_netmask, sizeof mask);
        const std::uint32_t bits = mask.sin_addr.s_addr;
        out.addresses4.push_back({be32{address.sin_addr.s_addr}, static_cast<std::uint8_t>(std::popcount(bits))});
    } else if (entry.ifa_addr->sa_family == AF_INET6) {
        sockaddr_in6 address, mask;
        std::memcpy(&address, entry.ifa_addr, sizeof address);
        std::memcpy(&mask, entry.ifa_netmask, sizeof mask);
        Ipv6Address ip, bits;
        std::ranges::copy(address.sin6_addr.s6_addr, ip.begin());
        std::ranges::copy(mask.sin6_addr.s6_addr, bits.begin());
        if (!is_link_local(ip)) {
            out.addresses6.push_back({ip, length_of(bits)});
        }
    }
}

// Of one netdev of this network namespace.
Result<LegConfig> addresses_of_netdev(const std::string& netdev) {
    ifaddrs* all = nullptr;
    if (::getifaddrs(&all) != 0) {
        return std::unexpected(Error{"addresses of " + netdev + ": " + std::system_category().message(errno)});
    }
    const std::unique_ptr<ifaddrs, FreeAddresses> list{all};
    LegConfig found;
    for (const ifaddrs* entry = all; entry != nullptr; entry = entry->ifa_next) {
        if (netdev == entry->ifa_name) {
            add_address(*entry, found);
        }
    }
    return found;
}

}  // namespace

Result<void> adopt_addresses(Config& config) {
    for (LegConfig& leg : config.legs) {
        if (!is_linux_leg(config, leg)) {
            continue;
        }
        const auto found = addresses_of_netdev(leg.netdev);
        if (!found) {
            return std::unexpected(found.error());
        }
        const std::vector<IpPrefix> has = addresses_of(*found);
        if (leg.addresses4.empty() && leg.addresses6.empty()) {
            leg.addresses4 = found->addresses4;
            leg.addresses6 = found->addresses6;
        }
        for (const IpPrefix& wanted : addresses_of(leg)) {
            if (std::ranges::find(has, wanted) == has.end()) {
                return std::unexpected(Error{"leg " + leg.netdev + ": Linux has no address " + wanted.text() +
                                             " on it, and on a shared port the addresses are Linux's to give"});
            }
        }
    }
    return {};
}

}  // namespace twinspan
