// Sessions of an earlier run: opened as they were, both ends given, and what they hang on made anew.
#include "dataplane/state/nat_table.hpp"

#include <algorithm>
#include <utility>

namespace twinspan {
namespace {

bool gives_port(const NatPool& pool, std::uint32_t port) noexcept {
    const std::uint32_t past = pool.block_ports == 0 ? 0 : (port - pool.first_port) % pool.block_ports;
    return pool.gives(port) && (pool.block_ports == 0 || port - past + pool.block_ports - 1u <= pool.last_port);
}

const NatStatic* static_of(const NatPool& pool, const NatKey& outside) noexcept {
    return pool.statics.from_outside(outside.address(), outside.protocol(), outside.port());
}

// Whether the pool would give this end to a session still.
bool gives(const NatPool& pool, const NatSessionView& was) noexcept {
    const NatKey& inside = was.inside;
    const NatKey& outside = was.outside;
    const bool same_remote = outside.remote() == inside.remote() && outside.remote_port() == inside.remote_port();
    if (const NatStatic* mapping = static_of(pool, outside)) {
        return inside.address() == mapping->inside && inside.port() == mapping->to_inside(outside.port()) &&
               (same_remote || pool.stands_for_outside(inside.remote()));
    }
    return same_remote && pool.holds(outside.address()) &&
           (!nat_has_ports(outside.protocol()) || gives_port(pool, outside.port().host()));
}

bool is_expired(const NatSessionView& was, const NatPool& pool, std::uint32_t now) noexcept {
    return nat_expired(was.last_seen, now, nat_timeout(was.protocol(), was.tcp, pool.timeouts));
}

}  // namespace

NatRestored NatTable::restore(std::span<const NatSessionView> sessions, std::span<const NatPool> pools,
                              std::uint32_t now_seconds) noexcept {
    constexpr std::size_t kAhead = 8;
    NatRestored result;
    NatEventRing* const events = std::exchange(workers_[0].events, nullptr);  // who keeps a log knows them
    for (std::size_t i = 0; i < sessions.size(); ++i) {
        if (i + kAhead < sessions.size()) {
            inside_.prefetch(hash_(sessions[i + kAhead].inside));
            outside_.prefetch(hash_(sessions[i + kAhead].outside));
        }
        const NatSessionView& was = sessions[i];
        if (const NatSession* session = find_inside(was.inside);
            session != nullptr && session->outside() == was.outside) {
            continue;  // it was found twice
        }
        const std::optional<NatLeftOut> why =
            was.pool() >= pools.size() ? NatLeftOut::no_pool : restore_one(was, pools[was.pool()], now_seconds);
        why ? result.leave_out(*why) : void(++result.restored);
    }
    workers_[0].events = events;
    return result;
}

std::optional<NatLeftOut> NatTable::restore_one(const NatSessionView& was, const NatPool& pool,
                                                std::uint32_t now) noexcept {
    if (is_expired(was, pool, now)) {
        return NatLeftOut::expired;
    }
    if (!gives(pool, was)) {
        return NatLeftOut::no_address;
    }
    const bool is_static = static_of(pool, was.outside) != nullptr;
    Opening o{.worker = workers_[0], .pool = pool, .inside = was.inside, .now = now, .restoring = true};
    Outcome outcome = begin(o);
    if (outcome == Outcome::done) {
        outcome = is_static ? claim_given(o, was.outside) : claim_again(o, was.outside);
    }
    if (outcome != Outcome::done) {
        give_up(o);
        switch (outcome) {
            case Outcome::pool_down:
                return NatLeftOut::no_pool;
            case Outcome::no_record:
                return NatLeftOut::no_room;
            case Outcome::host_full:
            case Outcome::host_blocks_full:
                return NatLeftOut::host_limit;
            default:
                return NatLeftOut::taken;
        }
    }
    const NatIndex::Insert inserted = inside_.insert(hash_(o.inside), o.session, inside_is(o.inside)).result;
    if (inserted != NatIndex::Insert::done) {
        discard(o);
        return inserted == NatIndex::Insert::full ? NatLeftOut::no_room : NatLeftOut::taken;
    }
    NatSession& session = sessions_[o.session];
    session.created.store(was.created, std::memory_order_relaxed);
    session.last_seen.store(was.last_seen, std::memory_order_relaxed);
    session.tcp.store(was.tcp, std::memory_order_relaxed);
    if (o.host != 0 && !is_static) {  // what it opens next is to have the same address
        sessions_[o.host].outside_addresses.store(was.outside.address().raw, std::memory_order_relaxed);
    }
    publish(o);
    o.worker.counters(o.inside.pool()).restored.add(1);
    return std::nullopt;
}

}  // namespace twinspan
