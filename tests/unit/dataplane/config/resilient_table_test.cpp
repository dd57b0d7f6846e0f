#include "dataplane/config/resilient_table.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>

namespace twinspan {
namespace {

std::map<std::uint32_t, std::size_t> counts(const ResilientTable& table) {
    std::map<std::uint32_t, std::size_t> result;
    for (const std::uint32_t owner : table.owners) {
        ++result[owner];
    }
    return result;
}

// The greatest distance of a usable member from its share, in buckets.
double worst_distance(const ResilientTable& table, const std::vector<GroupMember>& members) {
    double weights = 0;
    for (const GroupMember& m : members) {
        weights += m.usable ? m.weight : 0;
    }
    auto owned = counts(table);
    double worst = 0;
    for (const GroupMember& m : members) {
        const double share = m.usable ? static_cast<double>(table.owners.size()) * m.weight / weights : 0;
        worst = std::max(worst, std::abs(share - static_cast<double>(owned[m.id])));
    }
    return worst;
}

TEST(ResilientTable, gives_equal_members_equal_shares_and_weighted_ones_theirs) {
    const std::vector<GroupMember> equal{{1}, {2}, {3}};
    EXPECT_LT(worst_distance(rebalance({}, equal, 256), equal), 1);
    const std::vector<GroupMember> weighted{{1, 1}, {2, 3}, {3, 12}};
    const auto owned = counts(rebalance({}, weighted, 256));
    EXPECT_EQ(owned.at(1), 16u);
    EXPECT_EQ(owned.at(2), 48u);
    EXPECT_EQ(owned.at(3), 192u);
}

TEST(ResilientTable, marks_every_bucket_when_no_member_is_usable) {
    const std::vector<GroupMember> down{{1, 1, false}, {2, 0, true}};
    for (const std::uint32_t owner :
         rebalance(rebalance({}, std::vector<GroupMember>{{1}, {2}}, 256), down, 256).owners) {
        EXPECT_EQ(owner, kNoMember);
    }
    const auto alone = rebalance({}, std::vector<GroupMember>{{7}}, 1);
    EXPECT_EQ(alone.owners, std::vector<std::uint32_t>{7});
}

TEST(ResilientTable, ignores_the_order_of_members_and_repeats_itself) {
    const std::vector<GroupMember> one{{1, 2}, {2, 3}, {9, 1}};
    const std::vector<GroupMember> other{{9, 1}, {1, 2}, {2, 3}};
    EXPECT_EQ(rebalance({}, one, 256), rebalance({}, other, 256));
    const auto table = rebalance({}, one, 256);
    EXPECT_EQ(rebalance(table, other, 256), table);
}

TEST(ResilientTable, a_link_of_two_that_fails_and_returns_moves_half_each_time) {
    const auto before = rebalance({}, std::vector<GroupMember>{{1}, {2}}, 256);
    const auto cut = rebalance(before, std::vector<GroupMember>{{1, 1, false}, {2}}, 256);
    const auto back = rebalance(cut, std::vector<GroupMember>{{1}, {2}}, 256);
    EXPECT_EQ(counts(cut).at(2), 256u);
    EXPECT_EQ(counts(back).at(1), 128u);
}

TEST(ResilientTable, a_changed_weight_moves_the_difference_only) {
    const auto before = rebalance({}, std::vector<GroupMember>{{1}, {2}}, 256);
    const std::vector<GroupMember> changed{{1, 3}, {2, 1}};
    const auto after = rebalance(before, changed, 256);
    EXPECT_EQ(counts(after).at(1), 192u);
    std::size_t moved = 0;
    for (std::size_t b = 0; b < 256; ++b) {
        moved += before.owners[b] != after.owners[b];
    }
    EXPECT_EQ(moved, 64u);
}

TEST(ResilientTable, bucket_counts_are_powers_of_two_with_room_for_every_member) {
    EXPECT_EQ(bucket_count(0), 1u);
    EXPECT_EQ(bucket_count(1), 1u);
    EXPECT_EQ(bucket_count(2), 256u);
    EXPECT_EQ(bucket_count(128), 512u);
}

// Random histories: every step fails, returns, adds or removes one member.
class RandomHistory : public testing::TestWithParam<std::uint32_t> {
protected:
    std::size_t pick() { return std::uniform_int_distribution<std::size_t>(0, members_.size() - 1)(random_); }
    std::size_t usable() const {
        return static_cast<std::size_t>(std::ranges::count(members_, true, &GroupMember::usable));
    }

    // Returns the id of the member that the step was about, and whether it left.
    std::pair<std::uint32_t, bool> step(bool weighted) {
        const auto weight = [&] { return weighted ? std::uniform_int_distribution<std::uint32_t>(1, 20)(random_) : 1; };
        const std::size_t i = members_.empty() ? 0 : pick();
        switch (std::uniform_int_distribution<int>(0, 2)(random_)) {
            case 0:
                if (usable() > 1) {
                    const std::uint32_t id = members_[i].id;
                    members_.erase(members_.begin() + static_cast<std::ptrdiff_t>(i));
                    return {id, true};
                }
                break;
            case 1:
                if (usable() > (members_[i].usable ? 1u : 0u)) {
                    members_[i].usable = !members_[i].usable;
                    return {members_[i].id, !members_[i].usable};
                }
                break;
            default:
                if (members_.size() < 12) {
                    members_.push_back({next_id_++, weight()});
                    return {members_.back().id, false};
                }
        }
        return {kNoMember, true};
    }

    std::mt19937 random_{GetParam()};
    std::vector<GroupMember> members_{{0}, {1}};
    std::uint32_t next_id_ = 2;
};

TEST_P(RandomHistory, moves_only_the_buckets_of_the_member_concerned) {
    const bool weighted = GetParam() % 2 == 1;
    ResilientTable table = rebalance({}, members_, 256);
    for (int i = 0; i < 300; ++i) {
        const auto [id, left] = step(weighted);
        std::ranges::shuffle(members_, random_);
        const ResilientTable next = rebalance(table, members_, 256);
        for (std::size_t b = 0; b < 256; ++b) {
            if (next.owners[b] != table.owners[b]) {
                ASSERT_EQ(left ? table.owners[b] : next.owners[b], id) << "step " << i << ", bucket " << b;
            }
            ASSERT_NE(next.owners[b], kNoMember);
        }
        ASSERT_LE(worst_distance(next, members_), weighted ? 2.0 : 1.0) << "step " << i;
        ASSERT_EQ(rebalance(next, members_, 256), next) << "a table must stand still when nothing changes";
        table = next;
    }
}
INSTANTIATE_TEST_SUITE_P(Seeds, RandomHistory, testing::Range(1u, 41u));

}  // namespace
}  // namespace twinspan
