#include "tests/support/small_world.hpp"

#include <algorithm>
#include <stdexcept>

namespace twinspan::test {
namespace {

bool covers(const std::uint8_t* prefix, unsigned length, const std::uint8_t* address) {
    for (unsigned bit = 0; bit < length; ++bit) {
        if (((prefix[bit / 8] ^ address[bit / 8]) >> (7 - bit % 8) & 1) != 0) {
            return false;
        }
    }
    return true;
}

template <class T>
T value_or_throw(std::expected<T, std::string> result) {
    if (!result) {
        throw std::runtime_error(result.error());
    }
    return std::move(*result);
}

SaConfig sa_config(std::uint32_t spi, std::uint8_t key_byte) {
    SaConfig config;
    config.spi = spi;
    config.suite = Suite::aes_256_gcm;
    config.keymat = SecretBytes(keymat_len(Suite::aes_256_gcm));
    std::fill_n(config.keymat.data(), config.keymat.size(), key_byte);
    return config;
}

Egress leg_egress(EgressKind kind, Zone zone, std::uint16_t port, std::uint16_t leg, const MacAddress& dst,
                  const Leg& from) {
    Egress e{.kind = kind, .zone = zone, .port = port, .leg = leg};
    std::ranges::copy(dst, e.rewrite.begin());
    std::ranges::copy(from.mac, e.rewrite.begin() + 6);
    e.rewrite_length = static_cast<std::uint8_t>(12 + 4 * from.tag_count);
    std::copy_n(reinterpret_cast<const std::uint8_t*>(from.tags.data()), 4 * from.tag_count, e.rewrite.begin() + 12);
    return e;
}

constexpr std::uint16_t kBufferRoom = 2048, kLargeRoom = kLargePacket + 256;

template <std::uint16_t room>
bool take_from(void* arg, rte_mbuf** out, std::uint16_t n) noexcept {
    auto& world = *static_cast<SmallWorld*>(arg);
    if (n > world.buffers_left) {
        return false;
    }
    world.buffers_left -= n;
    for (std::uint16_t i = 0; i < n; ++i) {
        out[i] = &world.made.emplace_back(std::span<const std::uint8_t>{}, room).mbuf;
    }
    return true;
}

}  // namespace

void NaiveFib::insert4(const std::string& prefix, unsigned length, RouteResult result) {
    v4_.push_back({ip4(prefix).host(), length, result});
}

void NaiveFib::insert6(const std::string& prefix, unsigned length, RouteResult result) {
    v6_.push_back({ip6(prefix), length, result});
}

Lookup4 NaiveFib::lookup4() const { return {this, &find4}; }
Lookup6 NaiveFib::lookup6() const { return {this, &find6}; }

void NaiveFib::find4(const void* self, const std::uint32_t* dst, std::uint64_t* out, unsigned n) noexcept {
    for (unsigned i = 0; i < n; ++i) {
        out[i] = RouteResult::dropped(Drop::no_route).raw();
        int best = -1;
        for (const Entry4& e : static_cast<const NaiveFib*>(self)->v4_) {
            const std::uint32_t mask = e.length == 0 ? 0 : ~std::uint32_t{0} << (32 - e.length);
            if (((e.prefix ^ dst[i]) & mask) == 0 && static_cast<int>(e.length) > best) {
                best = static_cast<int>(e.length);
                out[i] = e.result.raw();
            }
        }
    }
}

void NaiveFib::find6(const void* self, const Ipv6Address* dst, std::uint64_t* out, unsigned n) noexcept {
    for (unsigned i = 0; i < n; ++i) {
        out[i] = RouteResult::dropped(Drop::no_route).raw();
        int best = -1;
        for (const Entry6& e : static_cast<const NaiveFib*>(self)->v6_) {
            if (covers(e.prefix.data(), e.length, dst[i].data()) && static_cast<int>(e.length) > best) {
                best = static_cast<int>(e.length);
                out[i] = e.result.raw();
            }
        }
    }
}

SmallWorld::SmallWorld() : engine(value_or_throw(Engine::create())), context(new Context{}), ctx(*context) {
    make_buffers();
    make_legs();
    make_paths();
    make_tunnels();
    make_routes();
    ctx.config = &config;
    ctx.counters = &counters;
    ctx.crypto = &engine;
    ctx.icmp_tokens = 1000;
    ctx.punt_tokens.fill(1000);
    ctx.now_seconds = 1000;
}

void SmallWorld::make_buffers() {
    ctx.buffers = {.take = take_from<kBufferRoom>, .arg = this, .room = kBufferRoom};
    ctx.large_buffers = {.take = take_from<kLargeRoom>, .arg = this, .room = kLargeRoom};
}

void SmallWorld::make_legs() {
    auto leg = [](std::uint16_t port, std::uint16_t netdev, Zone zone, Link link, std::uint16_t vlan,
                  const MacAddress& mac, const char* address) {
        Leg l{.port = port, .netdev = netdev, .zone = zone, .link = link, .mac = mac, .address4 = ip4(address)};
        if (vlan != 0) {
            l.tag_count = 1;
            l.tags[0] = {kEtherTypeVlan, to_be16(vlan)};
        }
        return l;
    };
    config.legs = {leg(kLanPort, kLanTap, Zone::lan, Link::none, 0, kOurLanMac, "10.10.0.1"),
                   leg(kPriPort, kMsftPriTap, Zone::microsoft_peering, Link::primary, 300, kOurPriMac, "203.0.113.1"),
                   leg(kSecPort, kMsftSecTap, Zone::microsoft_peering, Link::secondary, 300, kOurSecMac, "203.0.113.5"),
                   leg(kPriPort, kPubPriTap, Zone::public_peering, Link::primary, 200, kOurPriMac, "192.0.2.1"),
                   leg(kSecPort, kPubSecTap, Zone::public_peering, Link::secondary, 200, kOurSecMac, "192.0.2.5")};
    config.legs[kLan].address6 = ip6("fd10:10::1");
    config.ports.resize(3);
    config.ports[kLanPort] = {.untagged = kLan, .tagged = {}, .qinq = {}};
    for (const PortIndex port : {kPriPort, kSecPort}) {
        config.ports[port].tagged.assign(4096, kNone);
    }
    config.ports[kPriPort].tagged[300] = kMsftPri;
    config.ports[kPriPort].tagged[200] = kPubPri;
    config.ports[kSecPort].tagged[300] = kMsftSec;
    config.ports[kSecPort].tagged[200] = kPubSec;
    config.netdevs = {{false, kLan},    {false, kMsftPri}, {false, kMsftSec}, {false, kPubPri},
                      {false, kPubSec}, {true, 0},         {true, 1}};
}

void SmallWorld::make_paths() {
    const auto& legs = config.legs;
    const Zone msft = Zone::microsoft_peering;
    config.egresses.resize(9);
    config.egresses[kToLanHost] = leg_egress(EgressKind::leg, Zone::lan, kLanPort, kLan, kHostMac, legs[kLan]);
    config.egresses[kToMsftPri] = leg_egress(EgressKind::nat, msft, kPriPort, kMsftPri, kMsee1Mac, legs[kMsftPri]);
    config.egresses[kToMsftSec] = leg_egress(EgressKind::nat, msft, kSecPort, kMsftSec, kMsee2Mac, legs[kMsftSec]);
    config.egresses[kToMsftPri].pool = config.egresses[kToMsftSec].pool = 0;
    config.egresses[kOuterPri] = leg_egress(EgressKind::leg, msft, kPriPort, kMsftPri, kMsee1Mac, legs[kMsftPri]);
    config.egresses[kOuterSec] = leg_egress(EgressKind::leg, msft, kSecPort, kMsftSec, kMsee2Mac, legs[kMsftSec]);
    config.egresses[kIntoTunnel0] = {.kind = EgressKind::tunnel, .zone = Zone::tunnel, .tunnel = 0, .mtu = 1446};
    config.egresses[kIntoTunnel1] = {.kind = EgressKind::tunnel, .zone = Zone::tunnel, .tunnel = 1, .mtu = 1446};
    config.egresses[kDown] = {.kind = EgressKind::drop, .reason = Drop::tunnel_down};
    config.egresses[kGlean] = {.kind = EgressKind::glean, .zone = Zone::lan, .leg = kLan};
    auto group = [this](std::initializer_list<std::uint16_t> members) {
        config.groups.push_back(
            {static_cast<std::uint32_t>(config.buckets.size()), static_cast<std::uint32_t>(members.size() - 1)});
        config.buckets.insert(config.buckets.end(), members);
    };
    group({kToLanHost});
    group({kToMsftPri, kToMsftSec});
    group({kToMsftPri});
    group({kIntoTunnel0, kIntoTunnel1});
    group({kIntoTunnel0});
    group({kDown});
    group({kGlean});
    config.pools.resize(2);
    config.pools[0].zone = msft;
    config.pools[0].addresses = {{ip4("198.51.100.0"), ip4("198.51.100.15")}};
    config.pools[0].address_count = 16;
    config.pools[1].zone = Zone::public_peering;
    config.pools[1].addresses = {{ip4("198.51.100.16"), ip4("198.51.100.19")}};
    config.pools[1].address_count = 4;
    auto allow = [this](Zone from, std::initializer_list<Zone> to) {
        for (const Zone z : to) {
            config.may_send[static_cast<std::size_t>(from)] |=
                static_cast<std::uint8_t>(1u << static_cast<unsigned>(z));
        }
    };
    const auto everywhere = {Zone::lan, Zone::private_peering, Zone::public_peering,
                             msft,      Zone::internet,        Zone::tunnel};
    allow(Zone::lan, everywhere);
    allow(Zone::self, everywhere);
    allow(Zone::tunnel, {Zone::lan, Zone::private_peering});
    allow(Zone::translated, {Zone::lan, Zone::private_peering});
}

void SmallWorld::make_tunnels() {
    out0 = value_or_throw(OutboundSa::create(engine, sa_config(0x1001, 0x11)));
    out1 = value_or_throw(OutboundSa::create(engine, sa_config(0x1002, 0x12)));
    in0 = value_or_throw(InboundSa::create(engine, sa_config(0x2001, 0x21), 1024));
    in1 = value_or_throw(InboundSa::create(engine, sa_config(0x2002, 0x22), 1024));
    peer0 = value_or_throw(OutboundSa::create(engine, sa_config(0x2001, 0x21)));
    peer_in0 = value_or_throw(InboundSa::create(engine, sa_config(0x1001, 0x11), 1024));
    for (OutboundSa* sa : {out0.get(), out1.get(), peer0.get()}) {
        sa->raise_limit(1u << 20);
    }
    auto tunnel = [](OutboundSa* out, std::uint16_t outer, std::uint16_t netdev, const char* local,
                     const char* remote) {
        Tunnel t{.out = out,
                 .outer_egress = outer,
                 .netdev = netdev,
                 .up = true,
                 .local = IpAddress::from(ip4(local)),
                 .remote = IpAddress::from(ip4(remote))};
        make_outer_header(t);
        return t;
    };
    config.tunnels = {tunnel(out0.get(), kOuterPri, kTun0, "203.0.113.1", "20.51.0.4"),
                      tunnel(out1.get(), kOuterSec, kTun1, "203.0.113.5", "20.51.0.5")};
    receive();
}

void SmallWorld::receive() {
    config.inbound_sas = InboundSaTable({{0x2001, 0, in0.get(), config.tunnels[0].encapsulation},
                                         {0x2002, 1, in1.get(), config.tunnels[1].encapsulation}});
}

void SmallWorld::encapsulate(std::size_t tunnel, std::uint16_t local_port, std::uint16_t remote_port) {
    Tunnel& t = config.tunnels[tunnel];
    t.encapsulation = {to_be16(local_port), to_be16(remote_port)};
    config.listen_for_esp(t.encapsulation.local_port);
    make_outer_header(t);
    receive();
}

void SmallWorld::between(std::size_t tunnel, const std::string& local, const std::string& remote) {
    Tunnel& t = config.tunnels[tunnel];
    t.local = IpAddress::parse(local).value();
    t.remote = IpAddress::parse(remote).value();
    make_outer_header(t);
}

void SmallWorld::make_routes() {
    const auto to = [](GroupIndex group, bool encrypt = false) {
        return RouteResult{RouteKind::forward, group, encrypt};
    };
    const RouteResult local{RouteKind::local, 0};
    fib.insert4("10.10.0.0", 24, {RouteKind::connected, kLan});
    fib.insert4("10.10.0.10", 32, to(kLanHost));
    for (const char* ours : {"10.10.0.1", "203.0.113.1", "203.0.113.5", "192.0.2.1", "192.0.2.5"}) {
        fib.insert4(ours, 32, local);
    }
    fib.insert4("13.107.6.0", 24, to(kMsftBoth));
    fib.insert4("13.107.7.0", 24, to(kMsftPrimary));
    fib.insert4("198.51.100.0", 28, {RouteKind::pool, 0});
    fib.insert4("198.51.100.16", 30, {RouteKind::pool, 1});
    fib.insert4("10.20.0.0", 16, to(kTunnel0Only, true));
    fib.insert4("10.21.0.0", 16, to(kTunnelsBoth, true));
    fib.insert4("10.22.0.0", 16, to(kMsftPrimary, true));  // a route that policy must not follow
    fib.insert4("10.23.0.0", 16, to(kAllDown, true));
    fib.insert4("10.10.9.0", 24, to(kUnresolved));
    fib.insert4("192.0.2.128", 25, RouteResult::dropped(Drop::route_blackhole));
    fib.insert6("fd10:10::", 64, to(kLanHost));
    fib.insert6("fd10:10::1", 128, local);
    fib.insert6("fd10:20::", 64, to(kTunnel0Only, true));
    config.fib4 = fib.lookup4();
    config.fib6 = fib.lookup6();
}

TestPacket& SmallWorld::packet(std::span<const std::uint8_t> bytes, std::uint16_t port) {
    TestPacket& p = packets_.emplace_back(bytes);
    p.mbuf.port = port;
    return p;
}

TestPacket& SmallWorld::from_lan(std::span<const std::uint8_t> ip_packet) {
    return packet(ethernet_frame(kOurLanMac, kHostMac, {}, ip_packet), kLanPort);
}

TestPacket& SmallWorld::from_msee(std::span<const std::uint8_t> ip_packet, std::uint16_t vlan, PortIndex port) {
    const VlanTag tag{kEtherTypeVlan, to_be16(vlan)};
    const MacAddress& ours = port == kPriPort ? kOurPriMac : kOurSecMac;
    const MacAddress& theirs = port == kPriPort ? kMsee1Mac : kMsee2Mac;
    return packet(ethernet_frame(ours, theirs, {&tag, 1}, ip_packet), port);
}

bool SmallWorld::accounts_are_right() const {
    const WorkerCounters& c = counters;
    return c.rx.read() + c.injected.read() + c.generated.read() + c.fragmented.read() + c.taken.read() ==
           c.tx.read() + c.punted.read() + c.merged.read() + c.handed.read() + c.held.read() + all_drops();
}

std::uint64_t SmallWorld::all_drops() const {
    std::uint64_t sum = 0;
    for (const DropInfo& d : kDropInfo) {
        sum += counters[d.id].read();
    }
    return sum;
}

}  // namespace twinspan::test
