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
    bool used = true;  // false: kept for one more generation, while packets may still name it
};

// All groups of one generation. Ids are stable, and free again only after a generation without their group.
class GroupSet {
public:
    GroupSet() = default;
    GroupSet(GroupSet&&) = default;  // a copy's pointers would name the original's keys
    GroupSet& operator=(GroupSet&&) = default;

    // Starts from the generation before: its groups stay, unused until asked for.
    static GroupSet after(const GroupSet& previous);

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

    std::map<GroupKey, GroupState> groups_;
    std::vector<const GroupKey*> by_id_;  // into groups_, whose nodes do not move
    std::map<HopKey, std::uint32_t> hop_ids_;
    std::uint32_t next_hop_id_ = 0;
    std::uint32_t first_free_ = 0;  // no id below is free
};

}  // namespace twinspan
