#include "bench/site.hpp"

#include "dataplane/io/eal_memory.hpp"
#include "dataplane/packet/batch.hpp"

#include <algorithm>
#include <cstring>
#include <random>
#include <string>

namespace twinspan::bench {
namespace {

constexpr unsigned kOwnRoutes = 64;  // at most, besides those of the setting
constexpr std::uint32_t kGroupBuckets = 256;
constexpr std::uint32_t kRemoteNet = 0x0d000000;   // 13.0.0.0: route i is the /24 13.(i/256).(i%256).0
constexpr std::uint32_t kInsideNet = 0x0a0a0000;   // 10.10.0.0/16
constexpr std::uint32_t kPoolFirst = 0xc6336400;   // 198.51.100.0/28
constexpr std::uint32_t kTunnelLocal = 0xcb007101; // 203.0.113.1
constexpr std::uint32_t kTunnelRemote = 0x14330000;// 20.51.0.0, one address a tunnel

constexpr std::uint32_t kEphemeral = 32'768, kEphemerals = 28'232;  // ports that Linux gives its clients

constexpr be32 route_prefix(unsigned i) { return to_be32(kRemoteNet + (i << 8)); }

Egress leg_egress(EgressKind kind, Zone zone, std::uint16_t port, std::uint8_t neighbour, std::uint16_t pool) {
    Egress e{.kind = kind, .zone = zone, .rewrite_length = 12, .port = port, .leg = port, .pool = pool};
    const MacAddress dst{0x02, 0x00, 0x00, 0x00, 0x01, neighbour};
    std::ranges::copy(dst, e.rewrite.begin());
    std::ranges::copy(kOurMac, e.rewrite.begin() + 6);
    return e;
}

IpAddress ipv6_end(std::uint32_t ipv4) {
    Ipv6Address address{0x20, 0x01, 0x0d, 0xb8};
    const be32 low = to_be32(ipv4);
    std::memcpy(&address[12], &low, sizeof(low));
    return IpAddress::from(address);
}

void set_ends(Tunnel& tunnel, Outer outer, std::uint32_t index) {
    const bool ipv6 = outer == Outer::ipv6;
    tunnel.local = ipv6 ? ipv6_end(kTunnelLocal) : IpAddress::from(to_be32(kTunnelLocal));
    tunnel.remote = ipv6 ? ipv6_end(kTunnelRemote + index) : IpAddress::from(to_be32(kTunnelRemote + index));
    if (outer == Outer::udp) {
        tunnel.encapsulation = {.local_port = kNatTraversalPort, .remote_port = kNatTraversalPort};
    }
}

SaConfig sa_config(Suite suite, std::uint32_t spi) {
    SaConfig config;
    config.spi = spi;
    config.suite = suite;
    config.keymat = SecretBytes(keymat_len(config.suite));
    std::mt19937 random(spi);
    std::ranges::generate(std::span{config.keymat.data(), config.keymat.size()},
                          [&] { return static_cast<std::uint8_t>(random()); });
    return config;
}

NatKey inside_key(const Flow& flow) noexcept {
    return nat_key(flow.src, flow.dst, flow.src_port, flow.dst_port, +IpProtocol::udp, 0);
}

void allow(Snapshot& s, Zone from, Zone to) {
    s.may_send[static_cast<std::size_t>(from)] |= static_cast<std::uint8_t>(1u << static_cast<unsigned>(to));
}

}  // namespace

std::string_view name_of(Path path) noexcept {
    constexpr std::array<std::string_view, kPaths.size()> names{"forward", "nat_out", "nat_in", "esp_out", "esp_in"};
    return names[static_cast<std::size_t>(path)];
}

Result<std::unique_ptr<Site>> Site::create(Path path, const Setting& setting, Engine& engine,
                                           std::uint32_t now_seconds) {
    static unsigned serial = 0;  // FIB names are unique in a process
    const std::string fib_name = "bench" + std::to_string(serial++);
    Result<Fib4> fib = Fib4::create(fib_name, setting.routes + kOwnRoutes);
    Result<Fib6> fib6 = Fib6::create(fib_name, 64);
    if (!fib || !fib6) {
        return std::unexpected(!fib ? fib.error() : fib6.error());
    }
    std::unique_ptr<Site> site{new Site(path, setting, std::move(*fib), std::move(*fib6))};
    if (const Result<void> built = site->build(engine, now_seconds); !built) {
        return std::unexpected(built.error());
    }
    return site;
}

Result<void> Site::build(Engine& engine, std::uint32_t now_seconds) {
    auto snapshot = std::make_unique<Snapshot>();
    make_legs(*snapshot);
    make_groups(*snapshot);
    if (is_esp(path_)) {
        if (const Result<void> made = make_tunnels(*snapshot, engine); !made) {
            return made;
        }
    }
    if (const Result<void> made = make_routes(); !made) {
        return made;
    }
    make_flows();
    snapshot->fib4 = fib_.lookup();
    snapshot->fib6 = fib6_.lookup();
    published_ = snapshot.get();
    slot_ = std::make_unique<SnapshotSlot>(kMostWorkers, std::move(snapshot));
    const std::uint32_t records = setting_.nat_records != 0 ? setting_.nat_records : 2 * setting_.sessions;
    nat_ = std::make_unique<NatTable>(NatTableOptions{.sessions = std::max(records, 1u << 15),
                                                      .workers = setting_.nat_workers,
                                                      .seed = 1,
                                                      .memory = eal_memory()},
                                      slot_->readers());
    if (!is_nat(path_) || !setting_.opened) {
        return {};
    }
    Result<void> opened = open_sessions(now_seconds);
    return opened && path_ == Path::nat_in ? turn_round() : opened;
}

void Site::make_legs(Snapshot& s) const {
    const bool nat = is_nat(path_);
    const Zone outside = nat || is_esp(path_) ? Zone::microsoft_peering : Zone::private_peering;
    s.legs = {Leg{.port = kInside, .zone = Zone::lan, .mac = kOurMac, .address4 = to_be32(kInsideNet + 1)},
              Leg{.port = kOutside, .zone = outside, .mac = kOurMac, .address4 = to_be32(kTunnelLocal)}};
    s.ports.resize(2);
    s.ports[kInside] = {.untagged = kInside, .tagged = {}, .qinq = {}};
    s.ports[kOutside] = {.untagged = kOutside, .tagged = {}, .qinq = {}};
    NatPool pool;
    pool.addresses = {{to_be32(kPoolFirst), to_be32(kPoolFirst + 15)}};
    pool.address_count = 16;
    s.pools = {pool};
    for (const Zone to : {Zone::private_peering, Zone::microsoft_peering, Zone::tunnel}) {
        allow(s, Zone::lan, to);
    }
    allow(s, Zone::translated, Zone::lan);
    allow(s, Zone::tunnel, Zone::lan);
}

// Group 0 leads inside. Group 1 + i is route i's: two next hops outside, or a pair of tunnels.
void Site::make_groups(Snapshot& s) const {
    const bool nat = is_nat(path_);
    s.egresses = {leg_egress(EgressKind::leg, Zone::lan, kInside, 1, kNone)};
    s.groups = {{0, 0}};
    s.buckets = {0};
    const auto first = static_cast<std::uint16_t>(s.egresses.size());
    const unsigned members = is_esp(path_) ? setting_.tunnels : 2;
    for (unsigned i = 0; i < members; ++i) {
        if (is_esp(path_)) {
            s.egresses.push_back({.kind = EgressKind::tunnel,
                                  .zone = Zone::tunnel,
                                  .tunnel = static_cast<std::uint16_t>(i),
                                  .mtu = 1446});
        } else {
            s.egresses.push_back(leg_egress(nat ? EgressKind::nat : EgressKind::leg, s.legs[kOutside].zone, kOutside,
                                            static_cast<std::uint8_t>(2 + i), nat ? std::uint16_t{0} : kNone));
        }
    }
    for (unsigned route = 0; route < setting_.routes; ++route) {
        const unsigned per_route = std::min(members, is_esp(path_) ? setting_.tunnels_per_route : 2);
        const std::uint32_t buckets = per_route == 1 ? 1 : kGroupBuckets;
        s.groups.push_back({static_cast<std::uint32_t>(s.buckets.size()), buckets - 1});
        for (std::uint32_t b = 0; b < buckets; ++b) {
            s.buckets.push_back(static_cast<std::uint16_t>(first + (per_route * route + b % per_route) % members));
        }
    }
}

Result<void> Site::make_tunnels(Snapshot& s, Engine& engine) {
    const auto outer = static_cast<std::uint16_t>(s.egresses.size());
    s.egresses.push_back(leg_egress(EgressKind::leg, Zone::microsoft_peering, kOutside, 2, kNone));
    peer_.egresses = {leg_egress(EgressKind::leg, Zone::internet, 0, 0, kNone)};
    peer_.egresses[0].leg = 0;
    std::ranges::copy(kOurMac, peer_.egresses[0].rewrite.begin());
    const auto add_outbound = [&](std::uint32_t spi) -> std::expected<OutboundSa*, std::string> {
        auto sa = OutboundSa::create(engine, sa_config(setting_.suite, spi));
        if (!sa) {
            return std::unexpected(sa.error());
        }
        (*sa)->raise_limit((*sa)->end_of_sequence());
        return outbound_.emplace_back(std::move(*sa)).get();
    };
    for (unsigned i = 0; i < setting_.tunnels; ++i) {
        const auto ours = add_outbound(0x1000 + i);
        const auto theirs = add_outbound(0x8000 + i);
        auto in = InboundSa::create(engine, sa_config(setting_.suite, 0x8000 + i), setting_.window);
        if (!ours || !theirs || !in) {
            return std::unexpected(Error{"tunnel " + std::to_string(i) + ": " +
                                         (!ours     ? ours.error()
                                          : !theirs ? theirs.error()
                                                    : in.error())});
        }
        Tunnel tunnel{.out = *ours, .outer_egress = outer, .up = true};
        set_ends(tunnel, setting_.outer, i);
        make_outer_header(tunnel);
        s.tunnels.push_back(tunnel);
        tunnel.out = *theirs;
        tunnel.outer_egress = 0;
        std::swap(tunnel.local, tunnel.remote);
        make_outer_header(tunnel);
        peer_.tunnels.push_back(tunnel);
        entries_.push_back({0x8000 + i, static_cast<std::uint16_t>(i), in->get(), tunnel.encapsulation});
        inbound_.push_back(std::move(*in));
    }
    s.inbound_sas = InboundSaTable(entries_);
    return {};
}

Result<void> Site::make_routes() {
    const bool encrypt = is_esp(path_);
    for (unsigned i = 0; i < setting_.routes; ++i) {
        if (const auto r = fib_.insert(route_prefix(i), 24, {RouteKind::forward, 1 + i, encrypt}); !r) {
            return r;
        }
    }
    if (const auto r = fib_.insert(to_be32(kInsideNet), 16, {RouteKind::forward, 0}); !r) {
        return r;
    }
    if (const auto r = fib_.insert(to_be32(kPoolFirst), 28, {RouteKind::pool, 0}); !r) {
        return r;
    }
    if (const auto r = fib6_.insert(ipv6_end(kTunnelLocal).v6(), 128, {RouteKind::local, 0}); !r) {
        return r;
    }
    return fib_.insert(to_be32(kTunnelLocal), 32, {RouteKind::local, 0});
}

// From the inside; the inbound paths turn them round.
void Site::make_flows() {
    const unsigned busy = setting_.busy_routes != 0 ? setting_.busy_routes : setting_.routes;
    for (unsigned i = 0; i < setting_.sessions; ++i) {
        const unsigned route = i % busy;
        Flow flow{
            .src = to_be32(kInsideNet + 2 + i / 16 % 0xff00),
            .dst = to_be32(kRemoteNet + (route << 8) + 1 + i / busy % 250),
            .src_port = to_be16(static_cast<std::uint16_t>(kEphemeral + i * 7919u % kEphemerals)),
            .dst_port = to_be16(443),
            .tunnel = static_cast<std::uint16_t>(i % std::min(busy * setting_.tunnels_per_route, setting_.tunnels))};
        if (path_ == Path::esp_in) {
            std::swap(flow.src, flow.dst);
            std::swap(flow.src_port, flow.dst_port);
        }
        flows_.push_back(flow);
    }
    std::ranges::shuffle(flows_, std::mt19937{1});
}

Result<void> Site::open_sessions(std::uint32_t now_seconds) {
    for (const Flow& flow : flows_) {
        const NatTable::Opened opened = nat_->open(0, inside_key(flow), published_->pools[0], now_seconds);
        if (opened.session == nullptr) {
            return std::unexpected(
                Error{"a NAT session of the benchmark: " + std::string{twinspan::name_of(opened.reason)}});
        }
    }
    return {};
}

Result<void> Site::turn_round() {
    std::array<NatKey, kBurst> keys;
    std::array<NatSession*, kBurst> sessions;
    for (std::size_t at = 0; at < flows_.size(); at += kBurst) {
        const std::span flows{&flows_[at], std::min<std::size_t>(kBurst, flows_.size() - at)};
        std::ranges::transform(flows, keys.begin(), inside_key);
        nat_->find_inside({keys.data(), flows.size()}, sessions.data());
        for (std::size_t i = 0; i < flows.size(); ++i) {
            if (sessions[i] == nullptr) {
                return std::unexpected(Error{"a flow of the benchmark has no NAT session"});
            }
            const NatKey outside = sessions[i]->outside();
            flows[i] = {.src = outside.remote(),
                        .dst = outside.address(),
                        .src_port = outside.remote_port(),
                        .dst_port = outside.port(),
                        .tunnel = 0};
        }
    }
    path_ = Path::nat_in;
    return {};
}

// As control does it: new SAs, a new snapshot, and what the old one pointed to waits for the grace period.
Result<void> Site::rekey(const std::vector<unsigned>& tunnels, Engine& engine) {
    if (slot_->reclaim() == 0) {
        retired_.clear();  // snapshots that pointed to them are gone
    }
    auto next = std::make_unique<Snapshot>(*published_);
    for (const unsigned i : tunnels) {
        const std::uint32_t spi = next_spi_++;
        auto out = OutboundSa::create(engine, sa_config(setting_.suite, spi));
        auto in = InboundSa::create(engine, sa_config(setting_.suite, spi), setting_.window);
        if (!out || !in) {
            return std::unexpected(Error{!out ? out.error() : in.error()});
        }
        (*out)->raise_limit((*out)->end_of_sequence());
        next->tunnels[i].out = out->get();
        entries_[i].spi = spi;
        entries_[i].sa = in->get();
        std::swap(outbound_[2 * i], *out);  // ours and the peer's take turns
        std::swap(inbound_[i], *in);
        retired_.push_back({std::move(*out), std::move(*in)});
    }
    next->inbound_sas = InboundSaTable(entries_);
    published_ = next.get();
    slot_->publish(std::move(next));
    return {};
}

}  // namespace twinspan::bench
