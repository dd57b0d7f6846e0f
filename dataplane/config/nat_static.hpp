// Static mappings of a NAT pool (RFC 7857 calls them static, RFC 3022 section 2.1 Basic NAT): configuration, asked only
// for packets that have no session yet.
#pragma once

#include "dataplane/base/endian.hpp"

#include <algorithm>
#include <cstdint>
#include <tuple>
#include <vector>

namespace twinspan {

struct NatStatic {
    be32 outside{}, inside{};
    std::uint8_t protocol = 0;  // 0: all of the host, its ports as they are
    be16 outside_port{}, inside_port{};

    bool whole_host() const noexcept { return protocol == 0; }
    be16 to_inside(be16 port) const noexcept { return whole_host() ? port : inside_port; }
    be16 to_outside(be16 port) const noexcept { return whole_host() ? port : outside_port; }
};

// Immutable once made.
class NatStatics {
public:
    NatStatics() = default;
    // No two may share an outside end, nor an inside one.
    explicit NatStatics(std::vector<NatStatic> mappings) : by_outside_(std::move(mappings)), by_inside_(by_outside_) {
        std::ranges::sort(by_outside_, {}, outside_end);
        std::ranges::sort(by_inside_, {}, inside_end);
    }
    bool empty() const noexcept { return by_outside_.empty(); }
    const std::vector<NatStatic>& all() const noexcept { return by_outside_; }

    // The port's mapping, or its host's; or null.
    const NatStatic* from_outside(be32 address, std::uint8_t protocol, be16 port) const noexcept {
        return find(by_outside_, outside_end, address, protocol, port);
    }
    const NatStatic* from_inside(be32 address, std::uint8_t protocol, be16 port) const noexcept {
        return find(by_inside_, inside_end, address, protocol, port);
    }
    // Whether sessions on this outside address may be static ones.
    bool uses(be32 outside) const noexcept {
        const auto it = std::ranges::lower_bound(by_outside_, End{outside.host(), 0, 0}, {}, outside_end);
        return it != by_outside_.end() && it->outside == outside;
    }

private:
    using End = std::tuple<std::uint32_t, std::uint8_t, std::uint16_t>;
    static End outside_end(const NatStatic& s) noexcept {
        return {s.outside.host(), s.protocol, s.outside_port.host()};
    }
    static End inside_end(const NatStatic& s) noexcept { return {s.inside.host(), s.protocol, s.inside_port.host()}; }

    static const NatStatic* find(const std::vector<NatStatic>& sorted, End (*end)(const NatStatic&) noexcept,
                                 be32 address, std::uint8_t protocol, be16 port) noexcept {
        for (const End& wanted : {End{address.host(), protocol, port.host()}, End{address.host(), 0, 0}}) {
            const auto it = std::ranges::lower_bound(sorted, wanted, {}, end);
            if (it != sorted.end() && end(*it) == wanted) {
                return &*it;
            }
        }
        return nullptr;
    }

    std::vector<NatStatic> by_outside_, by_inside_;
};

}  // namespace twinspan
