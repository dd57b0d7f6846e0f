#include "dataplane/state/reassembly.hpp"

#include "tests/support/stage_test.hpp"

#include <gtest/gtest.h>

#include <random>

namespace twinspan {
namespace {

using test::Bytes;

constexpr std::uint64_t kTimeout = 1000;
constexpr std::uint16_t kDatagrams = 8;

struct ReassemblyTest : test::StageTest {
    static FragmentKey key(std::uint32_t id = 1) {
        return {.src = {10, 0, 0, 1}, .dst = {10, 0, 0, 2}, .id = id, .protocol = 50, .ip = IpVersion::v4};
    }
    static Bytes headers() { return {0x45, 1, 2, 3}; }
    // Bytes [begin, end) of a payload of `total`.
    Gathering add(std::uint32_t begin, std::uint32_t end, std::uint32_t total, FragmentKey k = key(),
                  std::uint64_t now = 5000, std::uint8_t ecn = 0) {
        const Bytes payload(data.begin() + begin, data.begin() + end);
        const Bytes head = begin == 0 ? headers() : Bytes{9, 9};
        return table.add({k, head, payload, begin, end != total, ecn}, now, counters, ctx.large_buffers);
    }
    static Bytes bytes(const Gathering& g) {
        const auto* p = rte_pktmbuf_mtod(g.packet, const std::uint8_t*);
        return {p, p + g.packet->data_len};
    }
    Bytes whole(std::size_t total) const {
        Bytes out = headers();
        out.insert(out.end(), data.begin(), data.begin() + static_cast<std::ptrdiff_t>(total));
        return out;
    }
    void expect_whole(const Gathering& g, std::size_t total) const {
        ASSERT_EQ(g.state, Gathered::whole);
        EXPECT_EQ(bytes(g), whole(total));
        EXPECT_EQ(g.packet->pkt_len, g.packet->data_len);
    }
    void expect_books(std::uint64_t held, std::uint64_t merged) const {
        EXPECT_EQ(counters.held.read(), held);
        EXPECT_EQ(counters.merged.read(), merged);
    }
    Bytes data = test::filler(0x10000);
    Reassembly table{{.datagrams = kDatagrams, .timeout_tsc = kTimeout}};
};

TEST_F(ReassemblyTest, InAnyOrder) {
    std::array<std::array<std::uint32_t, 2>, 4> cuts{{{0, 1400}, {1400, 2800}, {2800, 4200}, {4200, 4203}}};
    std::ranges::sort(cuts);
    std::uint64_t packets = 0;
    do {
        for (unsigned i = 0; i < 3; ++i) {
            ASSERT_EQ(add(cuts[i][0], cuts[i][1], 4203).state, Gathered::held);
            expect_books(i + 1, 3 * packets);
        }
        expect_whole(add(cuts[3][0], cuts[3][1], 4203), 4203);
        expect_books(0, 3 * ++packets);
    } while (std::ranges::next_permutation(cuts).found);
    EXPECT_EQ(packets, 24u);
    EXPECT_EQ(all_drops(), 0u);
}

TEST_F(ReassemblyTest, KeepsPacketsApart) {
    std::array<FragmentKey, 6> keys;
    keys.fill(key());
    keys[1].id = 2;
    keys[2].protocol = 17;  // RFC 791 section 2.3: part of what identifies a datagram
    keys[3].src[3] = 9;
    keys[4].dst[3] = 9;
    keys[5].ip = IpVersion::v6;
    for (const FragmentKey& k : keys) {
        EXPECT_EQ(add(0, 80, 100, k).state, Gathered::held);
    }
    for (const FragmentKey& k : keys) {
        expect_whole(add(80, 100, 100, k), 100);
    }
    expect_books(0, 6);
    EXPECT_EQ(all_drops(), 0u);
}

TEST_F(ReassemblyTest, AnOverlapEndsThePacketAndWhatIsStillToCome) {
    const std::array<std::uint32_t, 2> overlaps[] = {{8, 24}, {0, 24}, {16, 32}, {24, 40}, {16, 40}, {0, 64}};
    for (const auto& [begin, end] : overlaps) {
        const std::uint64_t before = drops(Drop::fragment_overlap);
        const FragmentKey k = key(begin * 100 + end);
        EXPECT_EQ(add(16, 32 + 8, 64, k).state, Gathered::held);
        const Gathering g = add(begin, end, 64, k);
        if (begin == 16 && end == 40) {
            EXPECT_EQ(drops(Drop::fragment_duplicate), 1u);
            expect_books(1, 0);
            table.expire(1u << 20, counters);
            continue;
        }
        EXPECT_EQ(g.state, Gathered::dropped);
        EXPECT_EQ(drops(Drop::fragment_overlap) - before, 2u) << begin;
        EXPECT_EQ(add(40, 64, 64, k).state, Gathered::dropped) << "RFC 5722 section 4";
        EXPECT_EQ(drops(Drop::fragment_overlap) - before, 3u);
        expect_books(0, 0);
        table.expire(1u << 20, counters);
    }
    EXPECT_EQ(add(16, 32, 64, key(824)).state, Gathered::held) << "forgotten in time";
}

TEST_F(ReassemblyTest, AnEndThatMovesIsAContradiction) {
    EXPECT_EQ(add(64, 80, 80, key(1)).state, Gathered::held);
    EXPECT_EQ(add(80, 96, 200, key(1)).state, Gathered::dropped) << "beyond the end";
    EXPECT_EQ(add(64, 80, 80, key(2)).state, Gathered::held);
    EXPECT_EQ(add(40, 56, 56, key(2)).state, Gathered::dropped) << "another end";
    EXPECT_EQ(add(64, 80, 200, key(3)).state, Gathered::held);
    EXPECT_EQ(add(8, 16, 16, key(3)).state, Gathered::dropped) << "an end before what is there";
    EXPECT_EQ(add(16, 24, 24, key(4)).state, Gathered::held);
    EXPECT_EQ(add(8, 16, 24, key(4)).state, Gathered::held);
    EXPECT_EQ(add(8, 16, 16, key(4)).state, Gathered::dropped) << "what is there, now said to be the last";
    EXPECT_EQ(drops(Drop::fragment_overlap), 9u);
    expect_books(0, 0);
}

TEST_F(ReassemblyTest, ADuplicateIsDroppedAndThePacketGoesOn) {
    EXPECT_EQ(add(0, 80, 100).state, Gathered::held);
    EXPECT_EQ(add(0, 80, 100).state, Gathered::dropped);
    EXPECT_EQ(drops(Drop::fragment_duplicate), 1u);
    expect_whole(add(80, 100, 100), 100);
    expect_books(0, 1);
    EXPECT_EQ(all_drops(), 1u);
}

TEST_F(ReassemblyTest, LengthIsBounded) {
    constexpr std::uint32_t kMost = Reassembly::kMostPayload;
    EXPECT_EQ(add(0, 8, kMost, key(1)).state, Gathered::held);
    expect_whole(add(8, kMost, kMost, key(1)), kMost);
    EXPECT_EQ(add(0, 8, kMost + 1, key(2)).state, Gathered::held);
    EXPECT_EQ(add(kMost - 7, kMost + 1, kMost + 1, key(2)).state, Gathered::dropped);
    EXPECT_EQ(drops(Drop::too_long), 2u);
    const Bytes tail(1000);
    const Gathering beyond =
        table.add({key(3), {}, tail, 0xfff8, false, 0}, 5000, counters, ctx.large_buffers);  // beyond 64 KiB
    EXPECT_EQ(beyond.state, Gathered::dropped);
    EXPECT_EQ(drops(Drop::too_long), 3u);
    EXPECT_EQ(all_drops(), 3u);
    expect_books(0, 1);
}

TEST_F(ReassemblyTest, TheNumberOfFragmentsIsBounded) {
    constexpr std::uint32_t kMost = Reassembly::kMostFragments;
    for (const std::uint32_t n : {kMost, kMost + 1}) {
        for (std::uint32_t i = 0; i + 1 < n; ++i) {
            EXPECT_EQ(add(i * 8, i * 8 + 8, n * 8, key(n)).state, Gathered::held);
        }
        const Gathering last = add((n - 1) * 8, n * 8, n * 8, key(n));
        EXPECT_EQ(last.state, n == kMost ? Gathered::whole : Gathered::dropped);
    }
    EXPECT_EQ(drops(Drop::fragment_too_many), kMost + 1);
    expect_books(0, kMost - 1);
}

TEST_F(ReassemblyTest, MalformedOnesAreNotKept) {
    EXPECT_EQ(add(0, 9, 100).state, Gathered::dropped) << "more follow, but not at a multiple of 8";
    EXPECT_EQ(add(16, 16, 16).state, Gathered::dropped) << "empty";
    const Bytes header(Reassembly::kMostHeaders + 1);
    EXPECT_EQ(table.add({key(), header, data, 0, true, 0}, 5000, counters, ctx.large_buffers).state, Gathered::dropped);
    EXPECT_EQ(drops(Drop::malformed_frame), 3u);
    expect_books(0, 0);
}

TEST_F(ReassemblyTest, TheRestMustComeInTime) {
    EXPECT_EQ(add(0, 8, 24, key(1), 5000).state, Gathered::held);
    EXPECT_EQ(add(8, 16, 24, key(1), 5900).state, Gathered::held);
    EXPECT_EQ(add(0, 8, 24, key(2), 5900).state, Gathered::held);
    table.expire(5999, counters);
    EXPECT_EQ(all_drops(), 0u);
    table.expire(6000, counters);
    EXPECT_EQ(drops(Drop::fragment_timeout), 2u) << "counted from the first one on";
    expect_books(1, 0);
    EXPECT_EQ(add(16, 24, 24, key(1), 6001).state, Gathered::held) << "of a packet of its own";
    table.expire(1u << 20, counters);
    EXPECT_EQ(drops(Drop::fragment_timeout), 4u);
    expect_books(0, 0);
}

TEST_F(ReassemblyTest, AnOldPacketIsNotCompletedByANewOne) {
    EXPECT_EQ(add(0, 8, 16, key(), 5000).state, Gathered::held);
    EXPECT_EQ(add(8, 16, 16, key(), 6000).state, Gathered::held);
    EXPECT_EQ(drops(Drop::fragment_timeout), 1u);
    expect_books(1, 0);
}

// Workers read the clock when their loops begin, so a later fragment may bear an earlier time.
TEST_F(ReassemblyTest, AnotherWorkersClockMayBeBehind) {
    EXPECT_EQ(add(0, 8, 16, key(), 5000).state, Gathered::held);
    table.expire(4990, counters);
    expect_whole(add(8, 16, 16, key(), 4990), 16);
    EXPECT_EQ(all_drops(), 0u);
}

TEST_F(ReassemblyTest, TheOldestMakesRoom) {
    for (std::uint32_t id = 0; id < kDatagrams; ++id) {
        EXPECT_EQ(add(0, 8, 24, key(id), 5000 + (id + 3) % kDatagrams).state, Gathered::held);
    }
    EXPECT_EQ(add(8, 16, 24, key(5), 5100).state, Gathered::held);
    expect_books(kDatagrams + 1, 0);
    EXPECT_EQ(add(0, 8, 16, key(100), 5100).state, Gathered::held);
    EXPECT_EQ(drops(Drop::fragment_table_full), 2u) << "both of number 5, which began first";
    expect_books(kDatagrams, 0);
    expect_whole(add(8, 16, 16, key(100), 5100), 16);
    expect_whole(add(8, 16, 16, key(6), 5100), 16);
    EXPECT_EQ(all_drops(), 2u);
}

TEST_F(ReassemblyTest, WithoutABufferThePacketIsDropped) {
    buffers_left = 0;
    EXPECT_EQ(add(0, 8, 16).state, Gathered::held);
    EXPECT_EQ(add(8, 16, 16).state, Gathered::dropped);
    EXPECT_EQ(drops(Drop::no_mbuf), 2u);
    expect_books(0, 0);
}

// RFC 3168 section 5.3.
TEST_F(ReassemblyTest, CongestionIsKept) {
    constexpr std::uint8_t kNotEct = 0, kEct1 = 1, kEct0 = 2, kCe = 3;
    struct Row {
        std::uint8_t first, second;
        bool whole, congested;
    };
    const Row rows[] = {{kNotEct, kNotEct, true, false}, {kEct0, kEct0, true, false},  {kEct0, kCe, true, true},
                        {kCe, kEct1, true, true},        {kCe, kCe, true, true},       {kEct0, kEct1, true, false},
                        {kNotEct, kEct0, true, false},   {kNotEct, kCe, false, false}, {kCe, kNotEct, false, false}};
    for (const Row& row : rows) {
        EXPECT_EQ(add(0, 8, 16, key(), 5000, row.first).state, Gathered::held);
        const Gathering g = add(8, 16, 16, key(), 5000, row.second);
        EXPECT_EQ(g.state, row.whole ? Gathered::whole : Gathered::dropped);
        EXPECT_EQ(g.congested, row.congested);
    }
    EXPECT_EQ(drops(Drop::fragment_overlap), 4u);
    expect_books(0, 7);
}

TEST_F(ReassemblyTest, SaysWhatMemoryItTakes) {
    EXPECT_LT((Reassembly{{.datagrams = 256, .timeout_tsc = kTimeout}}.memory_bytes()), 3u << 20);
}

}  // namespace
}  // namespace twinspan
