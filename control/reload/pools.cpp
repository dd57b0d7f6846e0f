#include "control/reload/pools.hpp"

#include <algorithm>
#include <array>

namespace twinspan {

namespace {

constexpr std::array kTranslated = {Zone::public_peering, Zone::microsoft_peering, Zone::internet};

using Pools = std::vector<PoolConfig>;

KeyPath nat_of(Zone zone) { return {"peerings", to_string(zone), "nat"}; }

KeyPath below(KeyPath path, std::initializer_list<std::string> names) {
    path.insert(path.end(), names);
    return path;
}

KeyPath addresses_of(const PoolConfig& pool) {
    KeyPath path = below(nat_of(pool.zone), {"pool"});
    return pool.link == Link::none ? path : below(path, {to_string(pool.link)});
}

// Of one peering and link: the same pool, whatever else of it has changed.
bool is_same(const PoolConfig& a, const PoolConfig& b) { return a.zone == b.zone && a.link == b.link; }

const PoolConfig* find(const Pools& pools, const PoolConfig& like) {
    const auto it = std::ranges::find_if(pools, [&](const PoolConfig& pool) { return is_same(pool, like); });
    return it == pools.end() ? nullptr : &*it;
}

// Those that translate.
std::vector<const PoolConfig*> of_zone(const Pools& pools, Zone zone) {
    std::vector<const PoolConfig*> result;
    for (const PoolConfig& pool : pools) {
        if (pool.zone == zone && !pool.removed()) {
            result.push_back(&pool);
        }
    }
    return result;
}

bool has_link_pools(const std::vector<const PoolConfig*>& pools) { return pools.front()->link != Link::none; }

class PoolComparison {
public:
    PoolComparison(Zone zone, const PoolConfig& running, const PoolConfig& wanted, std::vector<ConfigChange>& changes)
        : section_(nat_of(zone)), running_(running), wanted_(wanted), changes_(changes) {}

    // What all pools of a peering have in common.
    void run() {
        const std::size_t before = changes_.size();
        key({"ports"}, std::pair{running_.first_port, running_.last_port},
            std::pair{wanted_.first_port, wanted_.last_port});
        key({"protocols"}, running_.any_protocol, wanted_.any_protocol);
        key({"static"}, running_.statics, wanted_.statics);
        key({"from-microsoft"}, running_.from_microsoft, wanted_.from_microsoft);
        key({"reserved"}, running_.reserved, wanted_.reserved);
        key({"mode"}, running_.mapping, wanted_.mapping);
        key({"host-limit"}, running_.host_sessions, wanted_.host_sessions);
        key({"host-rate"}, running_.host_rate, wanted_.host_rate);
        key({"port-blocks", "size"}, running_.block_ports, wanted_.block_ports);
        key({"port-blocks", "per-host"}, running_.host_blocks, wanted_.host_blocks);
        key({"inbound-refresh"}, running_.inbound_refresh, wanted_.inbound_refresh);
        key({"sessions"}, running_.sessions, wanted_.sessions);
        key({"high-water"}, running_.high_water, wanted_.high_water);
        key({"low-water"}, running_.low_water, wanted_.low_water);
        const auto& [udp, established, transitory, closing, icmp, other] = running_.timeouts;
        key({"timeouts", "udp"}, udp, wanted_.timeouts.udp);
        key({"timeouts", "tcp-established"}, established, wanted_.timeouts.tcp_established);
        key({"timeouts", "tcp-transitory"}, transitory, wanted_.timeouts.tcp_transitory);
        key({"timeouts", "tcp-closing"}, closing, wanted_.timeouts.tcp_closing);
        key({"timeouts", "icmp"}, icmp, wanted_.timeouts.icmp);
        key({"timeouts", "other"}, other, wanted_.timeouts.other);
        if (changes_.size() == before && !same_besides()) {
            changes_.push_back({section_, Effect::restart});
        }
    }

private:
    template <class T>
    void key(std::initializer_list<std::string> names, const T& running, const T& wanted) {
        if (!(running == wanted)) {
            changes_.push_back({below(section_, names), Effect::plan});
        }
    }
    // What no key is known for must not pass as if it had been followed.
    bool same_besides() const {
        PoolConfig running = running_;
        running.ranges = wanted_.ranges;
        running.draining = wanted_.draining;
        return running == wanted_;
    }

    KeyPath section_;
    const PoolConfig& running_;
    const PoolConfig& wanted_;
    std::vector<ConfigChange>& changes_;
};

// Blocks of two sizes, or from two beginnings, would share ports. `had`: as the pool last had any.
void refuse_blocks(const PoolConfig& had, const PoolConfig& wanted, std::vector<PoolRefusal>& refusals) {
    if (wanted.block_ports == 0) {
        return;
    }
    if (had.block_ports != wanted.block_ports) {
        refusals.push_back({below(nat_of(wanted.zone), {"port-blocks", "size"}),
                            "found blocks of " + std::to_string(wanted.block_ports) + " ports, expected " +
                                std::to_string(had.block_ports) + ": hosts may have such; a change takes a restart"});
    }
    if (had.first_port != wanted.first_port) {
        refusals.push_back(
            {below(nat_of(wanted.zone), {"ports"}), "found ports from " + std::to_string(wanted.first_port) +
                                                        " on, expected " + std::to_string(had.first_port) +
                                                        ": blocks of ports begin there; a change takes a restart"});
    }
}

// Hosts outside have these addresses inside, and nothing but a walk over all sessions tells which.
void refuse_sources(const PoolConfig& running, const PoolConfig& wanted, std::vector<PoolRefusal>& refusals) {
    if (const Ranges gone = subtract(running.from_microsoft, wanted.from_microsoft); !gone.empty()) {
        refusals.push_back(
            {below(nat_of(wanted.zone), {"from-microsoft"}),
             "found no " + to_string(gone) + ", expected all that are in use; to take addresses out takes a restart"});
    }
}

// One address, one pool, until nothing is left of the first.
void refuse_moves(const Pools& running, const PoolConfig& wanted, std::vector<PoolRefusal>& refusals) {
    for (const PoolConfig& other : running) {
        const bool same = other.zone == wanted.zone && other.link == wanted.link;
        const Ranges had = unite(other.ranges, other.draining);
        const bool moves = same
                               ? overlap(wanted.from_microsoft, had)
                               : overlap(unite(wanted.ranges, wanted.from_microsoft), unite(had, other.from_microsoft));
        if (moves) {
            const bool drains =
                overlap(wanted.ranges, other.draining) || overlap(wanted.from_microsoft, other.draining);
            refusals.push_back({addresses_of(wanted), "found addresses of pool " + name_of(other) +
                                                          ", expected others until they are taken out there and have "
                                                          "drained" +
                                                          (drains ? " ('show nat' tells)" : "")});
        }
    }
}

void refuse_link_pools(const Pools& running, Zone zone, const std::vector<const PoolConfig*>& wanted,
                       std::vector<PoolRefusal>& refusals) {
    for (const PoolConfig& pool : running) {
        const bool lives = !pool.removed() || !pool.draining.empty();
        if (pool.zone == zone && lives && (pool.link != Link::none) != has_link_pools(wanted)) {
            refusals.push_back({below(nat_of(zone), {"pool"}),
                                std::string{"found "} + (has_link_pools(wanted) ? "a pool for each link" : "one pool") +
                                    ", expected " + (pool.link == Link::none ? "one pool" : "a pool for each link") +
                                    ": that has sessions; a change takes a restart"});
            return;
        }
    }
}

}  // namespace

std::vector<PoolConfig> follow_pools(std::vector<PoolConfig> running, const std::vector<PoolConfig>& wanted) {
    for (PoolConfig& pool : running) {
        const Ranges had = unite(pool.ranges, pool.draining);
        const PoolConfig* next = find(wanted, pool);
        if (next != nullptr) {
            pool = *next;
        } else {
            pool.ranges.clear();
            pool.statics.clear();  // `from_microsoft` is where replies go
        }
        pool.draining = subtract(had, pool.ranges);
    }
    for (const PoolConfig& pool : wanted) {
        if (find(running, pool) == nullptr) {
            running.push_back(pool);
        }
    }
    return running;
}

void give_up(PoolConfig& pool, const Ranges& drained) {
    pool.draining = subtract(pool.draining, drained);
    if (pool.removed() && pool.draining.empty()) {
        pool.from_microsoft.clear();
    }
}

std::vector<ConfigChange> compare_pools(const Pools& running, const Pools& wanted) {
    std::vector<ConfigChange> changes;
    for (const Zone zone : kTranslated) {
        const auto before = of_zone(running, zone);
        const auto after = of_zone(wanted, zone);
        if (before.empty() || after.empty()) {
            if (before.size() != after.size()) {
                changes.push_back({nat_of(zone), Effect::plan});
            }
            continue;
        }
        for (const PoolConfig* pool : after) {
            const PoolConfig* was = find(running, *pool);
            if (was == nullptr || was->ranges != pool->ranges) {
                changes.push_back({addresses_of(*pool), Effect::plan});
            }
        }
        PoolComparison{zone, *before.front(), *after.front(), changes}.run();
    }
    return changes;
}

void note_blocks(Pools& had_blocks, const Pools& running) {
    for (const PoolConfig& pool : running) {
        if (pool.block_ports != 0) {
            std::erase_if(had_blocks, [&](const PoolConfig& had) { return is_same(had, pool); });
            had_blocks.push_back(pool);
        }
    }
}

std::vector<PoolRefusal> refuse_pools(const Pools& running, const Pools& wanted, std::uint32_t room,
                                      const Pools& had_blocks) {
    std::vector<PoolRefusal> refusals;
    std::uint64_t sessions = 0;
    for (const Zone zone : kTranslated) {
        if (const auto pools = of_zone(wanted, zone); !pools.empty()) {
            refuse_link_pools(running, zone, pools, refusals);
        }
    }
    for (const PoolConfig& pool : wanted) {
        sessions += pool.sessions;
        if (const PoolConfig* was = find(running, pool); was != nullptr) {
            refuse_sources(*was, pool, refusals);
        }
        if (const PoolConfig* had = find(had_blocks, pool)) {
            refuse_blocks(*had, pool, refusals);
        }
        refuse_moves(running, pool, refusals);
    }
    for (const PoolConfig& pool : wanted) {
        const PoolConfig* was = find(running, pool);
        const bool grew = was == nullptr || was->removed() || was->sessions < pool.sessions;
        if (sessions > room && grew) {
            refusals.push_back({below(nat_of(pool.zone), {"sessions"}),
                                "found room for " + std::to_string(sessions) + " sessions in all pools, expected " +
                                    std::to_string(room) +
                                    " at most: that is the table since the start; more take a "
                                    "restart"});
        }
    }
    return refusals;
}

}  // namespace twinspan
