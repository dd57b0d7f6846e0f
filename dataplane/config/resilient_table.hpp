// Which member of a group owns which bucket, so that a change of members moves as few flows as it can. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace twinspan {

struct GroupMember {
    std::uint32_t id = 0;      // any value but kNoMember, unique in its group
    std::uint32_t weight = 1;  // 0 counts as unusable
    bool usable = true;        // neither down nor drained
};

inline constexpr std::uint32_t kNoMember = 0xffff'ffff;
inline constexpr std::size_t kGroupBuckets = 256;

// Buckets of a group: one for a single member, else enough that weights come out within a few percent.
std::size_t bucket_count(std::size_t members) noexcept;

struct ResilientTable {
    std::vector<std::uint32_t> owners;  // by bucket: a member's id, or kNoMember when no member is usable
    std::vector<GroupMember> members;   // those that were usable when `owners` was made, ascending by id

    friend bool operator==(const ResilientTable& a, const ResilientTable& b) noexcept { return a.owners == b.owners; }
};

// The table that follows `previous` (an empty one: there was none) for these members. Guarantees, as long as the
// number of buckets stays:
// - a member that fails or leaves gives up its own buckets, and no other bucket changes its owner;
// - a member that returns or joins takes its share, rounded, and no bucket moves between the others;
// - members of equal weight differ by at most one bucket; with weights, shares are met within two buckets;
// - the same input gives the same table, whatever the order of `members`.
// `buckets` is a power of two. Thread: control.
ResilientTable rebalance(const ResilientTable& previous, std::span<const GroupMember> members, std::size_t buckets);

}  // namespace twinspan
