// Groups by next-hop set: routes with the same next hops share one, so a repair costs the same for any number of
// routes.
#pragma once

#include "dataplane/base/prefix.hpp"
#include "dataplane/base/zone.hpp"
#include "dataplane/config/resilient_table.hpp"

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace twinspan {

// A way out by name: a gateway on a leg, or a tunnel. A group uses the hops of the lowest tier that has a usable one.
struct HopKey {
    std::uint16_t leg = kNone;
    std::uint16_t tunnel = kNone;
    IpAddress gateway;  // unspecified for a tunnel, and for a leg of tier 1: its default gateway, whichever that is
    std::uint8_t tier = 0;  // 0: the route's own hop; 1: a fallback from the configuration
    bool is_tunnel() const noexcept { return tunnel != kNone; }
    friend auto operator<=>(const HopKey&, const HopKey&) = default;
};

// Sorted, each hop once, with its weight.
using GroupKey = std::vector<std::pair<HopKey, std::uint32_t>>;
GroupKey make_group_key(GroupKey hops);  // sorts, adds up the weights of equal hops
// The tunnels among the hops; empty when there are none.
GroupKey tunnels_only(const GroupKey& key);

struct GroupState {
    std::uint32_t id = 0;  // index in Snapshot::groups
    std::vector<std::uint32_t> hops;  // ids of the hops for ResilientTable, in the key's order
    ResilientTable table;
    std::size_t routes = 0;  // of the FIB, that name it
};

// Ids are stable. A group that no route names any more stays until the next retire(), for packets may still name it.
class GroupSet {
public:
    GroupSet() = default;
    GroupSet(GroupSet&&) = default;  // a copy's pointers would name the original's keys
    GroupSet& operator=(GroupSet&&) = default;

    // At the start of a change: frees what had lost its last route when the one before ended.
    std::vector<GroupKey> retire();
    // A route of the FIB names the group, or does so no longer.
    void hold(std::uint32_t id);
    void let_go(std::uint32_t id);

    // The group of this next-hop set. A new one starts from the buckets of `like`, the group that the route had
    // before, so a route that loses or gains a hop keeps the flows of the others where they are.
    std::uint32_t use(const GroupKey& key, std::optional<std::uint32_t> like);

    std::map<GroupKey, GroupState>& groups() noexcept { return groups_; }
    const std::map<GroupKey, GroupState>& groups() const noexcept { return groups_; }
    const GroupKey* key_of(std::uint32_t id) const;
    std::size_t id_end() const noexcept { return by_id_.size(); }

private:
    std::uint32_t new_id();
    std::uint32_t hop_id(const HopKey& hop);
    void forget_old_hops();

    std::map<GroupKey, GroupState> groups_;
    std::vector<std::map<GroupKey, GroupState>::value_type*> by_id_;  // into groups_, whose nodes do not move
    std::vector<std::uint32_t> idle_;                                 // without a route, some of them
    std::map<HopKey, std::uint32_t> hop_ids_;
    std::uint32_t next_hop_id_ = 0;
    std::uint32_t first_free_ = 0;  // no id below is free
};

}  // namespace twinspan
