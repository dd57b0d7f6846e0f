#include "dataplane/config/resilient_table.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <numeric>

namespace twinspan {
namespace {

// The usable members, what each owns, and how far that is from its share.
class Shares {
public:
    Shares(std::span<const GroupMember> members, std::size_t buckets) : buckets_(static_cast<std::int64_t>(buckets)) {
        std::ranges::copy_if(members, std::back_inserter(members_),
                             [](const GroupMember& m) { return m.usable && m.weight != 0 && m.id != kNoMember; });
        std::ranges::sort(members_, {}, &GroupMember::id);
        owned_.resize(members_.size());
        for (const GroupMember& m : members_) {
            weights_ += m.weight;
        }
    }

    std::size_t count() const noexcept { return members_.size(); }
    const std::vector<GroupMember>& members() const noexcept { return members_; }
    std::size_t owned(std::size_t i) const noexcept { return owned_[i].size(); }

    std::size_t find(std::uint32_t id) const noexcept {
        const auto it = std::ranges::lower_bound(members_, id, {}, &GroupMember::id);
        return it == members_.end() || it->id != id ? count() : static_cast<std::size_t>(it - members_.begin());
    }

    // Buckets missing to the exact share, times the sum of weights: exact in integers.
    std::int64_t deficit(std::size_t i) const noexcept {
        return buckets_ * members_[i].weight - static_cast<std::int64_t>(owned_[i].size()) * weights_;
    }
    std::int64_t one_bucket() const noexcept { return weights_; }

    // The first of the members with the greatest (or, with `sign` -1, the least) deficit.
    std::size_t extreme(std::int64_t sign) const noexcept {
        std::size_t best = 0;
        for (std::size_t i = 1; i < count(); ++i) {
            if (sign * deficit(i) > sign * deficit(best)) {
                best = i;
            }
        }
        return best;
    }

    void give(std::size_t i, std::size_t bucket) { owned_[i].push_back(bucket); }
    void move_one(std::size_t from, std::size_t to) {
        give(to, owned_[from].back());
        owned_[from].pop_back();
    }

    ResilientTable table() && {
        ResilientTable result;
        result.owners.assign(static_cast<std::size_t>(buckets_), kNoMember);
        for (std::size_t i = 0; i < count(); ++i) {
            for (const std::size_t bucket : owned_[i]) {
                result.owners[bucket] = members_[i].id;
            }
        }
        result.members = std::move(members_);
        return result;
    }

private:
    std::vector<GroupMember> members_;
    std::vector<std::vector<std::size_t>> owned_;
    std::int64_t buckets_;
    std::int64_t weights_ = 0;
};

bool weights_changed(const ResilientTable& previous, const Shares& shares) {
    return std::ranges::any_of(previous.members, [&](const GroupMember& old) {
        const std::size_t i = shares.find(old.id);
        return i != shares.count() && shares.members()[i].weight != old.weight;
    });
}

// Members that own nothing yet are filled up to their share, each bucket from whoever has most too many.
void fill_newcomers(Shares& shares, const std::vector<bool>& newcomer) {
    for (std::size_t i = 0; i < shares.count(); ++i) {
        while (newcomer[i] && 2 * shares.deficit(i) > shares.one_bucket()) {
            const std::size_t from = shares.extreme(-1);
            if (from == i || shares.owned(from) == 0) {
                break;
            }
            shares.move_one(from, i);
        }
    }
}

void even_out(Shares& shares) {
    for (;;) {
        const std::size_t from = shares.extreme(-1);
        const std::size_t to = shares.extreme(1);
        if (shares.deficit(to) < shares.one_bucket() && -shares.deficit(from) < shares.one_bucket()) {
            return;
        }
        shares.move_one(from, to);
    }
}

}  // namespace

std::size_t bucket_count(std::size_t members) noexcept {
    return members <= 1 ? 1 : std::max(kGroupBuckets, std::bit_ceil(4 * members));
}

ResilientTable rebalance(const ResilientTable& previous, std::span<const GroupMember> members, std::size_t buckets) {
    Shares shares(members, buckets);
    if (shares.count() == 0) {
        return std::move(shares).table();
    }
    std::vector<std::size_t> orphans;
    for (std::size_t b = 0; b < buckets; ++b) {
        const std::size_t owner = previous.owners.size() == buckets ? shares.find(previous.owners[b]) : shares.count();
        if (owner == shares.count()) {
            orphans.push_back(b);
        } else {
            shares.give(owner, b);
        }
    }
    std::vector<bool> newcomer(shares.count());
    for (std::size_t i = 0; i < shares.count(); ++i) {
        newcomer[i] = shares.owned(i) == 0;
    }
    for (const std::size_t bucket : orphans) {
        shares.give(shares.extreme(1), bucket);
    }
    fill_newcomers(shares, newcomer);
    if (weights_changed(previous, shares)) {
        even_out(shares);
    }
    return std::move(shares).table();
}

}  // namespace twinspan
