#include "control/model/groups.hpp"

#include <algorithm>

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

GroupSet GroupSet::after(const GroupSet& previous) {
    GroupSet next;
    next.next_hop_id_ = previous.next_hop_id_;
    for (const auto& [key, state] : previous.groups_) {
        if (!state.used) {
            continue;
        }
        const auto [it, added] = next.groups_.emplace(key, state);
        it->second.used = false;
        next.by_id_.resize(std::max<std::size_t>(next.by_id_.size(), state.id + 1), nullptr);
        next.by_id_[state.id] = &it->first;
        for (std::size_t i = 0; i < key.size(); ++i) {
            next.hop_ids_.emplace(key[i].first, state.hops[i]);
        }
    }
    // What the previous generation kept on its way out is not named by any packet now, but by its snapshot.
    for (const auto& [key, state] : previous.groups_) {
        next.by_id_.resize(std::max<std::size_t>(next.by_id_.size(), state.id + 1), nullptr);
    }
    return next;
}

std::uint32_t GroupSet::use(const GroupKey& key, std::optional<std::uint32_t> like) {
    const auto [it, added] = groups_.try_emplace(key);
    GroupState& state = it->second;
    if (added) {
        state.id = new_id();
        by_id_[state.id] = &it->first;
        for (const auto& [hop, weight] : key) {
            state.hops.push_back(hop_id(hop));
        }
        if (const GroupKey* model = like ? key_of(*like) : nullptr; model != nullptr) {
            state.table = resized(groups_.at(*model).table, bucket_count(key.size()));
        }
    }
    state.used = true;
    return state.id;
}

const GroupKey* GroupSet::key_of(std::uint32_t id) const { return id < by_id_.size() ? by_id_[id] : nullptr; }

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
