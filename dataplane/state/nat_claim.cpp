// Which outside address and port a session or a mapping gets: never one that another has towards the same remote
// endpoint. Random beyond what is preserved (RFC 6056), and bounded: a full pool must not hold the worker up.
#include "dataplane/state/nat_probe.hpp"
#include "dataplane/state/nat_table.hpp"

#include <algorithm>

namespace twinspan {

// All that the pool gives, or those of one block.
struct NatTable::Ports {
    const NatPool& pool;
    std::uint32_t block = 0;  // its first port; 0: no block
    std::uint32_t count = 0;

    bool holds(std::uint32_t port) const noexcept {
        return pool.gives(port) && (block == 0 || (port >= block && port < block + count));
    }
    std::uint32_t at(std::uint32_t i) const noexcept { return block == 0 ? pool.nth_port(i) : block + i; }
};

NatTable::Outcome NatTable::claim(Opening& o, std::uint32_t subject) noexcept {
    if (o.pool.address_count == 0) {
        return Outcome::no_port;
    }
    Outcome outcome = claim_anywhere(o, subject);
    if (outcome == Outcome::host_blocks_full && o.victim != 0) {  // in a block of this host
        evict(o);
        outcome = claim_anywhere(o, subject);
    }
    return outcome == Outcome::no_port ? claim_from_victim(o, subject) : outcome;
}

// An inside host keeps to one address, always where its mappings or blocks are (RFC 4787 REQ-2), else while that has
// free ports; hosts spread over all addresses.
NatTable::Outcome NatTable::claim_anywhere(Opening& o, std::uint32_t subject) noexcept {
    if (o.pool.block_ports != 0 && nat_has_ports(o.inside.protocol())) {
        return claim_in_blocks(o, subject);
    }
    const Ports ports{.pool = o.pool, .count = o.pool.port_count()};
    if (o.pool.mapping == NatMapping::endpoint_independent || o.pool.block_ports != 0) {
        return claim_port_of(o, subject, paired_address(o), ports);
    }
    std::uint32_t ordinal = address_for(o.inside.address(), o.pool);
    for (std::uint32_t i = 0; i < o.pool.address_count && o.probes != 0; ++i) {
        const Outcome outcome = claim_port_of(o, subject, o.pool.nth_address(ordinal), ports);
        if (outcome != Outcome::no_port) {
            return outcome;
        }
        ordinal = ordinal + 1 == o.pool.address_count ? 0 : ordinal + 1;
    }
    return Outcome::no_port;
}

// Those that the host has come first, since they may have ended in any order; then one more.
NatTable::Outcome NatTable::claim_in_blocks(Opening& o, std::uint32_t subject) noexcept {
    std::uint32_t full = 0;  // a bit for each
    for (const bool may_make : {false, true}) {
        for (std::uint16_t i = 0; i < o.pool.host_blocks; ++i) {
            if ((full >> i & 1) != 0) {
                continue;
            }
            std::uint32_t block = 0;
            if (const Outcome outcome = hold_block(o, i, may_make, block); outcome != Outcome::done) {
                return outcome;
            }
            if (block == 0) {
                continue;
            }
            const NatKey at = sessions_[block].outside();
            const Ports ports{.pool = o.pool, .block = at.port().host(), .count = o.pool.block_ports};
            const Outcome outcome = claim_port_of(o, subject, at.address(), ports);
            if (outcome == Outcome::done) {
                sessions_[subject].parent() = block;
                return outcome;
            }
            release(o.worker, block);
            if (outcome != Outcome::no_port) {
                return outcome;
            }
            full |= 1u << i;
        }
    }
    return Outcome::host_blocks_full;
}

// A mapping of UDP keeps its port's parity while it can (RFC 4787 REQ-4), which RTP and RTCP ask for.
NatTable::Outcome NatTable::claim_port_of(Opening& o, std::uint32_t subject, be32 address,
                                          const Ports& ports) noexcept {
    const NatKey inside = sessions_[subject].inside();
    if (!nat_has_ports(inside.protocol())) {  // the address alone, and the remote's
        return claim_port(o, subject, address, 0);
    }
    const std::uint32_t own = inside.port().host();
    if (ports.holds(own)) {  // RFC 4787 section 4.2.1: port preservation
        if (const Outcome outcome = claim_port(o, subject, address, own); outcome != Outcome::no_port) {
            return outcome;
        }
    }
    const bool exhaustive = ports.count <= kProbesPerAddress;
    const bool has_parity = inside.kind() == NatRecord::mapping && inside.protocol() == +IpProtocol::udp;
    for (unsigned pass = has_parity ? 0 : 1; pass < 2 && ports.count != 0; ++pass) {
        std::uint32_t offset = scale_hash(next_random(o.worker.random), ports.count);
        for (std::uint32_t i = 0; i < std::min(ports.count, kProbesPerAddress) && o.probes != 0; ++i, --o.probes) {
            std::uint32_t port = ports.at(offset);
            port ^= pass == 0 ? (port ^ own) & 1 : 0;
            const Outcome outcome = ports.holds(port) ? claim_port(o, subject, address, port) : Outcome::no_port;
            if (outcome != Outcome::no_port) {
                return outcome;
            }
            offset = exhaustive ? (offset + 1) % ports.count : scale_hash(next_random(o.worker.random), ports.count);
        }
    }
    o.worker.tell(NatEventKind::ports_exhausted, inside, nat_key(address, {}, {}, {}, inside.protocol()));
    return Outcome::no_port;
}

NatTable::Outcome NatTable::claim_port(Opening& o, std::uint32_t subject, be32 address, std::uint32_t port) noexcept {
    NatSession& record = sessions_[subject];
    const NatKey inside = record.inside();
    const NatKey outside = nat_key(address, inside.remote(), to_be16(static_cast<std::uint16_t>(port)),
                                   inside.remote_port(), inside.protocol())
                               .as(inside.kind());
    const std::uint64_t hash = hash_(outside);
    if (const std::uint32_t other = outside_.find(hash, outside_is(outside)); other != 0) {  // seen without the lock
        consider(o, other);
        return Outcome::no_port;
    }
    if (!meter(record, outside)) {
        return Outcome::no_port;
    }
    set_outside(record, outside);
    const NatIndex::Insert inserted = outside_.insert(hash, subject, outside_is(outside)).result;
    if (inserted == NatIndex::Insert::done) {
        return Outcome::done;
    }
    unmeter(record);
    return inserted == NatIndex::Insert::full ? Outcome::no_record : Outcome::no_port;
}

// False: the port has too many users to count one more.
bool NatTable::meter(NatSession& record, const NatKey& outside) noexcept {
    if (outside.kind() == NatRecord::block || !nat_has_ports(outside.protocol())) {
        return true;
    }
    const NatMeter::Added added =
        meter_.add(outside.address(), nat_protocol(outside.protocol()), outside.port().host());
    record.flags.store(added == NatMeter::Added::counted ? kNatMetered : std::uint8_t{0}, std::memory_order_relaxed);
    return added != NatMeter::Added::full;
}

void NatTable::unmeter(NatSession& record) noexcept {
    if ((record.flags.load(std::memory_order_relaxed) & kNatMetered) != 0) {
        const NatKey outside = record.outside();
        meter_.remove(outside.address(), nat_protocol(outside.protocol()), outside.port().host());
        record.flags.store(0, std::memory_order_relaxed);
    }
}

// A block is claimed as a port is: its first one stands for all. Sessions from before there were blocks may have ports
// there: then it is another's turn.
NatTable::Outcome NatTable::claim_block(Opening& o, std::uint32_t subject, be32 address) noexcept {
    const std::uint32_t size = o.pool.block_ports;
    const std::uint32_t blocks = (o.pool.last_port - o.pool.first_port + 1u) / size;
    const bool exhaustive = blocks <= kProbesPerAddress;
    std::uint32_t nth = blocks == 0 ? 0 : scale_hash(next_random(o.worker.random), blocks);
    for (std::uint32_t i = 0; i < std::min(blocks, kProbesPerAddress); ++i) {
        const std::uint32_t first = o.pool.first_port + nth * size;
        const bool of_use = std::ranges::none_of(
            o.pool.reserved, [=](PortRange r) { return r.first <= first && first + size - 1 <= r.last; });
        const bool is_free = of_use && !meter_.any_in_use(address, first, size);
        const Outcome outcome = is_free ? claim_port(o, subject, address, first) : Outcome::no_port;
        if (outcome != Outcome::no_port) {
            return outcome;
        }
        nth = exhaustive ? (nth + 1) % blocks : scale_hash(next_random(o.worker.random), blocks);
    }
    return Outcome::no_block;
}

std::uint32_t NatTable::address_for(be32 host, const NatPool& pool) const noexcept {
    return scale_hash(hash_({host.raw, 0}), pool.address_count);
}

}  // namespace twinspan
