// Everything the compiler looks at: configuration, what Linux says, links, drained links, SAs. Control thread only.
#pragma once

#include "control/config/config.hpp"
#include "control/netlink/types.hpp"
#include "crypto/esp_format.hpp"
#include "dataplane/base/prefix.hpp"
#include "dataplane/config/snapshot.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace twinspan {

// Where the compiler looks routes up, of which there may be a million: of the main table, the one per prefix that Linux
// uses, nexthop objects resolved.
class RouteSource {
public:
    virtual ~RouteSource() = default;
    virtual std::optional<netlink::RouteEvent> route(const IpPrefix& prefix) const = 0;
    virtual void for_each_prefix(const std::function<void(const IpPrefix&)>& f) const = 0;
};

// The mirror's present view of all else.
struct KernelView {
    std::vector<netlink::LinkEvent> links;
    std::vector<netlink::AddressEvent> addresses;
    std::vector<netlink::NeighbourEvent> neighbours;
};

struct PortState {
    MacAddress mac{};
    bool up = true;
    bool awaited = false;  // not seen up since the start, which is a short while ago
};

struct InboundRef {
    std::uint32_t spi = 0;
    InboundSa* sa = nullptr;
    Encapsulation encapsulation{};  // a rekey may change it while this one still receives
    friend bool operator==(const InboundRef&, const InboundRef&) = default;
};

// Not owned: the SA store keeps them until no snapshot names them.
struct TunnelSas {
    OutboundSa* out = nullptr;
    std::vector<InboundRef> in;  // several while a rekey is under way, the newest last
    Encapsulation encapsulation{};  // of the outbound SA
    EspLayout layout = layout_of(Suite::aes_256_gcm);  // the same
    std::optional<IpAddress> moved_to{};  // where the peer is, when not at the configured address
    bool worn_out = false;  // a limit of static keys is reached
    bool complete() const noexcept { return out != nullptr && !in.empty(); }
    friend bool operator==(const TunnelSas&, const TunnelSas&) = default;
};

using LegAddress = std::pair<std::uint16_t, IpAddress>;  // a neighbour: leg and address

inline const IpAddress& remote_of(const TunnelConfig& config, const TunnelSas& sas) noexcept {
    return sas.moved_to ? *sas.moved_to : config.remote;
}

struct World {
    Config config;
    std::vector<PortState> ports;  // as Config::ports
    std::vector<TunnelSas> sas;  // as Config::tunnels, always one each
    std::array<bool, 3> drained{};  // by Link
    std::set<std::size_t> drained_tunnels;  // indexes
    std::set<LegAddress> failed;  // neighbours that Linux has given up on
    KernelView kernel;
    const RouteSource* routes = nullptr;  // null: none; outlives the compiler
    Lookup4 fib4;
    Lookup6 fib6;
};

inline constexpr std::size_t link_index(Link link) noexcept { return static_cast<std::size_t>(link); }

// Netdevs are numbered in the order in which the daemon makes them: legs first, then tunnels that have one.
struct NetdevPlan {
    std::string name;
    Netdev target;
};
std::vector<NetdevPlan> netdev_plan(const Config& config);
// The same, and the NICs of shared ports that stand for their untagged leg.
std::vector<NetdevPlan> all_netdevs(const Config& config);
// The untagged leg of a shared port: its netdev is the NIC, with Linux's addresses and Linux's own packets.
bool is_linux_leg(const Config& config, const LegConfig& leg) noexcept;

std::uint16_t port_index(const Config& config, const std::string& name) noexcept;  // kNone: no such port

std::vector<IpPrefix> encrypt_prefixes(const Config& config);
// With host bits; what the file says.
std::vector<IpPrefix> addresses_of(const LegConfig& leg);

}  // namespace twinspan
