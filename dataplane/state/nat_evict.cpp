// Who makes room when records or ports run out: the session that has been idle longest among those that are only
// opening, closing or unanswered, of as many as a packet may take the time to look at. Never an established one.
#include "dataplane/state/nat_table.hpp"

#include <algorithm>
#include <utility>

namespace twinspan {
namespace {

constexpr std::uint32_t kSample = 256;    // records
constexpr std::uint32_t kVictims = 4;    // one of each part of a sample: where most are established, parts have none
constexpr std::uint32_t kLeastIdle = 2;   // seconds: what just begins is let be

}  // namespace

// How long it has been idle if it may be ended for others; 0: it may not.
std::uint32_t NatTable::evictable(std::uint32_t number, std::uint32_t now) const noexcept {
    const NatSession& session = sessions_[number];
    if (session.live.load(std::memory_order_acquire) == 0 ||
        !nat_transitory(session.inside().protocol(), session.tcp.load(std::memory_order_relaxed))) {
        return 0;
    }
    const auto idle = static_cast<std::int32_t>(now - session.last_seen.load(std::memory_order_relaxed));
    return idle >= static_cast<std::int32_t>(kLeastIdle) ? static_cast<std::uint32_t>(idle) : 0;
}

void NatTable::consider(Opening& o, std::uint32_t number) const noexcept {
    if (const std::uint32_t idle = evictable(number, o.now); idle > o.victim_idle) {
        o.victim = number;
        o.victim_idle = idle;
    }
}

template <class Fits>
void NatTable::sample(Opening& o, std::uint32_t records, Fits fits) noexcept {
    const std::uint32_t high_water = numbers_.high_water();
    std::uint32_t& cursor = o.worker.sampled;
    for (std::uint32_t i = 0; i < std::min(records, high_water); ++i) {
        cursor = cursor >= high_water ? 1 : cursor + 1;
        if (fits(cursor)) {
            consider(o, cursor);
        }
    }
}

void NatTable::evict(Opening& o) noexcept {
    o.worker.counters(sessions_[o.victim].inside().pool()).evicted.add(1);
    end(o.worker, std::exchange(o.victim, 0));
}

// The record is free after a grace period: this begins before the last one is taken.
void NatTable::make_room(Opening& o) noexcept {
    const std::uint32_t victim = std::exchange(o.victim, 0);
    const std::uint32_t idle = std::exchange(o.victim_idle, 0);
    for (std::uint32_t i = 0; i < kVictims; ++i) {
        o.victim_idle = 0;
        sample(o, kSample / kVictims, [](std::uint32_t) noexcept { return true; });
        if (o.victim != 0) {
            evict(o);
        }
    }
    o.victim = victim;
    o.victim_idle = idle;
    release_retired(o.worker, NatNumbers::kChunk);
}

// The ports were all taken: that of the victim among those that were looked at. A mapping's sessions are not known from
// its port, so for one a victim is looked for that is alone on its mapping.
NatTable::Outcome NatTable::claim_from_victim(Opening& o, std::uint32_t subject) noexcept {
    const NatKey wanted = sessions_[subject].inside();
    if (wanted.kind() == NatRecord::mapping) {
        const be32 address = paired_address(o);
        sample(o, kSample, [&](std::uint32_t number) noexcept {
            const NatKey outside = sessions_[number].outside();
            if (outside.address() != address || outside.protocol() != wanted.protocol() ||
                !o.pool.gives(outside.port().host()) || evictable(number, o.now) <= o.victim_idle) {
                return false;
            }
            const NatKey key = sessions_[number].inside().mapping();
            const std::uint32_t mapping = inside_.find(hash_(key), mapping_of(key, o.pool));
            return mapping != 0 && sessions_[mapping].users.load(std::memory_order_relaxed) == 1;
        });
    }
    if (o.victim == 0) {
        return Outcome::no_port;
    }
    const NatKey freed = sessions_[o.victim].outside();
    evict(o);
    return claim_port(o, subject, freed.address(), freed.port().host());
}

}  // namespace twinspan
