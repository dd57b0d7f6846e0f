// An outside end that the caller knows: by a mapping, from whoever began outside, or as it was in an earlier run.
#include "dataplane/state/nat_probe.hpp"
#include "dataplane/state/nat_table.hpp"

#include <utility>

namespace twinspan {

// Towards all remote endpoints the same outside address and port (RFC 4787 REQ-1).
NatTable::Outcome NatTable::claim_mapped(Opening& o) noexcept {
    if (const Outcome outcome = hold_mapping(o); outcome != Outcome::done) {
        return outcome;
    }
    const NatKey mapped = sessions_[sessions_[o.session].parent()].outside();
    return claim_given(
        o, nat_key(mapped.address(), o.inside.remote(), mapped.port(), o.inside.remote_port(), o.inside.protocol()));
}

NatTable::Outcome NatTable::claim_given(Opening& o, const NatKey& outside) noexcept {
    set_outside(sessions_[o.session], outside);
    return link_outside(o, outside);
}

// Others may see the record from here on.
NatTable::Outcome NatTable::link_outside(Opening& o, const NatKey& outside) noexcept {
    const NatIndex::Inserted inserted = outside_.insert(hash_(outside), o.session, outside_is(outside));
    switch (inserted.result) {
        case NatIndex::Insert::done:
            return Outcome::done;
        case NatIndex::Insert::full:
            return Outcome::no_record;
        case NatIndex::Insert::exists:
            break;
    }
    o.other = inserted.session;
    return sessions_[o.other].inside() == o.inside ? Outcome::exists : Outcome::conflict;
}

// The remote endpoint gets an address of `source` inside, its own port if that is free. The inside index is claimed
// first: both keys must be whole when anybody can see it.
NatTable::Outcome NatTable::claim_remote(Opening& o, const NatKey& outside, const NatPool& source) noexcept {
    if (source.address_count == 0) {
        return Outcome::no_port;
    }
    const bool has_ports = o.inside.protocol() == +IpProtocol::tcp || o.inside.protocol() == +IpProtocol::udp;
    const std::uint32_t ports = has_ports ? source.port_count() : 1;
    std::uint32_t address = scale_hash(hash_({outside.remote().raw, 0}), source.address_count);
    std::uint32_t port = has_ports && source.gives(outside.remote_port().host()) ? outside.remote_port().host() : 0;
    NatSession& session = sessions_[o.session];
    for (unsigned probe = 0; probe < kProbesPerAddress; ++probe) {
        if (has_ports && port == 0) {
            port = source.nth_port(scale_hash(next_random(o.worker.random), ports));
        }
        o.inside = nat_key(o.inside.address(), source.nth_address(address), o.inside.port(),
                           to_be16(static_cast<std::uint16_t>(port)), o.inside.protocol(), o.inside.pool());
        session.inside_addresses.store(o.inside.addresses, std::memory_order_release);
        session.inside_rest.store(o.inside.rest, std::memory_order_release);
        set_outside(session, outside);
        const NatIndex::Inserted inserted = inside_.insert(hash_(o.inside), o.session, inside_is(o.inside));
        if (inserted.result == NatIndex::Insert::full) {
            return Outcome::no_record;
        }
        if (inserted.result == NatIndex::Insert::done) {
            const Outcome outcome = link_outside(o, outside);
            if (outcome == Outcome::done) {
                return outcome;
            }
            unlink_inside(o.worker, o.session);  // others may have seen it
            retire(o.worker, std::exchange(o.session, 0));
            return outcome == Outcome::conflict ? Outcome::exists : outcome;  // whoever was faster has the flow
        }
        port = 0;
        if (!has_ports || probe % 8 == 7) {  // an address is given up before the worker's time is
            address = address + 1 == source.address_count ? 0 : address + 1;
        }
    }
    return Outcome::no_port;
}

}  // namespace twinspan
