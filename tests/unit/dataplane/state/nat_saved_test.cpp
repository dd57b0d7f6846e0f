// Sessions outside the process: what is written is read again, and any other bytes are refused or left out.
#include "dataplane/state/nat_saved.hpp"

#include "dataplane/state/nat_tcp.hpp"
#include "tests/support/packet_builder.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace twinspan {
namespace {

using test::ip4;

constexpr std::uint8_t kTcp = +IpProtocol::tcp, kUdp = +IpProtocol::udp, kIcmp = +IpProtocol::icmp, kGre = 47;
const NatBootId kThisBoot{'a'}, kOtherBoot{'b'};

// A file in memory: a header and some records.
class File {
public:
    explicit File(std::size_t records) : memory_(sizeof(NatSavedHeader) / sizeof(NatSession) + records) {
        header().begin(records, 5, kThisBoot);
        header().set_moment({.table = 1000, .boot = 500, .real = 1'700'000'000});
        header().name_pool(0, "microsoft");
        header().name_pool(2, "internet");
    }
    NatSavedHeader& header() { return *reinterpret_cast<NatSavedHeader*>(memory_.data()); }
    NatSession& record(std::size_t i) { return memory_[sizeof(NatSavedHeader) / sizeof(NatSession) + i]; }
    void put(std::size_t i, const NatKey& inside, const NatKey& outside) {
        NatSession& r = record(i);
        r.inside_addresses = inside.addresses;
        r.inside_rest = inside.rest;
        r.outside_addresses = outside.addresses;
        r.outside_rest = outside.rest;
        r.created = 900;
        r.last_seen = 990;
        r.tcp = nat_tcp::kAckOut;
        r.live = 1;
    }
    Result<NatSaved> read(std::size_t cut = 0) {
        std::size_t at = 0;
        return read_nat_saved([&](std::span<std::byte> into) {
            const std::size_t n = std::min(into.size(), bytes().size() - cut - at);
            std::memcpy(into.data(), bytes().data() + at, n);
            at += n;
            return n;
        });
    }
    std::span<std::byte> bytes() { return std::as_writable_bytes(std::span{memory_}); }

private:
    std::vector<NatSession> memory_;
};

NatKey inside(std::uint8_t protocol = kUdp, std::uint16_t pool = 0) {
    const bool has_ports = protocol == kTcp || protocol == kUdp;
    return nat_key(ip4("10.0.0.1"), ip4("192.0.2.1"), to_be16(protocol == kGre ? 0 : 5000),
                   to_be16(has_ports ? 443 : 0), protocol, pool);
}
NatKey outside(std::uint8_t protocol = kUdp) {
    NatKey key = inside(protocol);
    return nat_key(ip4("198.51.100.1"), key.remote(), key.port(), key.remote_port(), protocol);
}

TEST(NatSaved, LiveRecordsOfAllKindsAreRead) {
    File file{6};
    file.put(1, inside(kTcp), outside(kTcp));
    file.put(2, inside(kUdp, 2), outside(kUdp));
    file.put(3, inside(kIcmp), outside(kIcmp));
    file.put(5, inside(kGre), outside(kGre));
    const auto saved = file.read();
    ASSERT_TRUE(saved) << saved.error().what;
    ASSERT_EQ(saved->sessions.size(), 4u);
    EXPECT_EQ(saved->nonsense, 0u);
    EXPECT_EQ(saved->sessions[1].inside, inside(kUdp, 2));
    EXPECT_EQ(saved->sessions[1].outside, outside(kUdp));
    EXPECT_EQ(saved->sessions[0].created, 900u);
    EXPECT_EQ(saved->sessions[0].last_seen, 990u);
    EXPECT_EQ(saved->sessions[0].tcp, nat_tcp::kAckOut);
    EXPECT_EQ(saved->seed, 5u);
    EXPECT_EQ(saved->boot_id, kThisBoot);
    EXPECT_EQ(saved->pools[0], "microsoft");
    EXPECT_EQ(saved->pools[1], "");
    EXPECT_EQ(saved->pools[2], "internet");
    const auto mapped = read_nat_saved(file.header(), {&file.record(0), 6});
    ASSERT_TRUE(mapped);
    EXPECT_EQ(mapped->sessions.size(), 4u);
}

TEST(NatSaved, ManyChunksAreRead) {
    File file{10'000};
    for (std::size_t i = 0; i < 10'000; ++i) {
        file.put(i, inside(), outside());
    }
    EXPECT_EQ(file.read()->sessions.size(), 10'000u);
}

TEST(NatSaved, WrongOrCutFilesAreRefused) {
    const auto refused = [](auto change, std::size_t cut = 0) {
        File file{100};
        change(file);
        const auto saved = file.read(cut);
        return saved ? std::string{} : saved.error().what;
    };
    const auto nothing = [](File&) {};
    EXPECT_EQ(refused(nothing), "");
    EXPECT_EQ(refused(nothing, 1), "not taken: it ends after 99 of 100 records");
    EXPECT_EQ(refused(nothing, 6400), "not taken: it ends after 0 of 100 records");
    EXPECT_EQ(refused(nothing, 6401), "not taken: it holds no NAT sessions of twinspand");
    EXPECT_EQ(refused(nothing, 6400 + 4096), "not taken: it holds no NAT sessions of twinspand");
    EXPECT_EQ(refused([](File& f) { f.header().end(); }), "not taken: it holds no NAT sessions of twinspand");
    EXPECT_EQ(refused([](File& f) { f.header().version = 9; }), "not taken: its layout is version 9, and ours 1");
    EXPECT_NE(refused([](File& f) { f.header().record_bytes = 128; }), "");
    EXPECT_EQ(refused([](File& f) { f.header().records = 1ull << 62; }),
              "not taken: it ends after 100 of 4611686018427387904 records");
    EXPECT_FALSE(read_nat_saved(File{7}.header(), {}));
}

TEST(NatSaved, TornRecordsAreCountedAndLeftOut) {
    const std::vector<std::function<void(NatSession&)>> breakages{
        [](NatSession& r) { r.inside_rest = r.inside_rest.load() & ~(0xffull << 32); },      // no protocol
        [](NatSession& r) { r.inside_rest = (r.inside_rest.load() & ~(0xffull << 32)) | 6ull << 32; },  // two protocols
        [](NatSession& r) { r.inside_rest = r.inside_rest.load() | 1ull << 40; },
        [](NatSession& r) { r.inside_rest = r.inside_rest.load() | 0x8000ull << 48; },  // a mapping
        [](NatSession& r) { r.inside_rest = r.inside_rest.load() | 16ull << 48; },  // pools end at 15
        [](NatSession& r) { r.outside_rest = r.outside_rest.load() | 1ull << 48; },
        [](NatSession& r) { r.outside_addresses = 0; },
        [](NatSession& r) { r.inside_addresses = r.inside_addresses.load() & 0xffffffff; },  // no remote
        [](NatSession& r) { r.tcp = 0x40; },
    };
    for (std::size_t i = 0; i < breakages.size(); ++i) {
        File file{2};
        file.put(0, inside(), outside());
        file.put(1, inside(), outside());
        breakages[i](file.record(0));
        const auto saved = file.read();
        ASSERT_TRUE(saved);
        EXPECT_EQ(saved->sessions.size(), 1u) << i;
        EXPECT_EQ(saved->nonsense, 1u) << i;
    }
    File file{2};
    file.put(0, inside(kIcmp), outside(kIcmp));
    file.record(0).outside_rest = file.record(0).outside_rest.load() | 1u << 16;  // an echo with a remote port
    file.put(1, inside(kGre), outside(kGre));
    file.record(1).inside_rest = file.record(1).inside_rest.load() | 1u;  // and GRE with one of ours
    EXPECT_EQ(file.read()->nonsense, 2u);
}

TEST(NatSaved, RandomBytesDoNoHarm) {
    std::mt19937_64 random{1};
    for (int round = 0; round < 200; ++round) {
        File file{64};
        for (std::size_t i = round % 2 == 0 ? 0 : sizeof(NatSavedHeader); i < file.bytes().size(); ++i) {
            file.bytes()[i] = static_cast<std::byte>(random());
        }
        const auto saved = file.read();
        ASSERT_EQ(saved.has_value(), round % 2 == 1);
    }
}

NatSaved one(std::uint16_t pool = 0) {
    File file{1};
    file.put(0, inside(kUdp, pool), outside());
    return *file.read();
}

TEST(NatSaved, TimesGoOnOverTheRestart) {
    NatSaved saved = one();
    const std::vector<std::string> pools{"microsoft"};
    // 7 s later by the clock of the boot; the table's own clock may begin anywhere.
    EXPECT_EQ(adapt_nat_saved(saved, {.table = 50, .boot = 507, .real = 0}, kThisBoot, pools), 0u);
    EXPECT_EQ(50u - saved.sessions[0].last_seen, 10u + 7u);
    EXPECT_EQ(50u - saved.sessions[0].created, 100u + 7u);

    saved = one();  // after a reboot: by the clock of people
    adapt_nat_saved(saved, {.table = 50, .boot = 507, .real = 1'700'000'060}, kOtherBoot, pools);
    EXPECT_EQ(50u - saved.sessions[0].last_seen, 10u + 60u);

    saved = one();  // that was set back meanwhile
    adapt_nat_saved(saved, {.table = 50, .boot = 507, .real = 1'600'000'000}, kOtherBoot, pools);
    EXPECT_EQ(50u - saved.sessions[0].last_seen, 10u);

    saved = one();  // seen after the header's second
    saved.sessions[0].last_seen = 1001;
    adapt_nat_saved(saved, {.table = 50, .boot = 500, .real = 0}, kThisBoot, pools);
    EXPECT_EQ(saved.sessions[0].last_seen, 50u);

    saved = one();  // decades, and nonsense: old, never young
    saved.sessions[0].last_seen = 1001 + (1u << 31);
    adapt_nat_saved(saved, {.table = 50, .boot = 0xffffffff, .real = 0}, kThisBoot, pools);
    EXPECT_TRUE(nat_expired(saved.sessions[0].last_seen, 50, 1u << 30));
}

TEST(NatSaved, PoolsAreFoundByName) {
    NatSaved saved = one(2);
    const std::vector<std::string> pools{"public", "internet"};
    EXPECT_EQ(adapt_nat_saved(saved, {}, kThisBoot, pools), 0u);
    EXPECT_EQ(saved.sessions[0].pool(), 1u);
    EXPECT_EQ(saved.sessions[0].inside.port(), inside().port());

    saved = one(0);  // "microsoft" is none of them
    EXPECT_EQ(adapt_nat_saved(saved, {}, kThisBoot, pools), 1u);
    EXPECT_TRUE(saved.sessions.empty());
    saved = one(1);  // had no name
    EXPECT_EQ(adapt_nat_saved(saved, {}, kThisBoot, pools), 1u);
    saved = one(1);
    EXPECT_EQ(adapt_nat_saved(saved, {}, kThisBoot, std::vector<std::string>{""}), 1u);
}

TEST(NatSaved, LongNamesAreCut) {
    const auto header = std::make_unique<NatSavedHeader>();
    header->name_pool(3, std::string(100, 'x'));
    EXPECT_EQ(std::string(header->pools[3].begin(), header->pools[3].end()), std::string(kNatNameBytes, 'x'));
    EXPECT_EQ(header->pools[4][0], '\0');
}

}  // namespace
}  // namespace twinspan
