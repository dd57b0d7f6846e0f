#include "dataplane/packet/burst_groups.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace twinspan {
namespace {

struct Group {
    std::uint32_t key;
    unsigned count;
};
void empty(Group& group) { group.count = 0; }

TEST(BurstGroupsTest, EveryKeyHasOneGroupWhereverItsSlotIs) {
    std::mt19937 random(1);
    for (unsigned round = 0; round < 2000; ++round) {
        BurstGroups<Group> groups;
        std::map<std::uint32_t, unsigned> wanted;
        const auto step = static_cast<std::uint32_t>(1 + random() % 300);  // 128: all in one slot
        const std::size_t most = 1 + random() % kBurst;
        for (unsigned i = 0; i < kBurst; ++i) {
            const auto key = static_cast<std::uint32_t>(120 + random() % most * step);
            ++wanted[key];
            ++groups[groups.find(key, empty)].count;
        }
        ASSERT_EQ(groups.size(), wanted.size());
        for (const Group& group : groups) {
            ASSERT_EQ(group.count, wanted[group.key]) << group.key;
        }
    }
}

TEST(BurstGroupsTest, AsManyKeysAsPackets) {
    BurstGroups<Group> groups;
    for (std::uint32_t i = 0; i < kBurst; ++i) {
        EXPECT_EQ(groups.find(0xffff'ff80 + 256 * i, empty), i) << "in order of their first packet";
    }
    EXPECT_EQ(groups.find(0xffff'ff80, empty), 0);
}

}  // namespace
}  // namespace twinspan
