// IPv6; the IPv4 table is in fib4.cpp.
#include "dataplane/config/fib.hpp"

#include <rte_errno.h>
#include <rte_fib6.h>
#include <rte_memory.h>
#include <rte_rib6.h>
#include <rte_version.h>

#include <algorithm>
#include <cstring>

namespace twinspan {
namespace {

constexpr unsigned kIpv6Bits = 128;

constexpr std::uint32_t kNoRoute = RouteResult::dropped(Drop::no_route).raw();
// The library empties a second-level table the moment it frees it, so a worker that stands between its two loads may
// read zero. Zero has to be a drop: then the race cannot send a packet anywhere.
static_assert(RouteResult::from_raw(0).kind() == RouteKind::drop);

Error library_error(const std::string& what, int code) {
    return {what + ": " + (code == ENOSPC ? "the table is full" : rte_strerror(code))};
}

// The address that differs in the prefix's last bit: the first of the other half of the shorter prefix around it.
Ipv6Address flip_bit(Ipv6Address address, unsigned bit) noexcept {
    address[bit / 8] = static_cast<std::uint8_t>(address[bit / 8] ^ 0x80u >> bit % 8);
    return address;
}

#if RTE_VERSION >= RTE_VERSION_NUM(24, 11, 0, 0)
using Key6 = rte_ipv6_addr;
const rte_ipv6_addr* key6(const Ipv6Address& address) noexcept {
    return reinterpret_cast<const rte_ipv6_addr*>(&address);
}
#else
using Key6 = std::uint8_t[16];
const std::uint8_t* key6(const Ipv6Address& address) noexcept { return address.data(); }
#endif

void bulk6(const void* table, const Ipv6Address* dst, std::uint64_t* out, unsigned n) noexcept {
    auto* keys = reinterpret_cast<Key6*>(const_cast<Ipv6Address*>(dst));
    rte_fib6_lookup_bulk(static_cast<rte_fib6*>(const_cast<void*>(table)), keys, out, static_cast<int>(n));
}

}  // namespace

void Fib6::Free::operator()(rte_fib6* fib) const noexcept { rte_fib6_free(fib); }

Result<Fib6> Fib6::create(const std::string& name, std::uint32_t max_routes) {
    rte_fib6_conf conf{};
    conf.type = RTE_FIB6_TRIE;
    conf.default_nh = kNoRoute;
    conf.max_routes = static_cast<int>(max_routes);
    conf.trie.nh_sz = RTE_FIB6_TRIE_4B;
    conf.trie.num_tbl8 = std::max<std::uint32_t>(2 * max_routes, 1024);
    rte_fib6* fib = rte_fib6_create(name.c_str(), SOCKET_ID_ANY, &conf);
    if (fib == nullptr) {
        return std::unexpected(library_error("IPv6 FIB for " + std::to_string(max_routes) + " routes", rte_errno));
    }
    return Fib6{fib};
}

Result<void> Fib6::insert(const Ipv6Address& prefix, unsigned length, RouteResult result) {
    if (length > kIpv6Bits) {
        return std::unexpected(Error{"IPv6 prefix length " + std::to_string(length) + " is more than 128"});
    }
    const auto depth = static_cast<std::uint8_t>(length);
    const bool replaces = rte_rib6_lookup_exact(rte_fib6_get_rib(fib_.get()), key6(prefix), depth) != nullptr;
    grace_.before_taking();
    const int rc = rte_fib6_add(fib_.get(), key6(prefix), depth, result.raw());
    if (rc != 0) {
        return std::unexpected(library_error("IPv6 route", -rc));
    }
    bool may_have_freed = true;
    if (!replaces && length > 0) {
        const Ipv6Address neighbour = flip_bit(prefix, length - 1);
        std::uint64_t found = 0;
        bulk6(fib_.get(), &neighbour, &found, 1);
        may_have_freed = found == result.raw();
    }
    if (may_have_freed) {
        grace_.freed();
    }
    return {};
}

void Fib6::erase(const Ipv6Address& prefix, unsigned length) {
    if (length > kIpv6Bits) {
        return;
    }
    grace_.before_taking();
    grace_.freed();
    rte_fib6_delete(fib_.get(), key6(prefix), static_cast<std::uint8_t>(length));
}

Lookup6 Fib6::lookup() const noexcept { return {.table = fib_.get(), .bulk = bulk6}; }

}  // namespace twinspan
