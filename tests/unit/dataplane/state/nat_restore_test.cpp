// Sessions of one table opened again in another, as after a restart: with other hashes, and a clock that went on.
#include "dataplane/state/nat_table.hpp"

#include "tests/support/nat_world.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace twinspan {
namespace {

using test::ip4;
using test::nat_pool;
using test::NatWorld;

constexpr std::uint8_t kTcp = +IpProtocol::tcp, kUdp = +IpProtocol::udp, kIcmp = +IpProtocol::icmp, kGre = 47;
constexpr std::uint32_t kRemote = 0x0d6b0601;

NatKey inside(std::uint32_t host, std::uint16_t port, std::uint8_t protocol = kUdp, std::uint32_t remote = kRemote,
              std::uint16_t pool = 0) {
    const bool has_ports = protocol == kTcp || protocol == kUdp;
    return nat_key(to_be32(0x0a000000 + host), to_be32(remote), to_be16(protocol == kGre ? 0 : port),
                   to_be16(has_ports ? 443 : 0), protocol, pool);
}

// A second table of the same pools; or of others.
struct Again {
    explicit Again(std::vector<NatPool> p, std::uint32_t sessions = 2048)
        : pools(std::move(p)), readers(1), table({.sessions = sessions, .workers = 1, .seed = 77}, *readers) {}
    NatRestored restore(std::span<const NatSessionView> sessions) { return table.restore(sessions, pools, now); }
    NatTable::Opened open(const NatKey& key) { return table.open(0, key, pools[key.pool()], now); }
    void forget_all() {
        now += 100'000;
        for (int i = 0; i < 3; ++i) {
            table.age(0, now, pools, 1u << 24);
            readers.quiescent(0);
        }
    }

    std::vector<NatPool> pools;
    test::Readers readers;
    NatTable table;
    std::uint32_t now = 1000;
};

std::vector<NatSessionView> views(const NatTable& table) {
    std::vector<NatSessionView> all;
    table.for_each(1u << 20, [&](const NatSessionView& view) { all.push_back(view); });
    std::ranges::sort(all, {}, [](const NatSessionView& v) { return std::pair{v.inside.addresses, v.inside.rest}; });
    return all;
}

auto fields(const NatSessionView& v) {
    return std::tuple{v.inside.addresses, v.inside.rest, v.outside.addresses, v.outside.rest, v.created,
                      v.last_seen,        v.tcp};
}

void expect_equal(const std::vector<NatSessionView>& a, const std::vector<NatSessionView>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
        ASSERT_EQ(fields(a[i]), fields(b[i])) << i;
    }
}

// Nothing that ended, or failed, has left a record behind: as many sessions fit as in the beginning.
void expect_all_free(Again& again, std::uint32_t capacity = 2048) {
    again.forget_all();
    EXPECT_EQ(again.table.usage(0).sessions, 0u);
    EXPECT_EQ(again.table.ports_in_use(ip4("198.51.100.1"), NatProtocol::udp), 0u);
    again.pools[0] = nat_pool({"198.51.100.200"});
    for (std::uint32_t i = 0; i < capacity; ++i) {
        ASSERT_NE(again.open(inside(i, 5000)).session, nullptr) << i;
    }
}

struct Kind {
    std::string name;
    NatPool pool;
    friend void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }
};

std::vector<Kind> kinds() {
    const NatPool plain = nat_pool({"198.51.100.1", "198.51.100.2", "198.51.100.3"}, 2000, 4047);
    std::vector<Kind> all{{"plain", plain}};
    NatPool mapped = plain;
    mapped.mapping = NatMapping::endpoint_independent;
    mapped.open_filter = true;
    all.push_back({"mapped", mapped});
    NatPool blocks = plain;
    blocks.block_ports = 16;
    blocks.host_blocks = 4;
    all.push_back({"blocks", blocks});
    NatPool both = mapped;
    both.block_ports = 16;
    both.host_blocks = 4;
    all.push_back({"mapped_in_blocks", both});
    NatPool limited = plain;
    limited.host_sessions = 40;
    limited.host_rate = 1000;
    all.push_back({"limited", limited});
    return all;
}

class NatRestoreKind : public testing::TestWithParam<Kind> {};
INSTANTIATE_TEST_SUITE_P(, NatRestoreKind, testing::ValuesIn(kinds()), [](const auto& at) { return at.param.name; });

// All protocols, several remote ends of one endpoint, ports that were preserved and some that were not.
std::vector<NatSessionView> some_sessions(NatWorld& world) {
    std::mt19937 random{5};
    for (std::uint32_t i = 0; i < 600; ++i) {
        const std::uint8_t protocol = std::array{kTcp, kUdp, kIcmp, kGre}[random() % 4];
        const auto port = static_cast<std::uint16_t>(1990 + random() % 30);
        const auto host = static_cast<std::uint32_t>(random() % 20);
        const NatKey key = inside(host, port, protocol, kRemote + static_cast<std::uint32_t>(random() % 5));
        world.context->now_seconds = 980 + i / 40;
        NatSession* session = world.table.open(0, key, world.snapshot.pools[0], world.context->now_seconds).session;
        if (session != nullptr && protocol == kTcp) {
            session->tcp = nat_tcp::kAckOut | (random() % 2 == 0 ? nat_tcp::kAckIn : std::uint8_t{0});
        }
    }
    return views(world.table);
}

TEST_P(NatRestoreKind, EverySessionIsWhatItWas) {
    NatWorld world{{GetParam().pool}, 2048};
    const std::vector<NatSessionView> before = some_sessions(world);
    ASSERT_GT(before.size(), 250u);
    Again again{{GetParam().pool}};
    const NatRestored restored = again.restore(before);
    EXPECT_EQ(restored.restored, before.size());
    expect_equal(views(again.table), before);
    for (const NatSessionView& view : before) {
        NatSession* session = again.table.find_inside(view.inside);
        ASSERT_NE(session, nullptr);
        EXPECT_EQ(again.table.find_outside(view.outside), session);
        const NatSession* old = world.table.find_inside(view.inside);
        EXPECT_EQ(session->ip_delta.apply(be16{0x1234}), old->ip_delta.apply(be16{0x1234}));
        EXPECT_EQ(session->l4_delta.apply(be16{0x1234}), old->l4_delta.apply(be16{0x1234}));
    }
}

TEST_P(NatRestoreKind, CountsAreWhatTheyWere) {
    NatWorld world{{GetParam().pool}, 2048};
    const std::vector<NatSessionView> before = some_sessions(world);
    Again again{{GetParam().pool}};
    again.restore(before);
    for (const char* address : {"198.51.100.1", "198.51.100.2", "198.51.100.3"}) {
        for (const NatProtocol protocol : {NatProtocol::tcp, NatProtocol::udp, NatProtocol::icmp}) {
            EXPECT_EQ(again.table.ports_in_use(ip4(address), protocol),
                      world.table.ports_in_use(ip4(address), protocol));
        }
        EXPECT_EQ(again.table.sessions_on(0, ip4(address)), world.table.sessions_on(0, ip4(address)));
    }
    const NatUsage usage = again.table.usage(0);
    EXPECT_EQ(usage.in_use, world.table.usage(0).in_use);
    EXPECT_EQ(usage.sessions, before.size());
    EXPECT_EQ(usage.restored, before.size());
    EXPECT_EQ(usage.opened, 0u) << "no packet did";
}

TEST_P(NatRestoreKind, NothingIsLeftBehindWhenAllHaveEnded) {
    NatWorld world{{GetParam().pool}, 2048};
    Again again{{GetParam().pool}};
    again.restore(some_sessions(world));
    expect_all_free(again);
}

TEST_P(NatRestoreKind, SecondTimeChangesNothing) {
    NatWorld world{{GetParam().pool}, 2048};
    const std::vector<NatSessionView> before = some_sessions(world);
    Again again{{GetParam().pool}};
    again.restore(before);
    const NatRestored second = again.restore(before);
    EXPECT_EQ(second.restored, 0u);
    EXPECT_EQ(second.left_out, NatRestored{}.left_out);
    expect_equal(views(again.table), before);
    EXPECT_EQ(again.table.ports_in_use(ip4("198.51.100.1"), NatProtocol::udp),
              world.table.ports_in_use(ip4("198.51.100.1"), NatProtocol::udp));
}

TEST(NatRestore, MappingServesItsEndpointAgain) {
    NatPool pool = nat_pool({"198.51.100.1", "198.51.100.2", "198.51.100.3"}, 2000, 65535);
    pool.mapping = NatMapping::endpoint_independent;
    pool.open_filter = true;
    NatWorld world{{pool}, 2048};
    for (std::uint32_t host = 0; host < 50; ++host) {
        world.table.open(0, inside(host, 5000), pool, 1000);
    }
    Again again{{pool}};
    again.restore(views(world.table));
    for (std::uint32_t host = 0; host < 50; ++host) {
        const NatKey was = again.table.find_inside(inside(host, 5000))->outside();
        const NatSession* other = again.open(inside(host, 5000, kUdp, kRemote + 9)).session;
        EXPECT_EQ(other->outside().mapping(), was.mapping()) << "one endpoint, one port";
        EXPECT_EQ(again.open(inside(host, 6000)).session->outside().address(), was.address())
            << "one host, one address";
        const NatKey stranger = nat_key(was.address(), ip4("192.0.2.77"), was.port(), to_be16(9), kUdp);
        EXPECT_NE(again.table.open_mapped(0, stranger, pool, 1000).session, nullptr) << "the filter is open";
    }
}

TEST(NatRestore, HostKeepsItsBlocks) {
    NatPool pool = nat_pool({"198.51.100.1"}, 2000, 2063);
    pool.block_ports = 16;
    pool.host_blocks = 2;
    NatWorld world{{pool}, 2048};
    std::set<std::uint32_t> blocks;
    for (std::uint16_t i = 0; i < 20; ++i) {
        blocks.insert(world.table.open(0, inside(1, i), pool, 1000).session->outside().port().host() / 16);
    }
    ASSERT_EQ(blocks.size(), 2u);
    Again again{{pool}};
    EXPECT_EQ(again.restore(views(world.table)).restored, 20u);
    for (std::uint16_t i = 20; i < 32; ++i) {
        const NatTable::Opened opened = again.open(inside(1, i));
        ASSERT_NE(opened.session, nullptr) << i;
        EXPECT_TRUE(blocks.contains(opened.session->outside().port().host() / 16));
    }
    EXPECT_EQ(again.open(inside(1, 32)).reason, Drop::nat_host_limit);
    EXPECT_FALSE(blocks.contains(again.open(inside(2, 1)).session->outside().port().host() / 16));
    expect_all_free(again);
}

TEST(NatRestore, ABlockThatEndsSaysHowManyPortsItHad) {
    NatPool pool = nat_pool({"198.51.100.1"}, 2000, 2063);
    pool.block_ports = 16;
    NatWorld world{{pool}, 2048};
    ASSERT_NE(world.table.open(0, inside(1, 1), pool, 1000).session, nullptr);
    NatEventRing ring{64, nat_event_bit(NatEventKind::block_freed), 1};
    Again again{{pool}};
    EXPECT_EQ(again.restore(views(world.table)).restored, 1u);
    again.table.tell(0, ring);
    again.forget_all();
    std::vector<std::uint32_t> ports;
    ring.take(64, [&](const NatEvent& event) { ports.push_back(event.value); });
    EXPECT_EQ(ports, std::vector<std::uint32_t>{16});
}

TEST(NatRestore, HostLimitCountsThemAndTheRateDoesNot) {
    NatPool pool = nat_pool({"198.51.100.1"});
    pool.host_sessions = 30;
    pool.host_rate = 4;
    NatWorld world{{pool}, 2048};
    for (std::uint16_t i = 0; i < 30; ++i) {
        ASSERT_NE(world.table.open(0, inside(1, i), pool, 900u + i).session, nullptr);
    }
    Again again{{pool}};
    EXPECT_EQ(again.restore(views(world.table)).restored, 30u);
    EXPECT_EQ(again.open(inside(1, 77)).reason, Drop::nat_host_limit);
    pool.host_sessions = 10;
    Again fewer{{pool}};
    const NatRestored restored = fewer.restore(views(world.table));
    EXPECT_EQ(restored.restored, 10u);
    EXPECT_EQ(restored[NatLeftOut::host_limit], 20u);
}

TEST(NatRestore, TimersGoOn) {
    const NatPool pool = nat_pool({"198.51.100.1"});  // UDP: 300 s, TCP half open: 240 s
    NatWorld world{{pool}};
    world.table.open(0, inside(1, 1), pool, 700);
    world.table.open(0, inside(1, 2), pool, 699);
    NatSession* established = world.table.open(0, inside(1, 3, kTcp), pool, 10).session;
    established->tcp = nat_tcp::kAckOut | nat_tcp::kAckIn;
    world.table.open(0, inside(1, 4, kTcp), pool, 10);
    Again again{{pool}};
    const NatRestored restored = again.restore(views(world.table));
    EXPECT_EQ(restored.restored, 2u);
    EXPECT_EQ(restored[NatLeftOut::expired], 2u);
    again.table.age(0, again.now, again.pools, 1u << 20);
    EXPECT_EQ(again.table.usage(0).sessions, 2u);
    again.now = 1001;
    again.table.age(0, again.now, again.pools, 1u << 20);
    EXPECT_EQ(again.table.find_inside(inside(1, 1)), nullptr);
    EXPECT_NE(again.table.find_inside(inside(1, 3, kTcp)), nullptr);
}

TEST(NatRestore, LeavesOutWhatNoLongerFits) {
    const NatPool pool = nat_pool({"198.51.100.1", "198.51.100.2"}, 2000, 2999);
    NatWorld world{{pool, pool}, 2048};
    for (std::uint32_t host = 0; host < 100; ++host) {
        world.table.open(0, inside(host, static_cast<std::uint16_t>(2000 + host)), pool, 1000);
    }
    world.table.open(0, inside(1, 2500, kUdp, kRemote, 1), pool, 1000);
    const std::vector<NatSessionView> before = views(world.table);
    const auto on_first = static_cast<std::uint64_t>(std::ranges::count_if(before, [](const NatSessionView& view) {
        return view.pool() == 0 && view.outside.address() == ip4("198.51.100.1");
    }));
    Again fewer_addresses{{nat_pool({"198.51.100.1"}, 2000, 2999)}};
    NatRestored restored = fewer_addresses.restore(before);
    EXPECT_EQ(restored.restored, on_first);
    EXPECT_EQ(restored[NatLeftOut::no_address], 100 - on_first);
    EXPECT_EQ(restored[NatLeftOut::no_pool], 1u);

    Again fewer_ports{{nat_pool({"198.51.100.1", "198.51.100.2"}, 2000, 2049), pool}};
    restored = fewer_ports.restore(before);
    EXPECT_EQ(restored[NatLeftOut::no_address], 50u);
    EXPECT_EQ(restored.restored, 51u);

    Again down{{pool, pool}};
    down.pools[0].down = true;
    EXPECT_EQ(down.restore(before)[NatLeftOut::no_pool], 100u);

    Again blocks{{pool, pool}};
    blocks.pools[0].block_ports = 300;  // 2900 to 2999 are no block
    std::vector<NatSessionView> beyond{before[0]};
    beyond[0].outside = nat_key(ip4("198.51.100.1"), to_be32(kRemote), to_be16(2900), to_be16(443), kUdp);
    EXPECT_EQ(blocks.restore(beyond)[NatLeftOut::no_address], 1u);
}

// A port and a whole host, begun from either side, with and without another remote end inside.
struct StaticWorld {
    StaticWorld() : world({made_pool()}, 2048) {
        const NatPool& pool = world.snapshot.pools[0];
        const auto open = [&](const char* at, std::uint16_t out_port, const char* host, std::uint16_t in_port,
                              std::uint8_t protocol, std::uint32_t remote, const NatPool* source) {
            const bool has_ports = protocol == kTcp || protocol == kUdp;
            const be16 far = to_be16(has_ports ? 777 : 0);
            const NatKey outside = nat_key(ip4(at), to_be32(remote), to_be16(out_port), far, protocol);
            const NatKey in = nat_key(ip4(host), to_be32(remote), to_be16(in_port), far, protocol);
            EXPECT_NE(world.table.open_inbound(0, outside, in, pool, 1000, source).session, nullptr);
        };
        for (std::uint32_t i = 0; i < 5; ++i) {
            open("198.51.100.1", 443, "10.0.0.5", 8443, kTcp, kRemote + i, nullptr);
            open("198.51.100.1", 443, "10.0.0.5", 8443, kTcp, kRemote + 10 + i, pool.from_microsoft.get());
            open("198.51.100.9", 53, "10.0.0.6", 53, kUdp, kRemote + i, pool.from_microsoft.get());
            open("198.51.100.9", 0, "10.0.0.6", 0, kGre, kRemote + i, nullptr);
            open("198.51.100.9", 9, "10.0.0.6", 9, kIcmp, kRemote + i, pool.from_microsoft.get());
        }
    }
    static NatPool made_pool() {
        NatPool pool = nat_pool({"198.51.100.1"});
        pool.reserved = {{443, 443}};
        pool.any_protocol = true;
        pool.host_sessions = 100;
        pool.statics = NatStatics{{{ip4("198.51.100.1"), ip4("10.0.0.5"), kTcp, to_be16(443), to_be16(8443)},
                                   {ip4("198.51.100.9"), ip4("10.0.0.6"), 0, {}, {}}}};
        pool.from_microsoft =
            std::make_shared<const NatPool>(nat_pool({"10.9.0.1", "10.9.0.2", "10.9.0.3", "10.9.0.4", "10.9.0.5"}));
        return pool;
    }
    NatWorld world;
};

TEST(NatRestore, StaticMappingsAndOtherRemoteEndsGoOn) {
    StaticWorld from;
    const std::vector<NatSessionView> before = views(from.world.table);
    ASSERT_EQ(before.size(), 25u);
    Again again{{StaticWorld::made_pool()}};
    EXPECT_EQ(again.restore(before).restored, 25u);
    expect_equal(views(again.table), before);
    for (const NatSessionView& view : before) {
        const NatSession* old = from.world.table.find_inside(view.inside);
        const NatSession* session = again.table.find_outside(view.outside);
        EXPECT_EQ(session->flags, old->flags) << "twice or not, and no port is metered";
        EXPECT_EQ(session->ip_delta.apply(be16{0x1234}), old->ip_delta.apply(be16{0x1234}));
        EXPECT_EQ(session->l4_delta.apply(be16{0x1234}), old->l4_delta.apply(be16{0x1234}));
    }
    EXPECT_EQ(again.table.ports_in_use(ip4("198.51.100.1"), NatProtocol::tcp), 0u);
    expect_all_free(again);
}

TEST(NatRestore, StaticMappingsThatChangedAreLeftOut) {
    StaticWorld from;
    const std::vector<NatSessionView> before = views(from.world.table);
    Again other_host{{StaticWorld::made_pool()}};
    other_host.pools[0].statics = NatStatics{{{ip4("198.51.100.1"), ip4("10.0.0.7"), kTcp, to_be16(443), to_be16(8443)},
                                              {ip4("198.51.100.9"), ip4("10.0.0.6"), 0, {}, {}}}};
    EXPECT_EQ(other_host.restore(before)[NatLeftOut::no_address], 10u);
    Again other_port{{StaticWorld::made_pool()}};
    other_port.pools[0].statics = NatStatics{{{ip4("198.51.100.1"), ip4("10.0.0.5"), kTcp, to_be16(443), to_be16(8444)},
                                              {ip4("198.51.100.9"), ip4("10.0.0.6"), 0, {}, {}}}};
    EXPECT_EQ(other_port.restore(before)[NatLeftOut::no_address], 10u);
    Again none{{StaticWorld::made_pool()}};
    none.pools[0].statics = {};
    EXPECT_EQ(none.restore(before)[NatLeftOut::no_address], 25u) << "their ports were never the pool's to give";
    Again no_source{{StaticWorld::made_pool()}};
    no_source.pools[0].from_microsoft = nullptr;
    EXPECT_EQ(no_source.restore(before)[NatLeftOut::no_address], 15u);
}

TEST(NatRestore, NeitherEndIsTakenFromAnother) {
    const NatPool pool = nat_pool({"198.51.100.1"});
    NatWorld world{{pool}};
    world.table.open(0, inside(1, 2000), pool, 1000);
    NatSessionView same_inside = views(world.table)[0];
    NatSessionView same_outside = same_inside;
    same_inside.outside = nat_key(ip4("198.51.100.1"), to_be32(kRemote), to_be16(2001), to_be16(443), kUdp);
    same_outside.inside = inside(2, 2000);
    Again again{{pool}};
    again.open(inside(1, 2000));
    EXPECT_EQ(again.restore(std::vector{same_inside, same_outside})[NatLeftOut::taken], 2u);
    EXPECT_EQ(views(again.table).size(), 1u);
    EXPECT_EQ(again.table.ports_in_use(ip4("198.51.100.1"), NatProtocol::udp), 1u);
    expect_all_free(again);
}

TEST(NatRestore, HostsThatNowHaveBlocksDoNotShareOne) {
    NatPool pool = nat_pool({"198.51.100.1"}, 2000, 2063);
    NatWorld world{{pool}};
    world.table.open(0, inside(1, 2000), pool, 1000);
    world.table.open(0, inside(2, 2001), pool, 1000);
    pool.block_ports = 16;
    Again again{{pool}};
    const NatRestored restored = again.restore(views(world.table));
    EXPECT_EQ(restored.restored, 1u);
    EXPECT_EQ(restored[NatLeftOut::taken], 1u);
}

TEST(NatRestore, WhereMappingsBeginAPortServesOneEndpointAndAnEndpointHasOnePort) {
    NatPool pool = nat_pool({"198.51.100.1"}, 2000, 2063);
    NatWorld world{{pool}};
    world.table.open(0, inside(1, 2000), pool, 1000);
    world.table.open(0, inside(2, 2000, kUdp, kRemote + 1), pool, 1000);  // the same port towards another
    std::vector<NatSessionView> before = views(world.table);
    before.push_back(before[0]);  // the first endpoint, with another port towards another
    before.back().inside = inside(1, 2000, kUdp, kRemote + 2);
    before.back().outside = nat_key(ip4("198.51.100.1"), to_be32(kRemote + 2), to_be16(2001), to_be16(443), kUdp);
    pool.mapping = NatMapping::endpoint_independent;
    Again again{{pool}};
    const NatRestored restored = again.restore(before);
    EXPECT_EQ(restored.restored, 1u);
    EXPECT_EQ(restored[NatLeftOut::taken], 2u);
    expect_all_free(again);
}

TEST(NatRestore, FullTableKeepsWhatItHas) {
    const NatPool pool = nat_pool({"198.51.100.1"});
    NatWorld world{{pool}, 512};
    for (std::uint16_t i = 0; i < 512; ++i) {
        world.table.open(0, inside(1, i), pool, 900).session->tcp =
            i % 2 == 0 ? nat_tcp::kAckOut | nat_tcp::kAckIn : nat_tcp::kAckOut;
    }
    Again same{{pool}, 512};
    EXPECT_EQ(same.restore(views(world.table)).restored, 512u) << "none makes room for another";
    Again smaller{{pool}, 256};
    const NatRestored restored = smaller.restore(views(world.table));
    EXPECT_EQ(restored.restored, 256u);
    EXPECT_EQ(restored[NatLeftOut::no_room], 256u);
    EXPECT_EQ(smaller.table.usage(0).evicted, 0u);
    EXPECT_EQ(smaller.table.usage(0).sessions_exhausted, 0u);
}

TEST(NatRestore, TellsNoEventOfIt) {
    NatPool pool = nat_pool({"198.51.100.1"});
    pool.mapping = NatMapping::endpoint_independent;
    NatWorld world{{pool}};
    world.table.open(0, inside(1, 2000), pool, 1000);
    Again again{{pool}};
    NatEventRings rings{1, ~NatEventMask{0}, 64, 1'000'000};
    again.table.tell(0, rings.of(0));
    again.restore(views(world.table));
    EXPECT_EQ(rings.take(64, [](const NatEvent&) {}), 0u);
    again.open(inside(1, 2001));
    EXPECT_NE(rings.take(64, [](const NatEvent&) {}), 0u);
}

TEST(NatRestore, RecordsMayLieInGivenMemory) {
    std::vector<NatSession> records(257);
    test::Readers readers{1};
    const NatPool pool = nat_pool({"198.51.100.1"});
    {
        NatTable table{{.sessions = 256, .workers = 1, .seed = 1, .records = records.data()}, *readers};
        table.open(0, inside(1, 2000), pool, 1000);
    }
    const auto live = std::ranges::find_if(records, [](const NatSession& s) { return view_of(s).has_value(); });
    ASSERT_NE(live, records.end()) << "what was there when the table ended is there still";
    EXPECT_EQ(live->inside(), inside(1, 2000));
    EXPECT_EQ(live->outside().port().host(), 2000);
}

}  // namespace
}  // namespace twinspan
