#include "dataplane/state/nat_index.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <random>

namespace twinspan {
namespace {

std::uint64_t hash_of(std::uint64_t key) { return (key + 1) * 0x9e3779b97f4a7c15u; }

// Sixteen home buckets for 400 keys: chains of several buckets that grow and shrink at every place.
TEST(NatIndexProperty, AgreesWithAMapWhileChainsGrowAndShrink) {
    NatIndex index{NatMemory::anonymous(), 1};
    std::map<std::uint32_t, std::uint64_t> live;  // session to key
    std::mt19937 random{11};
    const auto is = [&](std::uint64_t key) {
        return [&live, key](std::uint32_t session) { return live.contains(session) && live[session] == key; };
    };
    for (int step = 0; step < 100'000; ++step) {
        const auto session = 1 + static_cast<std::uint32_t>(random() % (step / 10'000 % 2 == 0 ? 400 : 40));
        const std::uint64_t key = session * 31;
        if (const auto it = live.find(session); it != live.end()) {
            ASSERT_EQ(index.find(hash_of(key), is(key)), session);
            ASSERT_EQ(index.insert(hash_of(key), 9999, is(key)).result, NatIndex::Insert::exists);
            if (const std::uint32_t bucket = index.erase(hash_of(key), session); bucket != 0) {
                index.release(bucket);  // nobody else reads
            }
            live.erase(it);
            ASSERT_EQ(index.find(hash_of(key), is(key)), 0u);
        } else {
            ASSERT_EQ(index.find(hash_of(key), is(key)), 0u);
            live.emplace(session, key);
            const auto nothing = [](std::uint32_t) { return false; };
            ASSERT_EQ(index.insert(hash_of(key), session, nothing).result, NatIndex::Insert::done);
        }
    }
    for (const auto& [session, key] : live) {
        ASSERT_EQ(index.find(hash_of(key), is(key)), session);
        if (const std::uint32_t bucket = index.erase(hash_of(key), session); bucket != 0) {
            index.release(bucket);
        }
    }
    EXPECT_EQ(index.overflow_buckets_in_use(), 0u);
}

TEST(NatIndex, SaysWhenItIsFullAndRecovers) {
    NatIndex index{NatMemory::anonymous(), 1};
    const auto nothing = [](std::uint32_t) { return false; };
    std::uint32_t stored = 0;
    for (int round = 0; round < 3; ++round) {
        std::uint32_t n = 0;
        while (index.insert(0, n + 1, nothing).result == NatIndex::Insert::done) {  // all in one bucket
            ++n;
        }
        EXPECT_GT(n, 8u * 60u);
        EXPECT_TRUE(round == 0 || n == stored);
        stored = n;
        for (std::uint32_t session = 1; session <= n; ++session) {
            if (const std::uint32_t bucket = index.erase(0, session); bucket != 0) {
                index.release(bucket);
            }
        }
        EXPECT_EQ(index.overflow_buckets_in_use(), 0u);
    }
}

}  // namespace
}  // namespace twinspan
