// How a session begins: a record, an outside port that nobody uses towards this remote endpoint, and both indexes.
#include "dataplane/state/nat_table.hpp"

#include <algorithm>

namespace twinspan {
namespace {

constexpr std::uint32_t kProbesPerAddress = 128;  // a smaller port range is searched to its end
constexpr unsigned kProbesPerSession = 1024;      // a full pool must not hold the worker up

std::uint64_t next_random(std::uint64_t& state) noexcept {  // xorshift*, Vigna 2016
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545f4914f6cdd1du;
}

be32 address_at(const NatPool& pool, std::uint32_t ordinal) noexcept {
    for (const Ipv4Range& range : pool.addresses) {
        const std::uint32_t size = range.last.host() - range.first.host() + 1;
        if (ordinal < size) {
            return to_be32(range.first.host() + ordinal);
        }
        ordinal -= size;
    }
    return {};
}

bool is_icmp(const NatKey& key) noexcept { return key.protocol() == +IpProtocol::icmp; }

}  // namespace

NatTable::Opened NatTable::open(std::uint16_t worker_index, const NatKey& inside, const NatPool& pool,
                                std::uint32_t now_seconds) noexcept {
    if (NatSession* session = find_inside(inside)) {  // an earlier packet of the burst made it
        return {session, {}};
    }
    Worker& worker = workers_[worker_index];
    NatPoolCounters& counters = worker.counters(inside.pool());
    const std::uint32_t number = numbers_.take(worker.numbers);
    if (number == 0) {
        counters.sessions_exhausted.add(1);
        worker.tell(NatEventKind::sessions_exhausted, inside, {}, capacity_);
        return {nullptr, Drop::nat_sessions_exhausted};
    }
    NatSession& session = sessions_[number];
    fill(session, inside, now_seconds);
    if (const Claim claim = claim_outside(worker, number, pool); claim != Claim::done) {
        numbers_.give(worker.numbers, number);  // nobody has seen it
        const bool ports = claim == Claim::ports_exhausted;
        (ports ? counters.ports_exhausted : counters.sessions_exhausted).add(1);
        worker.tell(ports ? NatEventKind::addresses_exhausted : NatEventKind::sessions_exhausted, inside, {},
                    capacity_);
        return {nullptr, ports ? Drop::nat_ports_exhausted : Drop::nat_sessions_exhausted};
    }
    const NatIndex::Inserted inserted = inside_.insert(hash_(inside), number, inside_is(inside));
    if (inserted.result != NatIndex::Insert::done) {
        unlink_outside(worker, number);
        if (inserted.result == NatIndex::Insert::exists) {  // another worker was faster
            return {&sessions_[inserted.session], {}};
        }
        counters.sessions_exhausted.add(1);
        worker.tell(NatEventKind::sessions_exhausted, inside, {}, capacity_);
        return {nullptr, Drop::nat_sessions_exhausted};
    }
    session.live.store(1, std::memory_order_release);
    counters.opened[static_cast<std::size_t>(nat_protocol(inside.protocol()))].add(1);
    counters.address_opened[NatPoolCounters::slot(session.outside().address())].add(1);
    worker.tell(NatEventKind::session_created, inside, session.outside());
    return {&session, {}};
}

void NatTable::fill(NatSession& session, const NatKey& inside, std::uint32_t now_seconds) noexcept {
    // Release throughout: who sees a new field also sees the new generation.
    session.generation.store(session.generation.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    session.inside_addresses.store(inside.addresses, std::memory_order_release);
    session.inside_rest.store(inside.rest, std::memory_order_release);
    session.created.store(now_seconds, std::memory_order_release);
    session.last_seen.store(now_seconds, std::memory_order_release);
    session.tcp.store(0, std::memory_order_release);
}

// An inside host keeps to one address while it has free ports (RFC 4787 REQ-2), and hosts spread over all addresses.
NatTable::Claim NatTable::claim_outside(Worker& worker, std::uint32_t number, const NatPool& pool) noexcept {
    const NatKey host{sessions_[number].inside().address().raw, 0};
    std::uint32_t ordinal = scale_hash(hash_(host), pool.address_count);
    unsigned probes = kProbesPerSession;
    for (std::uint32_t i = 0; i < pool.address_count && probes != 0; ++i) {
        const Claim claim = claim_on_address(worker, number, address_at(pool, ordinal), pool, probes);
        if (claim != Claim::ports_exhausted) {
            return claim;
        }
        worker.tell(NatEventKind::ports_exhausted, sessions_[number].inside(),
                    nat_key(address_at(pool, ordinal), {}, {}, {}, sessions_[number].inside().protocol()));
        ordinal = ordinal + 1 == pool.address_count ? 0 : ordinal + 1;
    }
    return Claim::ports_exhausted;
}

NatTable::Claim NatTable::claim_on_address(Worker& worker, std::uint32_t number, be32 address, const NatPool& pool,
                                           unsigned& probes) noexcept {
    const std::uint32_t own = sessions_[number].inside().port().host();
    if (own >= pool.first_port && own <= pool.last_port) {  // RFC 4787 section 4.2.1: port preservation
        if (const Claim claim = claim_port(number, address, own); claim != Claim::ports_exhausted) {
            return claim;
        }
    }
    const std::uint32_t range = pool.last_port - pool.first_port + 1u;
    const bool exhaustive = range <= kProbesPerAddress;
    std::uint32_t offset = scale_hash(next_random(worker.random), range);
    for (std::uint32_t i = 0; i < std::min(range, kProbesPerAddress) && probes != 0; ++i, --probes) {
        if (const Claim claim = claim_port(number, address, pool.first_port + offset);
            claim != Claim::ports_exhausted) {
            return claim;
        }
        offset = exhaustive ? (offset + 1) % range : scale_hash(next_random(worker.random), range);
    }
    return Claim::ports_exhausted;
}

NatTable::Claim NatTable::claim_port(std::uint32_t number, be32 address, std::uint32_t port) noexcept {
    NatSession& session = sessions_[number];
    const NatKey inside = session.inside();
    const be16 outside_port = to_be16(static_cast<std::uint16_t>(port));
    const NatKey outside = nat_key(address, inside.remote(), outside_port, inside.remote_port(), inside.protocol());
    const std::uint64_t hash = hash_(outside);
    if (outside_.find(hash, outside_is(outside)) != 0) {  // taken, seen without the lock
        return Claim::ports_exhausted;
    }
    session.outside_addresses.store(outside.addresses, std::memory_order_release);
    session.outside_rest.store(outside.rest, std::memory_order_release);
    const ChecksumDelta of_port{inside.port(), outside_port};
    session.ip_delta = ChecksumDelta{inside.address(), address};
    session.l4_delta = is_icmp(inside) ? of_port : session.ip_delta + of_port;  // ICMP has no pseudo-header
    switch (outside_.insert(hash, number, outside_is(outside)).result) {
        case NatIndex::Insert::done:
            return Claim::done;
        case NatIndex::Insert::full:
            return Claim::index_full;
        case NatIndex::Insert::exists:
            break;
    }
    return Claim::ports_exhausted;
}

}  // namespace twinspan
