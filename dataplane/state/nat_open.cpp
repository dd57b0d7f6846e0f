// How a session begins: a record, its host's room, an outside port, and both indexes.
#include "dataplane/state/nat_table.hpp"

namespace twinspan {

NatTable::Opened NatTable::open(std::uint16_t worker_index, const NatKey& inside, const NatPool& pool,
                                std::uint32_t now_seconds) noexcept {
    if (NatSession* session = find_inside(inside)) {  // an earlier packet of the burst made it
        return {session, {}};
    }
    Opening o{.worker = workers_[worker_index], .pool = pool, .inside = inside, .now = now_seconds};
    Outcome outcome = begin(o);
    if (outcome == Outcome::done) {
        const bool mapped = pool.mapping == NatMapping::endpoint_independent && nat_has_ports(inside.protocol());
        outcome = mapped ? claim_mapped(o) : claim(o, o.session);
    }
    return outcome == Outcome::done ? finish(o) : refuse(o, outcome);
}

NatTable::Opened NatTable::open_inbound(std::uint16_t worker_index, const NatKey& outside, const NatKey& inside,
                                        const NatPool& pool, std::uint32_t now_seconds,
                                        const NatPool* source) noexcept {
    if (NatSession* session = find_outside(outside)) {
        return source != nullptr || session->inside() == inside ? Opened{session, {}}
                                                                : Opened{nullptr, Drop::nat_endpoint_taken};
    }
    Opening o{.worker = workers_[worker_index], .pool = pool, .inside = inside, .now = now_seconds};
    Outcome outcome = begin(o);
    if (outcome == Outcome::done) {
        outcome = source == nullptr ? claim_given(o, outside) : claim_remote(o, outside, *source);
    }
    if (outcome != Outcome::done) {
        return refuse(o, outcome);
    }
    return source == nullptr ? only_if_to(outside, finish(o)) : publish(o);
}

NatTable::Opened NatTable::open_mapped(std::uint16_t worker_index, const NatKey& outside, const NatPool& pool,
                                       std::uint32_t now_seconds) noexcept {
    if (NatSession* session = find_outside(outside)) {
        return {session, {}};
    }
    const NatKey key = outside.mapping();
    const std::uint32_t mapping = pool.open_filter ? outside_.find(hash_(key), mapping_to(key, pool)) : 0;
    if (mapping == 0 || hold(mapping, kMostUsers) != Held::yes) {
        return {nullptr, Drop::nat_no_session};
    }
    const NatKey own = sessions_[mapping].inside();
    const NatKey inside =
        nat_key(own.address(), outside.remote(), own.port(), outside.remote_port(), outside.protocol(), own.pool());
    Opening o{.worker = workers_[worker_index], .pool = pool, .inside = inside, .now = now_seconds};
    Outcome outcome = begin(o);
    if (outcome != Outcome::done) {
        release(o.worker, mapping);
        return refuse(o, outcome);
    }
    sessions_[o.session].parent() = mapping;
    outcome = claim_given(o, outside);
    return outcome == Outcome::done ? only_if_to(outside, finish(o)) : refuse(o, outcome);
}

// Another session of the inside endpoint would answer from another port.
NatTable::Opened NatTable::only_if_to(const NatKey& outside, Opened opened) noexcept {
    const bool other = opened.session != nullptr && opened.session->outside() != outside;
    return other ? Opened{nullptr, Drop::nat_endpoint_taken} : opened;
}

// What every session needs whichever way it gets its ports.
NatTable::Outcome NatTable::begin(Opening& o) noexcept {
    const bool taken_away = o.pool.address_count == 0 && o.pool.statics.empty();  // it keeps the sessions that it has
    if (o.pool.down || taken_away) {
        return Outcome::pool_down;
    }
    if (o.pool.knows_hosts()) {
        if (const Outcome outcome = hold_host(o); outcome != Outcome::done) {
            return outcome;
        }
    }
    o.session = take(o);
    if (o.session == 0) {
        return Outcome::no_record;
    }
    fill(o.session, o.inside, o.now);
    return Outcome::done;
}

std::uint32_t NatTable::take(Opening& o) noexcept {
    if (numbers_.scarce(o.worker.numbers) && !o.restoring) [[unlikely]] {
        make_room(o);
    }
    return numbers_.take(o.worker.numbers);
}

void NatTable::fill(std::uint32_t number, const NatKey& inside, std::uint32_t now_seconds) noexcept {
    NatSession& record = sessions_[number];
    // Release throughout: who sees a new field also sees the new generation.
    record.generation.store(record.generation.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    record.inside_addresses.store(inside.addresses, std::memory_order_release);
    record.inside_rest.store(inside.rest, std::memory_order_release);
    record.created.store(now_seconds, std::memory_order_release);
    record.last_seen.store(now_seconds, std::memory_order_release);
    record.tcp.store(0, std::memory_order_release);
    record.flags.store(0, std::memory_order_relaxed);
    record.users.store(1, std::memory_order_relaxed);
    record.parent() = 0;
    record.host() = 0;
}

// Both ends are known: the deltas follow.
void NatTable::set_outside(NatSession& session, const NatKey& outside) noexcept {
    const NatKey inside = session.inside();
    ChecksumDelta addresses{inside.address(), outside.address()};
    ChecksumDelta ports{inside.port(), outside.port()};
    if (inside.remote() != outside.remote() || inside.remote_port() != outside.remote_port()) {
        addresses += ChecksumDelta{inside.remote(), outside.remote()};
        ports += ChecksumDelta{inside.remote_port(), outside.remote_port()};
        session.flags.fetch_or(kNatTwice, std::memory_order_relaxed);
    }
    session.ip_delta = addresses;
    session.l4_delta = inside.protocol() == +IpProtocol::icmp ? ports : addresses + ports;  // ICMP: no pseudo-header
    session.outside_addresses.store(outside.addresses, std::memory_order_release);
    session.outside_rest.store(outside.rest, std::memory_order_release);
}

// The outside index has it. Another worker may have opened the same flow meanwhile.
NatTable::Opened NatTable::finish(Opening& o) noexcept {
    const NatIndex::Inserted inserted = inside_.insert(hash_(o.inside), o.session, inside_is(o.inside));
    if (inserted.result == NatIndex::Insert::done) {
        return publish(o);
    }
    discard(o);
    if (inserted.result == NatIndex::Insert::full) {
        return refuse(o, Outcome::no_record);
    }
    NatSession* other = &sessions_[inserted.session];
    return {other, {}};
}

NatTable::Opened NatTable::publish(Opening& o) noexcept {
    NatSession& session = sessions_[o.session];
    session.host() = o.host;
    session.live.store(1, std::memory_order_release);
    NatPoolCounters& counters = o.worker.counters(o.inside.pool());
    counters.opened[static_cast<std::size_t>(nat_protocol(o.inside.protocol()))].add(1);
    counters.address_opened[NatPoolCounters::slot(session.outside().address())].add(1);
    o.worker.tell(NatEventKind::session_created, o.inside, session.outside());
    return {&session, {}};
}

// Others may have seen the record by its outside key: it waits for a grace period.
void NatTable::discard(Opening& o) noexcept {
    const std::uint32_t parent = sessions_[o.session].parent();
    unlink_outside(o.worker, o.session);
    release(o.worker, parent);
    release(o.worker, o.host);
    o.session = 0;
    o.host = 0;
}

// Nobody has seen the record.
void NatTable::give_up(Opening& o) noexcept {
    if (o.session != 0) {
        release(o.worker, sessions_[o.session].parent());
        numbers_.give(o.worker.numbers, o.session);
    }
    release(o.worker, o.host);
}

NatTable::Opened NatTable::refuse(Opening& o, Outcome why) noexcept {
    give_up(o);
    NatPoolCounters& counters = o.worker.counters(o.inside.pool());
    switch (why) {
        case Outcome::done:
            break;
        case Outcome::exists:
            return {&sessions_[o.other], {}};
        case Outcome::no_record:
            counters.sessions_exhausted.add(1);
            o.worker.tell(NatEventKind::sessions_exhausted, o.inside, {}, capacity_);
            return {nullptr, Drop::nat_sessions_exhausted};
        case Outcome::no_port:
            counters.ports_exhausted.add(1);
            o.worker.tell(NatEventKind::addresses_exhausted, o.inside);
            return {nullptr, Drop::nat_ports_exhausted};
        case Outcome::no_block:
            counters.blocks_exhausted.add(1);
            o.worker.tell(NatEventKind::addresses_exhausted, o.inside);
            return {nullptr, Drop::nat_blocks_exhausted};
        case Outcome::host_full:
            counters.host_limited.add(1);
            o.worker.tell(NatEventKind::host_quota_exceeded, o.inside, {}, o.pool.host_sessions);
            return {nullptr, Drop::nat_host_limit};
        case Outcome::host_blocks_full:
            counters.host_limited.add(1);
            o.worker.tell(NatEventKind::host_quota_exceeded, o.inside, {},
                          std::uint32_t{o.pool.host_blocks} * o.pool.block_ports);
            return {nullptr, Drop::nat_host_limit};
        case Outcome::host_fast:
            counters.host_rate_limited.add(1);
            return {nullptr, Drop::nat_host_rate};
        case Outcome::pool_down:
            return {nullptr, Drop::nat_pool_down};
        case Outcome::conflict:
            return {nullptr, Drop::nat_endpoint_taken};
    }
    return {nullptr, Drop::nat_no_session};
}

}  // namespace twinspan
