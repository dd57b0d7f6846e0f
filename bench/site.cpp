#include "bench/site.hpp"

#include <algorithm>
#include <cstring>
#include <random>
#include <string>

namespace twinspan::bench {
namespace {

constexpr std::uint32_t kGroupBuckets = 256;
constexpr std::uint32_t kRemoteNet = 0x0d000000;   // 13.0.0.0: route i is the /24 13.(i/256).(i%256).0
constexpr std::uint32_t kInsideNet = 0x0a0a0000;   // 10.10.0.0/16
constexpr std::uint32_t kPoolFirst = 0xc6336400;   // 198.51.100.0/28
constexpr std::uint32_t kTunnelLocal = 0xcb007101; // 203.0.113.1
constexpr std::uint32_t kTunnelRemote = 0x14330000;// 20.51.0.0, one address a tunnel

constexpr be32 route_prefix(unsigned i) { return to_be32(kRemoteNet + (i << 8)); }

Egress leg_egress(EgressKind kind, Zone zone, std::uint16_t port, std::uint8_t neighbour, std::uint16_t pool) {
    Egress e{.kind = kind, .zone = zone, .rewrite_length = 12, .port = port, .leg = port, .pool = pool};
    const MacAddress dst{0x02, 0x00, 0x00, 0x00, 0x01, neighbour};
    std::ranges::copy(dst, e.rewrite.begin());
    std::ranges::copy(kOurMac, e.rewrite.begin() + 6);
    return e;
}

SaConfig sa_config(std::uint32_t spi) {
    SaConfig config;
    config.spi = spi;
    config.suite = Suite::aes_256_gcm;
    config.keymat = SecretBytes(keymat_len(config.suite));
    std::mt19937 random(spi);
    std::ranges::generate(std::span{config.keymat.data(), config.keymat.size()},
                          [&] { return static_cast<std::uint8_t>(random()); });
    return config;
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
    Result<Fib4> fib = Fib4::create("bench" + std::to_string(serial++), 4096);
    if (!fib) {
        return std::unexpected(fib.error());
    }
    std::unique_ptr<Site> site{new Site(path, setting, std::move(*fib))};
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
    const Snapshot& published = *snapshot;
    slot_ = std::make_unique<SnapshotSlot>(1, std::move(snapshot));
    nat_ = std::make_unique<NatTable>(NatTableOptions{.sessions = std::max(2 * setting_.sessions, 1u << 15), .seed = 1},
                                      slot_->readers());
    return path_ == Path::nat_out || path_ == Path::nat_in ? open_sessions(published, now_seconds) : Result<void>{};
}

void Site::make_legs(Snapshot& s) const {
    const bool nat = path_ == Path::nat_out || path_ == Path::nat_in;
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
    const bool nat = path_ == Path::nat_out || path_ == Path::nat_in;
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
        const std::uint32_t buckets = members == 1 ? 1 : kGroupBuckets;
        s.groups.push_back({static_cast<std::uint32_t>(s.buckets.size()), buckets - 1});
        for (std::uint32_t b = 0; b < buckets; ++b) {
            s.buckets.push_back(static_cast<std::uint16_t>(first + (2 * route + b % 2) % members));
        }
    }
}

Result<void> Site::make_tunnels(Snapshot& s, Engine& engine) {
    const auto outer = static_cast<std::uint16_t>(s.egresses.size());
    s.egresses.push_back(leg_egress(EgressKind::leg, Zone::microsoft_peering, kOutside, 2, kNone));
    peer_.egresses = {leg_egress(EgressKind::leg, Zone::internet, 0, 0, kNone)};
    peer_.egresses[0].leg = 0;
    std::ranges::copy(kOurMac, peer_.egresses[0].rewrite.begin());
    std::vector<InboundSaEntry> entries;
    const auto add_outbound = [&](std::uint32_t spi) -> std::expected<OutboundSa*, std::string> {
        auto sa = OutboundSa::create(engine, sa_config(spi));
        if (!sa) {
            return std::unexpected(sa.error());
        }
        (*sa)->raise_limit((*sa)->end_of_sequence());
        return outbound_.emplace_back(std::move(*sa)).get();
    };
    for (unsigned i = 0; i < setting_.tunnels; ++i) {
        const auto ours = add_outbound(0x1000 + i);
        const auto theirs = add_outbound(0x2000 + i);
        auto in = InboundSa::create(engine, sa_config(0x2000 + i), 1024);
        if (!ours || !theirs || !in) {
            return std::unexpected(Error{"tunnel " + std::to_string(i) + ": " +
                                         (!ours     ? ours.error()
                                          : !theirs ? theirs.error()
                                                    : in.error())});
        }
        Tunnel tunnel{.out = *ours,
                      .outer_egress = outer,
                      .up = true,
                      .local = IpAddress::from(to_be32(kTunnelLocal)),
                      .remote = IpAddress::from(to_be32(kTunnelRemote + i))};
        make_outer_header(tunnel);
        s.tunnels.push_back(tunnel);
        tunnel.out = *theirs;
        tunnel.outer_egress = 0;
        std::swap(tunnel.local, tunnel.remote);
        make_outer_header(tunnel);
        peer_.tunnels.push_back(tunnel);
        entries.push_back({0x2000 + i, static_cast<std::uint16_t>(i), in->get()});
        inbound_.push_back(std::move(*in));
    }
    s.inbound_sas = InboundSaTable(entries);
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
    return fib_.insert(to_be32(kTunnelLocal), 32, {RouteKind::local, 0});
}

// From the inside; the inbound paths turn them round.
void Site::make_flows() {
    for (unsigned i = 0; i < setting_.sessions; ++i) {
        const unsigned route = i % setting_.routes;
        Flow flow{.src = to_be32(kInsideNet + 2 + i / 16 % 0xff00),
                  .dst = to_be32(kRemoteNet + (route << 8) + 1 + i / setting_.routes % 250),
                  .src_port = to_be16(static_cast<std::uint16_t>(10'000 + i % 16)),
                  .dst_port = to_be16(443),
                  .tunnel = static_cast<std::uint16_t>(i % setting_.tunnels)};
        if (path_ == Path::esp_in) {
            std::swap(flow.src, flow.dst);
            std::swap(flow.src_port, flow.dst_port);
        }
        flows_.push_back(flow);
    }
    std::ranges::shuffle(flows_, std::mt19937{1});
}

Result<void> Site::open_sessions(const Snapshot& s, std::uint32_t now_seconds) {
    for (Flow& flow : flows_) {
        const NatKey inside = nat_key(flow.src, flow.dst, flow.src_port, flow.dst_port, +IpProtocol::udp, 0);
        const NatTable::Opened opened = nat_->open(0, inside, s.pools[0], now_seconds);
        if (opened.session == nullptr) {
            return std::unexpected(
                Error{"a NAT session of the benchmark: " + std::string{twinspan::name_of(opened.reason)}});
        }
        if (path_ == Path::nat_in) {
            const NatKey outside = opened.session->outside();
            flow = {.src = outside.remote(),
                    .dst = outside.address(),
                    .src_port = outside.remote_port(),
                    .dst_port = outside.port(),
                    .tunnel = 0};
        }
    }
    return {};
}

}  // namespace twinspan::bench
