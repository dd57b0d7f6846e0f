// What a pool's settings make of a session: its mapping, its filter, its host's share, its block of ports.
#include "dataplane/state/nat_table.hpp"

#include "tests/support/nat_world.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <tuple>
#include <vector>

namespace twinspan {
namespace {

using test::ip4;
using test::nat_pool;
using test::NatWorld;

constexpr std::uint8_t kUdp = +IpProtocol::udp;
constexpr std::uint8_t kTcp = +IpProtocol::tcp;
constexpr std::uint32_t kRemote = 0x0d6b0601;

NatKey inside(std::uint32_t host, std::uint16_t port, std::uint32_t remote = kRemote, std::uint8_t protocol = kUdp,
              std::uint16_t remote_port = 443) {
    return nat_key(to_be32(0x0a000000 + host), to_be32(remote), to_be16(port), to_be16(remote_port), protocol);
}

class Table {
public:
    explicit Table(NatPool pool, std::uint32_t sessions = 2048) : world({std::move(pool)}, sessions) {}
    NatTable::Opened open(const NatKey& key) { return world.table.open(0, key, pool(), now()); }
    NatTable::Opened mapped(const NatKey& outside) { return world.table.open_mapped(0, outside, pool(), now()); }
    void forget_all() {
        now() += 10'000;
        world.age();
    }
    NatPool& pool() { return world.snapshot.pools[0]; }
    std::uint32_t& now() { return world.context->now_seconds; }
    NatTable* operator->() { return &world.table; }
    NatWorld world;
};

NatPool independent(std::initializer_list<std::string> addresses, std::uint16_t first = 2000,
                    std::uint16_t last = 65535) {
    NatPool pool = nat_pool(addresses, first, last);
    pool.mapping = NatMapping::endpoint_independent;
    pool.open_filter = true;
    return pool;
}

bool same_port(const NatSession* a, const NatSession* b) { return a->outside().mapping() == b->outside().mapping(); }

// Nothing that ended has left a record behind: as many sessions fit as in the beginning.
void expect_all_free(Table& table, std::uint32_t capacity) {
    table.forget_all();
    table.pool() = nat_pool({"198.51.100.200"});
    for (std::uint32_t i = 0; i < capacity; ++i) {
        ASSERT_NE(table.open(inside(i, 5000, 0x08000000 + i)).session, nullptr) << i;
    }
    EXPECT_EQ(table.open(inside(capacity, 5000)).session, nullptr);
}

TEST(NatMapping, IsTheSameTowardsAllRemotes) {  // RFC 4787 REQ-1
    Table table{independent({"198.51.100.1", "198.51.100.2"})};
    const NatSession* first = table.open(inside(1, 5000)).session;
    const NatSession* other = table.open(inside(1, 5000, kRemote + 9, kUdp, 53)).session;
    ASSERT_NE(first, other);
    EXPECT_TRUE(same_port(first, other));
    EXPECT_EQ(first->outside().port().host(), 5000) << "preserved";
    EXPECT_EQ(other->outside().remote_port().host(), 53);
    EXPECT_FALSE(same_port(first, table.open(inside(1, 5001)).session)) << "another endpoint, another port";
    EXPECT_FALSE(same_port(first, table.open(inside(1, 5000, kRemote, kTcp)).session));
    expect_all_free(table, 2048);
}

TEST(NatMapping, PortOfAMappingServesNobodyElse) {  // RFC 4787 REQ-3
    Table table{independent({"198.51.100.1"}, 2000, 2007)};
    std::set<std::uint16_t> ports;
    for (std::uint16_t host = 0; host < 8; ++host) {
        for (std::uint32_t remote = 0; remote < 3; ++remote) {
            const NatSession* session = table.open(inside(host, 80, kRemote + host * 3u + remote)).session;
            ASSERT_NE(session, nullptr);
            ports.insert(session->outside().port().host());
        }
    }
    EXPECT_EQ(ports.size(), 8u);
    EXPECT_EQ(table.open(inside(8, 80, 0x01010101)).reason, Drop::nat_ports_exhausted);
    EXPECT_NE(table.open(inside(8, 80, 0x01010101, kTcp)).session, nullptr) << "another protocol's ports";
    expect_all_free(table, 2048);
}

TEST(NatMapping, LastsAsLongAsItsSessions) {
    Table table{independent({"198.51.100.1"}, 2000, 2000)};
    const NatKey outside = table.open(inside(1, 80)).session->outside();
    table.now() += 200;
    NatSession* second = table.open(inside(1, 80, kRemote + 1)).session;
    ASSERT_NE(second, nullptr);
    second->tcp = nat_tcp::kAckOut | nat_tcp::kAckIn;
    table.now() += 101;
    table.world.age();
    EXPECT_EQ(table->usage(0).sessions, 1u);
    EXPECT_EQ(table.open(inside(2, 80, kRemote + 2)).session, nullptr) << "the second session holds it";
    table.now() += 200;
    table.world.age();
    const NatSession* next = table.open(inside(2, 80, kRemote + 2)).session;
    ASSERT_NE(next, nullptr);
    EXPECT_EQ(next->outside().mapping(), outside.mapping());
}

TEST(NatFilter, TakesPacketsFromAnybodyToAMappingOnly) {  // RFC 4787 REQ-8
    struct Row {
        const char* name;
        NatMapping mapping;
        bool open_filter;
        std::uint16_t port;
        bool opens;
    };
    for (const Row& row : {Row{"independent", NatMapping::endpoint_independent, true, 5000, true},
                           Row{"no mapping", NatMapping::endpoint_independent, true, 5001, false},
                           Row{"closed", NatMapping::endpoint_independent, false, 5000, false},
                           Row{"dependent", NatMapping::endpoint_dependent, true, 5000, false}}) {
        Table table{independent({"198.51.100.1"})};
        table.pool().mapping = row.mapping;
        table.pool().open_filter = row.open_filter;
        ASSERT_NE(table.open(inside(1, 5000)).session, nullptr);
        const NatKey stranger = nat_key(ip4("198.51.100.1"), ip4("192.0.2.9"), to_be16(row.port), to_be16(7777), kUdp);
        const NatTable::Opened opened = table.mapped(stranger);
        ASSERT_EQ(opened.session != nullptr, row.opens) << row.name;
        if (!row.opens) {
            EXPECT_EQ(opened.reason, Drop::nat_no_session);
            continue;
        }
        EXPECT_EQ(opened.session->inside(),
                  nat_key(to_be32(0x0a000001), ip4("192.0.2.9"), to_be16(5000), to_be16(7777), kUdp));
        EXPECT_EQ(opened.session->outside(), stranger);
        EXPECT_EQ(table.mapped(stranger).session, opened.session);
        EXPECT_EQ(table.open(opened.session->inside()).session, opened.session) << "the answer's";
        table.forget_all();
        EXPECT_EQ(table.mapped(stranger).reason, Drop::nat_no_session) << "the mapping is gone";
        expect_all_free(table, 2048);
    }
}

TEST(NatPairing, HostKeepsToOneAddressEvenWhenThatIsFull) {  // RFC 4787 REQ-2
    Table table{independent({"198.51.100.1", "198.51.100.2", "198.51.100.3"}, 2000, 2003)};
    std::set<std::uint32_t> addresses;
    for (std::uint16_t port = 0; port < 4; ++port) {
        const NatSession* session = table.open(inside(1, port)).session;
        ASSERT_NE(session, nullptr);
        addresses.insert(session->outside().address().host());
    }
    EXPECT_EQ(addresses.size(), 1u);
    EXPECT_EQ(table.open(inside(1, 9)).reason, Drop::nat_ports_exhausted);
}

TEST(NatPairing, OutlivesAPoolThatGrows) {
    Table table{independent({"198.51.100.1"})};
    std::vector<be32> before;
    for (std::uint32_t host = 0; host < 40; ++host) {
        before.push_back(table.open(inside(host, 5000)).session->outside().address());
    }
    table.pool().addresses.push_back({ip4("198.51.100.8"), ip4("198.51.100.15")});
    table.pool().address_count += 8;
    std::set<std::uint32_t> fresh;
    for (std::uint32_t host = 0; host < 40; ++host) {
        EXPECT_EQ(table.open(inside(host, 5001)).session->outside().address(), before[host]);
        fresh.insert(table.open(inside(100 + host, 5000)).session->outside().address().host());
    }
    EXPECT_GT(fresh.size(), 5u) << "the rest spreads over all";
}

TEST(NatMapping, KeepsThePortsParityForUdp) {  // RFC 4787 REQ-4
    Table table{independent({"198.51.100.1"})};
    for (std::uint16_t host = 0; host < 200; ++host) {
        const auto own = static_cast<std::uint16_t>(5000 + host % 2);
        const NatSession* session = table.open(inside(host, own)).session;
        ASSERT_NE(session, nullptr);
        EXPECT_EQ(session->outside().port().host() % 2, own % 2);
    }
    Table small{independent({"198.51.100.1"}, 2000, 2003)};
    for (std::uint16_t host = 0; host < 4; ++host) {
        EXPECT_NE(small.open(inside(host, 6000)).session, nullptr) << "better another parity than none: " << host;
    }
}

TEST(NatHostLimit, IsExactAndOthersDoNotNotice) {  // RFC 6888 REQ-3
    for (const NatMapping mapping : {NatMapping::endpoint_dependent, NatMapping::endpoint_independent}) {
        Table table{independent({"198.51.100.1", "198.51.100.2"})};
        table.pool().mapping = mapping;
        table.pool().host_sessions = 5;
        for (std::uint16_t i = 0; i < 5; ++i) {
            ASSERT_NE(table.open(inside(1, i % 2 == 0 ? i : 7, kRemote + i, i < 3 ? kUdp : kTcp)).session, nullptr);
        }
        EXPECT_EQ(table.open(inside(1, 9)).reason, Drop::nat_host_limit);
        EXPECT_EQ(table->usage(0).host_limited, 1u);
        EXPECT_NE(table.open(inside(1, 0)).session, nullptr) << "one that exists is no new one";
        EXPECT_NE(table.open(inside(2, 9)).session, nullptr);
        if (mapping == NatMapping::endpoint_independent) {
            const NatKey stranger = nat_key(table.open(inside(1, 0)).session->outside().address(), ip4("192.0.2.9"),
                                            table.open(inside(1, 0)).session->outside().port(), to_be16(7), kUdp);
            EXPECT_EQ(table.mapped(stranger).reason, Drop::nat_host_limit);
        }
        table.now() += 241;  // TCP's are half open
        table.world.age();
        EXPECT_NE(table.open(inside(1, 9)).session, nullptr);
        EXPECT_NE(table.open(inside(1, 10)).session, nullptr);
        EXPECT_EQ(table.open(inside(1, 11)).reason, Drop::nat_host_limit);
        expect_all_free(table, 2048);
    }
}

TEST(NatHostLimit, BoundsHowManyBeginInASecond) {
    Table table{nat_pool({"198.51.100.1"})};
    table.pool().host_rate = 3;
    for (int second = 0; second < 3; ++second) {
        for (std::uint16_t i = 0; i < 5; ++i) {
            const NatTable::Opened opened = table.open(inside(1, static_cast<std::uint16_t>(second * 100 + i)));
            EXPECT_EQ(opened.session != nullptr, i < 3);
            EXPECT_TRUE(opened.session != nullptr || opened.reason == Drop::nat_host_rate);
        }
        EXPECT_NE(table.open(inside(2, static_cast<std::uint16_t>(second))).session, nullptr);
        ++table.now();
    }
    EXPECT_EQ(table->usage(0).host_rate_limited, 6u);
    expect_all_free(table, 2048);
}

TEST(NatPorts, ReservedOnesAreNeverGivenAndAllOthersAre) {
    for (const NatMapping mapping : {NatMapping::endpoint_dependent, NatMapping::endpoint_independent}) {
        Table table{nat_pool({"198.51.100.1"}, 2000, 2039)};
        table.pool().mapping = mapping;
        table.pool().reserved = {{2000, 2003}, {2010, 2010}, {2038, 2039}};
        std::set<std::uint16_t> ports;
        for (std::uint16_t host = 0; host < 33; ++host) {
            const NatSession* session = table.open(inside(host, static_cast<std::uint16_t>(2000 + host % 12))).session;
            ASSERT_NE(session, nullptr) << host;
            ports.insert(session->outside().port().host());
        }
        EXPECT_EQ(ports.size(), 33u);
        EXPECT_TRUE(
            std::ranges::all_of(ports, [](unsigned port) { return port > 2003 && port != 2010 && port < 2038; }));
        EXPECT_EQ(table.open(inside(50, 2000)).reason, Drop::nat_ports_exhausted);
    }
}

TEST(NatPorts, EachServesAsManyRemotesAsCanBeCounted) {
    Table table{nat_pool({"198.51.100.1"}, 2000, 2001)};
    for (std::uint32_t i = 0; i < 2 * 255; ++i) {
        ASSERT_NE(table.open(inside(1, 2000, kRemote + i)).session, nullptr) << i;
        ASSERT_EQ(table->ports_in_use(ip4("198.51.100.1"), NatProtocol::udp), i < 255 ? 1u : 2u);
    }
    EXPECT_EQ(table.open(inside(1, 2000, kRemote + 999)).reason, Drop::nat_ports_exhausted);
    EXPECT_NE(table.open(inside(1, 2000, kRemote, kTcp)).session, nullptr);
    expect_all_free(table, 2048);
    EXPECT_EQ(table->ports_in_use(ip4("198.51.100.1"), NatProtocol::udp), 0u);
}

TEST(NatPorts, SmallTableMetersSixteenAddresses) {
    NatPool pool = nat_pool({});
    pool.addresses = {{ip4("198.51.100.0"), ip4("198.51.100.63")}};
    pool.address_count = 64;
    Table table{pool};
    std::set<std::uint32_t> used;
    for (std::uint32_t host = 0; host < 1000; ++host) {
        used.insert(table.open(inside(host, 5000)).session->outside().address().host());
    }
    EXPECT_EQ(used.size(), 64u);
    EXPECT_EQ(std::ranges::count_if(used,
                                    [&](std::uint32_t address) {
        return table->ports_in_use(to_be32(address), NatProtocol::udp).value_or(0) != 0;
    }),
              16);
    expect_all_free(table, 2048);
}

TEST(NatBlocks, HostHasItsPortsInBlocksOfItsOwn) {  // RFC 6888 section 4
    for (const NatMapping mapping : {NatMapping::endpoint_dependent, NatMapping::endpoint_independent}) {
        NatPool pool = nat_pool({"198.51.100.1", "198.51.100.2"}, 2000, 2079);
        pool.mapping = mapping;
        pool.block_ports = 8;
        pool.host_blocks = 2;
        Table table{pool};
        std::map<std::tuple<std::uint32_t, unsigned>, std::set<std::uint32_t>> users;  // address, block: hosts
        for (std::uint32_t host = 0; host < 4; ++host) {
            std::set<std::tuple<std::uint32_t, unsigned>> blocks;
            for (std::uint16_t i = 0; i < 16; ++i) {
                const NatSession* session = table.open(inside(host, i)).session;
                ASSERT_NE(session, nullptr) << host << ' ' << i;
                const unsigned port = session->outside().port().host();
                ASSERT_TRUE(port >= 2000 && port < 2080);
                blocks.emplace(session->outside().address().host(), (port - 2000) / 8);
                ASSERT_EQ(blocks.size(), i < 8 ? 1u : 2u) << "one block is used up before the next";
            }
            for (const auto& block : blocks) {
                users[block].insert(host);
            }
            EXPECT_EQ(table.open(inside(host, 99)).reason, Drop::nat_host_limit);
        }
        EXPECT_EQ(users.size(), 8u);
        EXPECT_TRUE(std::ranges::all_of(users, [](const auto& block) { return block.second.size() == 1; }));
        if (mapping == NatMapping::endpoint_dependent) {
            EXPECT_NE(table.open(inside(0, 99, kRemote + 1)).session, nullptr) << "towards another remote, again";
        }
        expect_all_free(table, 2048);
    }
}

TEST(NatBlocks, WhatAHostHasIsUsedBeforeAnother) {
    NatPool pool = nat_pool({"198.51.100.1"}, 2000, 2015);
    pool.block_ports = 8;
    pool.host_blocks = 2;
    Table table{pool};
    for (std::uint16_t i = 0; i < 8; ++i) {
        ASSERT_NE(table.open(inside(0, i)).session, nullptr);
    }
    NatSession* in_second = table.open(inside(0, 8)).session;
    ASSERT_NE(in_second, nullptr);
    table.now() += 10'000;  // the first block ends with its sessions
    in_second->seen(table.now());
    table.world.age();
    const NatSession* later = table.open(inside(0, 9)).session;
    ASSERT_NE(later, nullptr);
    EXPECT_EQ(later->outside().port().host() / 8, in_second->outside().port().host() / 8);
    EXPECT_NE(table.open(inside(1, 0)).session, nullptr) << "the other block is free";
    EXPECT_NE(table.open(inside(0, 10)).session, nullptr) << "no third is needed while the second has ports";
    expect_all_free(table, 2048);
}

TEST(NatPorts, ProtocolWithoutThemHasAnAddressTowardsARemote) {
    constexpr std::uint8_t kGre = 47;
    for (const NatMapping mapping : {NatMapping::endpoint_dependent, NatMapping::endpoint_independent}) {
        Table table{nat_pool({"198.51.100.1", "198.51.100.2"})};
        table.pool().mapping = mapping;
        const NatKey key = inside(1, 0, kRemote, kGre, 0);
        NatSession* session = table.open(key).session;
        ASSERT_NE(session, nullptr);
        EXPECT_EQ(session->outside().port().host(), 0);
        EXPECT_EQ(table->find_outside(session->outside()), session);
        EXPECT_NE(table.open(inside(1, 0, kRemote + 1, kGre, 0)).session, nullptr) << "another remote";
        unsigned served = 0;
        for (std::uint32_t host = 2; host < 10; ++host) {
            served += table.open(inside(host, 0, kRemote, kGre, 0)).session != nullptr ? 1 : 0;
        }
        EXPECT_EQ(served, 1u) << "the other address";
        expect_all_free(table, 2048);
    }
}

// What began before there were blocks keeps its port, and the block around it is nobody's until that is free.
TEST(NatBlocks, AreNotGivenAroundPortsThatOthersHave) {
    NatPool pool = nat_pool({"198.51.100.2"}, 2048, 2063);
    Table table{pool};
    const NatTable::Opened old = table.open(inside(1, 2050));
    ASSERT_NE(old.session, nullptr);
    ASSERT_EQ(old.session->outside().port().host(), 2050);
    table.pool().block_ports = 8;
    table.pool().host_blocks = 1;
    const NatTable::Opened second = table.open(inside(2, 5000, kRemote, kTcp));
    ASSERT_NE(second.session, nullptr);
    EXPECT_GE(second.session->outside().port().host(), 2056);
    EXPECT_EQ(table.open(inside(3, 5000)).reason, Drop::nat_blocks_exhausted);
    table.forget_all();
    std::set<int> blocks;
    for (const std::uint32_t host : {4u, 5u}) {
        const NatTable::Opened opened = table.open(inside(host, 5000));
        ASSERT_NE(opened.session, nullptr) << host;
        blocks.insert(opened.session->outside().port().host() / 8);
    }
    EXPECT_EQ(blocks.size(), 2u);
}

TEST(NatBlocks, RunOutByNameAndComeBack) {
    NatPool pool = nat_pool({"198.51.100.1"}, 2000, 2031);
    pool.block_ports = 8;
    pool.reserved = {{2008, 2015}};  // a block with no port to give is nobody's
    Table table{pool};
    for (std::uint32_t host = 0; host < 3; ++host) {
        ASSERT_NE(table.open(inside(host, 1)).session, nullptr);
    }
    EXPECT_EQ(table.open(inside(3, 1)).reason, Drop::nat_blocks_exhausted);
    EXPECT_EQ(table->usage(0).blocks_exhausted, 1u);
    table.forget_all();
    EXPECT_NE(table.open(inside(3, 1)).session, nullptr);
}

TEST(NatInbound, SessionHasTheGivenEnds) {
    Table table{nat_pool({"198.51.100.1"})};
    const NatKey out = nat_key(ip4("198.51.100.1"), ip4("192.0.2.9"), to_be16(443), to_be16(7777), kTcp);
    const NatKey in = nat_key(ip4("10.0.0.5"), ip4("192.0.2.9"), to_be16(8443), to_be16(7777), kTcp);
    NatSession* session = table->open_inbound(0, out, in, table.pool(), table.now()).session;
    ASSERT_NE(session, nullptr);
    EXPECT_EQ(session->inside(), in);
    EXPECT_EQ(session->outside(), out);
    EXPECT_EQ(session->flags, 0);
    EXPECT_EQ(table->find_inside(in), session);
    EXPECT_EQ(table->find_outside(out), session);
    EXPECT_EQ(table->open_inbound(0, out, in, table.pool(), table.now()).session, session);
    // The inside endpoint cannot be two ends of one conversation.
    const NatKey other = nat_key(ip4("198.51.100.1"), ip4("192.0.2.9"), to_be16(444), to_be16(7777), kTcp);
    EXPECT_EQ(table->open_inbound(0, other, in, table.pool(), table.now()).reason, Drop::nat_endpoint_taken);
    const NatKey elsewhere = nat_key(ip4("10.0.0.6"), ip4("192.0.2.9"), to_be16(8443), to_be16(7777), kTcp);
    EXPECT_EQ(table->open_inbound(0, out, elsewhere, table.pool(), table.now()).reason, Drop::nat_endpoint_taken);
    EXPECT_EQ(table->usage(0).sessions, 1u);
    expect_all_free(table, 2048);
}

TEST(NatInbound, RemoteEndGetsAnAddressOfItsOwnInside) {
    Table table{nat_pool({"198.51.100.1"})};
    const NatPool source = nat_pool({"10.9.0.1", "10.9.0.2"}, 3000, 3003);
    std::set<std::pair<std::uint64_t, std::uint64_t>> insides;
    for (std::uint16_t i = 0; i < 8; ++i) {
        const NatKey out = nat_key(ip4("198.51.100.1"), to_be32(0xc0000200u + i), to_be16(443), to_be16(3001), kTcp);
        const NatKey in = nat_key(ip4("10.0.0.5"), {}, to_be16(8443), {}, kTcp);
        NatSession* session = table->open_inbound(0, out, in, table.pool(), table.now(), &source).session;
        ASSERT_NE(session, nullptr) << i;
        const NatKey key = session->inside();
        EXPECT_TRUE(source.holds(key.remote()) && source.gives(key.remote_port().host()));
        EXPECT_EQ(key.address(), ip4("10.0.0.5"));
        EXPECT_EQ(session->outside(), out);
        EXPECT_EQ(session->flags, kNatTwice);
        EXPECT_EQ(table->find_inside(key), session);
        EXPECT_EQ(table->open_inbound(0, out, in, table.pool(), table.now(), &source).session, session);
        insides.emplace(key.addresses, key.rest);
        if (i == 0) {
            EXPECT_EQ(key.remote_port().host(), 3001) << "preserved";
        }
        // The packet's sums follow from the record alone, in one step for all four fields.
        const ChecksumDelta ip =
            ChecksumDelta{key.address(), out.address()} + ChecksumDelta{key.remote(), out.remote()};
        EXPECT_EQ(session->ip_delta.apply(be16{0x1234}), ip.apply(be16{0x1234}));
    }
    EXPECT_EQ(insides.size(), 8u);
    const NatKey out = nat_key(ip4("198.51.100.1"), ip4("192.0.2.99"), to_be16(443), to_be16(3001), kTcp);
    const NatKey in = nat_key(ip4("10.0.0.5"), {}, to_be16(8443), {}, kTcp);
    EXPECT_EQ(table->open_inbound(0, out, in, table.pool(), table.now(), &source).reason, Drop::nat_ports_exhausted);
    expect_all_free(table, 2048);
}

TEST(NatPool, RemovedAddressDrains) {
    for (const NatMapping mapping : {NatMapping::endpoint_dependent, NatMapping::endpoint_independent}) {
        Table table{independent({"198.51.100.1", "198.51.100.2"})};
        table.pool().mapping = mapping;
        std::vector<NatKey> there;
        for (std::uint32_t host = 0; host < 40; ++host) {
            const NatSession* session = table.open(inside(host, 5000)).session;
            if (session->outside().address() == ip4("198.51.100.2")) {
                there.push_back(session->inside());
            }
        }
        ASSERT_GT(there.size(), 5u);
        table.pool().addresses.pop_back();
        table.pool().address_count = 1;
        table.world.age();
        for (const NatKey& key : there) {
            NatSession* session = table.open(key).session;
            ASSERT_NE(session, nullptr);
            EXPECT_EQ(session->outside().address(), ip4("198.51.100.2")) << "sessions go on";
            EXPECT_EQ(table->find_outside(session->outside()), session);
            const NatKey another = nat_key(key.address(), to_be32(kRemote + 1), key.port(), to_be16(80), kUdp);
            EXPECT_EQ(table.open(another).session->outside().address(), ip4("198.51.100.1")) << "none begins";
            NatKey stranger = session->outside();
            stranger.addresses ^= std::uint64_t{1} << 60;
            EXPECT_EQ(table.mapped(stranger).session, nullptr) << "nor from outside";
        }
        expect_all_free(table, 2048);
    }
}

TEST(NatPool, SessionsOfADeadLinkEndAndNoneBegins) {
    Table table{nat_pool({"198.51.100.1"})};
    ASSERT_NE(table.open(inside(1, 1)).session, nullptr);
    table.pool().down = true;
    EXPECT_EQ(table.open(inside(1, 2)).reason, Drop::nat_pool_down);
    ++table.now();
    table.world.age();
    EXPECT_EQ(table->usage(0).sessions, 0u);
    table.pool().down = false;
    EXPECT_NE(table.open(inside(1, 1)).session, nullptr);
}

// Whatever the settings: opens from both sides, use, expiry, and now and then other settings.
TEST(NatModesProperty, WalkAgreesWithCountersAndNoTwoSessionsShareAnEnd) {
    constexpr std::uint32_t kCapacity = 400;
    Table table{independent({"198.51.100.1", "198.51.100.2"}, 2000, 2031), kCapacity};
    std::mt19937 random{5};
    const auto pick = [&](unsigned n) { return static_cast<std::uint32_t>(random() % n); };
    std::map<Drop, unsigned> refused;
    unsigned mapped = 0;
    for (int step = 0; step < 60'000; ++step) {
        if (pick(2000) == 0) {
            NatPool& pool = table.pool();
            pool.mapping = pick(2) == 0 ? NatMapping::endpoint_dependent : NatMapping::endpoint_independent;
            pool.block_ports = static_cast<std::uint16_t>(pick(2) * 8);
            pool.host_blocks = static_cast<std::uint16_t>(1 + pick(2));
            pool.host_sessions = pick(2) * 20;
            pool.host_rate = pick(2) * 4;
            pool.address_count = 1 + pick(2);
            pool.addresses = {{ip4("198.51.100.1"), to_be32(ip4("198.51.100.1").host() + pool.address_count - 1)}};
        }
        const std::uint8_t protocol = pick(2) == 0 ? kUdp : kTcp;
        const NatKey key = inside(pick(12), static_cast<std::uint16_t>(1995 + pick(40)), kRemote + pick(6), protocol);
        const NatTable::Opened opened = table.open(key);
        if (opened.session == nullptr) {
            ++refused[opened.reason];
        } else {
            ASSERT_EQ(opened.session->inside(), key);
            if (pick(4) != 0) {  // most stay
                opened.session->tcp = nat_tcp::kAckOut | nat_tcp::kAckIn;
            }
            NatKey stranger = opened.session->outside();
            stranger.addresses += std::uint64_t{1} << 56;
            if (pick(4) == 0) {
                mapped += table.mapped(stranger).session != nullptr ? 1 : 0;
            }
        }
        if (pick(20) == 0) {
            table.now() += pick(20);
            table.world.age();
        }
        if (pick(200) != 0) {
            continue;
        }
        std::set<std::pair<std::uint64_t, std::uint64_t>> insides, outsides;
        std::map<std::uint32_t, std::uint64_t> on;
        std::map<std::pair<std::uint32_t, NatProtocol>, std::set<std::uint16_t>> ports;
        std::uint64_t live = 0;
        table->for_each(kCapacity, [&](const NatSessionView& view) {
            ++live;
            ++on[view.outside.address().host()];
            ports[{view.outside.address().host(), nat_protocol(view.protocol())}].insert(view.outside.port().host());
            insides.emplace(view.inside.addresses, view.inside.rest);
            outsides.emplace(view.outside.addresses, view.outside.rest);
            ASSERT_EQ(view.inside.kind(), NatRecord::session);
        });
        ASSERT_EQ(live, table->usage(0).sessions);
        ASSERT_EQ(insides.size(), live);
        ASSERT_EQ(outsides.size(), live);
        for (const auto& [address, sessions] : on) {
            ASSERT_EQ(sessions, table->sessions_on(0, to_be32(address)));
        }
        for (const char* address : {"198.51.100.1", "198.51.100.2"}) {
            for (const NatProtocol p : {NatProtocol::tcp, NatProtocol::udp, NatProtocol::icmp}) {
                ASSERT_EQ(table->ports_in_use(ip4(address), p), (ports[{ip4(address).host(), p}].size()));
            }
        }
    }
    EXPECT_GT(mapped, 100u);
    for (const Drop reason : {Drop::nat_ports_exhausted, Drop::nat_sessions_exhausted, Drop::nat_blocks_exhausted,
                              Drop::nat_host_limit, Drop::nat_host_rate}) {
        EXPECT_GT(refused[reason], 0u) << name_of(reason);
    }
    expect_all_free(table, kCapacity);
    EXPECT_EQ(table->ports_in_use(ip4("198.51.100.1"), NatProtocol::udp), 0u);
}

}  // namespace
}  // namespace twinspan
