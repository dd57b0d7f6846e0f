#include "control/model/groups.hpp"

#include <algorithm>
#include <utility>

namespace twinspan {
namespace {

// The same flows in the same hands with another number of buckets: a bucket's low bits say which it was before.
ResilientTable resized(const ResilientTable& table, std::size_t buckets) {
    ResilientTable result;
    result.members = table.members;
    for (std::size_t b = 0; b < buckets && !table.owners.empty(); ++b) {
        result.owners.push_back(table.owners[b & (table.owners.size() - 1)]);
    }
    return result;
}

}  // namespace

GroupKey make_group_key(GroupKey hops) {
    std::ranges::sort(hops);
    GroupKey key;
    for (const auto& [hop, weight] : hops) {
        if (!key.empty() && key.back().first == hop) {
            key.back().second += weight;
        } else {
            key.emplace_back(hop, weight);
        }
    }
    return key;
}

GroupKey tunnels_only(const GroupKey& key) {
    GroupKey result;
    std::ranges::copy_if(key, std::back_inserter(result), [](const auto& hop) { return hop.first.is_tunnel(); });
    return result;
}

std::vector<GroupKey> GroupSet::retire() {
    std::vector<GroupKey> gone;
    for (const std::uint32_t id : std::exchange(idle_, {})) {
        if (by_id_[id] != nullptr && by_id_[id]->second.routes == 0) {
            gone.push_back(by_id_[id]->first);
            by_id_[id] = nullptr;
            groups_.erase(gone.back());
            first_free_ = std::min(first_free_, id);
        }
    }
    if (!gone.empty()) {
        forget_old_hops();
    }
    return gone;
}

// Now and then: hops that no group has keep their ids for a while, which costs nothing but memory.
void GroupSet::forget_old_hops() {
    std::size_t in_use = 0;
    for (const auto& [key, state] : groups_) {
        in_use += key.size();
    }
    if (hop_ids_.size() <= 2 * in_use + 1024) {
        return;
    }
    hop_ids_.clear();
    for (const auto& [key, state] : groups_) {
        for (std::size_t i = 0; i < key.size(); ++i) {
            hop_ids_.emplace(key[i].first, state.hops[i]);
        }
    }
}

void GroupSet::hold(std::uint32_t id) { ++by_id_[id]->second.routes; }

void GroupSet::let_go(std::uint32_t id) {
    if (--by_id_[id]->second.routes == 0) {
        idle_.push_back(id);
    }
}

std::uint32_t GroupSet::use(const GroupKey& key, std::optional<std::uint32_t> like) {
    const auto [it, added] = groups_.try_emplace(key);
    GroupState& state = it->second;
    if (added) {
        state.id = new_id();
        by_id_[state.id] = &*it;
        idle_.push_back(state.id);  // until a route names it
        for (const auto& [hop, weight] : key) {
            state.hops.push_back(hop_id(hop));
        }
        if (const GroupKey* model = like ? key_of(*like) : nullptr; model != nullptr) {
            state.table = resized(groups_.at(*model).table, bucket_count(key.size()));
        }
    }
    return state.id;
}

const GroupKey* GroupSet::key_of(std::uint32_t id) const {
    return id < by_id_.size() && by_id_[id] != nullptr ? &by_id_[id]->first : nullptr;
}

std::uint32_t GroupSet::new_id() {
    while (first_free_ < by_id_.size() && by_id_[first_free_] != nullptr) {
        ++first_free_;
    }
    if (first_free_ == by_id_.size()) {
        by_id_.push_back(nullptr);
    }
    return first_free_;
}

std::uint32_t GroupSet::hop_id(const HopKey& hop) {
    const auto [it, added] = hop_ids_.try_emplace(hop, next_hop_id_);
    next_hop_id_ += added ? 1 : 0;
    return it->second;
}

}  // namespace twinspan
