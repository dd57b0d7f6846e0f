// What sessions hang on: their host, their mapping, their block of ports. Each is a record that ends with the last one
// that holds it. One that ends may still be in the indexes for a moment: who looks for it then makes another.
#include "dataplane/state/nat_table.hpp"

#include <utility>

namespace twinspan {
namespace {

NatKey block_key(const NatKey& inside, std::uint16_t nth) noexcept {
    return nat_key(inside.address(), {}, to_be16(nth), {}, 0, inside.pool()).as(NatRecord::block);
}

// How many ports a block has lies where a session has the time that it was seen last.
void set_block_ports(NatSession& block, std::uint32_t ports) noexcept {
    block.last_seen.store(ports, std::memory_order_relaxed);
}
std::uint32_t block_ports(const NatSession& block) noexcept { return block.last_seen.load(std::memory_order_relaxed); }

}  // namespace

NatTable::Held NatTable::hold(std::uint32_t number, std::uint32_t most) noexcept {
    std::atomic<std::uint32_t>& users = sessions_[number].users;
    std::uint32_t n = users.load(std::memory_order_relaxed);
    do {
        if (n == kGone || n >= most) {
            return n == kGone ? Held::gone : Held::full;
        }
    } while (!users.compare_exchange_weak(n, n + 1, std::memory_order_acq_rel, std::memory_order_relaxed));
    return Held::yes;
}

void NatTable::release(Worker& worker, std::uint32_t number) noexcept {
    if (number == 0 || sessions_[number].users.fetch_sub(1, std::memory_order_acq_rel) != 1) {
        return;
    }
    std::uint32_t none = 0;  // it may have been held again
    if (sessions_[number].users.compare_exchange_strong(none, kGone, std::memory_order_acq_rel,
                                                        std::memory_order_relaxed)) {
        end_parent(worker, number);
    }
}

void NatTable::end_parent(Worker& worker, std::uint32_t number) noexcept {
    const NatKey inside = sessions_[number].inside();
    const NatKey outside = sessions_[number].outside();
    const std::uint32_t block = sessions_[number].parent();
    unlink_inside(worker, number);
    if (inside.kind() == NatRecord::host) {
        retire(worker, number);
        return;
    }
    unlink_outside(worker, number);
    if (inside.kind() == NatRecord::mapping) {
        worker.tell(NatEventKind::mapping_ended, inside, outside);
    } else {
        worker.tell(NatEventKind::block_freed, inside, outside, block_ports(sessions_[number]));
    }
    release(worker, block);
}

// Finds the record of `key`, or has make(number) complete a new one; held either way.
template <class Is, class Make>
NatTable::Outcome NatTable::hold_or_make(Opening& o, const NatKey& key, std::uint32_t most, Is is, Make make,
                                         std::uint32_t& held) noexcept {
    const std::uint64_t hash = hash_(key);
    constexpr int kTries = 3;  // another worker may end it, or be faster to make it, again and again
    for (int i = 0; i < kTries; ++i) {
        held = inside_.find(hash, is);
        if (held != 0) {
            const Held got = hold(held, most);
            if (got == Held::gone) {
                continue;
            }
            return got == Held::yes ? Outcome::done : Outcome::host_full;
        }
        held = take(o);
        if (held == 0) {
            return Outcome::no_record;
        }
        fill(held, key, o.now);
        if (const Outcome outcome = make(held); outcome != Outcome::done) {
            numbers_.give(o.worker.numbers, held);
            return outcome;
        }
        tell_begun(o, held);  // first, since its end is told however it ends
        const NatIndex::Insert inserted = inside_.insert(hash, held, is).result;
        if (inserted == NatIndex::Insert::done) {
            return Outcome::done;
        }
        release(o.worker, held);  // another worker was faster, or there is no room
        if (inserted == NatIndex::Insert::full) {
            return Outcome::no_record;
        }
    }
    return Outcome::no_record;
}

void NatTable::tell_begun(Opening& o, std::uint32_t number) noexcept {
    const NatSession& record = sessions_[number];
    const NatKey key = record.inside();
    if (key.kind() == NatRecord::mapping) {
        o.worker.tell(NatEventKind::mapping_created, key, record.outside());
    } else if (key.kind() == NatRecord::block) {
        o.worker.tell(NatEventKind::block_allocated, key, record.outside(), block_ports(record));
    }
}

NatTable::Outcome NatTable::hold_host(Opening& o) noexcept {
    const NatKey key = nat_key(o.inside.address(), {}, {}, {}, 0, o.inside.pool()).as(NatRecord::host);
    const auto is = [this, key](std::uint32_t number) noexcept {
        return sessions_[number].inside() == key && lasts(number);
    };
    const auto make = [&](std::uint32_t number) noexcept {
        NatSession& host = sessions_[number];
        const be32 address =
            o.pool.address_count == 0 ? be32{} : o.pool.nth_address(address_for(o.inside.address(), o.pool));
        host.outside_addresses.store(address.raw, std::memory_order_release);
        host.outside_rest.store(0, std::memory_order_release);
        return Outcome::done;
    };
    const std::uint32_t most = o.pool.host_sessions == 0 ? kMostUsers : o.pool.host_sessions;
    std::uint32_t host = 0;
    if (const Outcome outcome = hold_or_make(o, key, most, is, make, host); outcome != Outcome::done) {
        return outcome;
    }
    if (o.pool.host_rate != 0 && !o.restoring && !within_rate(sessions_[host], o.pool.host_rate, o.now)) {
        release(o.worker, host);
        return Outcome::host_fast;
    }
    o.host = host;
    return Outcome::done;
}

// How many it began in this second: the second and the count in one word.
bool NatTable::within_rate(NatSession& host, std::uint32_t rate, std::uint32_t now) noexcept {
    std::atomic<std::uint64_t>& word = host.outside_rest;
    const std::uint64_t second = static_cast<std::uint64_t>(now) << 32;
    std::uint64_t known = word.load(std::memory_order_relaxed);
    std::uint64_t next = 0;
    do {
        const bool same = known >> 32 == now;
        if (same && static_cast<std::uint32_t>(known) >= rate) {
            return false;
        }
        next = same ? known + 1 : second + 1;
    } while (!word.compare_exchange_weak(known, next, std::memory_order_relaxed));
    return true;
}

// One inside host, one outside address, as long as the pool has it.
be32 NatTable::paired_address(Opening& o) noexcept {
    NatSession& host = sessions_[o.host];
    const be32 address = host.outside().address();
    if (o.pool.holds(address)) {
        return address;
    }
    const be32 other = o.pool.nth_address(address_for(o.inside.address(), o.pool));
    host.outside_addresses.store(other.raw, std::memory_order_release);
    return other;
}

NatTable::Outcome NatTable::hold_mapping(Opening& o) noexcept {
    const NatKey key = o.inside.mapping();
    std::uint32_t& held = sessions_[o.session].parent();
    const auto make = [&](std::uint32_t number) noexcept { return claim(o, number); };
    const Outcome outcome = hold_or_make(o, key, kMostUsers, mapping_of(key, o.pool), make, held);
    if (outcome != Outcome::done) {
        held = 0;
    }
    return outcome;
}

// The host's nth block; 0: it has none, and none may be made.
NatTable::Outcome NatTable::hold_block(Opening& o, std::uint16_t nth, bool may_make, std::uint32_t& block) noexcept {
    const NatKey key = block_key(o.inside, nth);
    if (!may_make) {
        block = inside_.find(hash_(key), mapping_of(key, o.pool));
        block = block != 0 && hold(block, kMostUsers) == Held::yes ? block : 0;
        return Outcome::done;
    }
    const auto make = [&](std::uint32_t number) noexcept {
        set_block_ports(sessions_[number], o.pool.block_ports);
        return claim_block(o, number, paired_address(o));
    };
    return hold_or_make(o, key, kMostUsers, mapping_of(key, o.pool), make, block);
}

// As it was: the mapping that an endpoint-independent pool has for it, and the block that its port lies in.
NatTable::Outcome NatTable::claim_again(Opening& o, const NatKey& outside) noexcept {
    if (o.pool.mapping != NatMapping::endpoint_independent || !nat_has_ports(outside.protocol())) {
        return claim_again_at(o, o.session, outside);
    }
    const NatKey key = o.inside.mapping();
    std::uint32_t& held = sessions_[o.session].parent();
    const auto make = [&](std::uint32_t number) noexcept { return claim_again_at(o, number, outside); };
    const Outcome outcome = hold_or_make(o, key, kMostUsers, mapping_of(key, o.pool), make, held);
    if (outcome != Outcome::done) {
        held = 0;
        return outcome;
    }
    return sessions_[held].outside() == outside.mapping() ? claim_given(o, outside) : Outcome::conflict;
}

NatTable::Outcome NatTable::claim_again_at(Opening& o, std::uint32_t subject, const NatKey& outside) noexcept {
    const std::uint32_t port = outside.port().host();
    if (o.pool.block_ports == 0 || !nat_has_ports(outside.protocol())) {
        return claim_port(o, subject, outside.address(), port);
    }
    const std::uint32_t first = port - (port - o.pool.first_port) % o.pool.block_ports;
    for (std::uint16_t i = 0; i < o.pool.host_blocks; ++i) {
        const NatKey key = block_key(o.inside, i);
        const auto make = [&](std::uint32_t number) noexcept {
            set_block_ports(sessions_[number], o.pool.block_ports);
            return claim_port(o, number, outside.address(), first);
        };
        std::uint32_t block = 0;
        Outcome outcome = hold_or_make(o, key, kMostUsers, mapping_of(key, o.pool), make, block);
        if (outcome != Outcome::done) {
            return outcome;
        }
        const NatKey at = sessions_[block].outside();
        if (at.address() == outside.address() && at.port().host() == first) {
            outcome = claim_port(o, subject, outside.address(), port);
            sessions_[subject].parent() = outcome == Outcome::done ? block : 0;
        } else {
            outcome = Outcome::host_blocks_full;
        }
        if (outcome != Outcome::done) {
            release(o.worker, block);
        }
        if (outcome != Outcome::host_blocks_full) {
            return outcome;
        }
    }
    return Outcome::host_blocks_full;
}

}  // namespace twinspan
