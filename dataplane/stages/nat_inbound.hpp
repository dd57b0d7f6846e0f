// Sessions that begin outside, and static mappings in both directions: asked for packets without a session alone.
// Thread: worker.
#pragma once

#include "dataplane/packet/batch.hpp"
#include "dataplane/state/nat_table.hpp"

#include <string_view>

namespace twinspan {

// The session of a packet that came to a pool: by a static mapping, or by a mapping whose filter lets everybody in.
// Public peering takes none.
NatTable::Opened open_from_outside(Context& ctx, rte_mbuf& m, const NatKey& outside) noexcept;
// The session of a packet from the inside: its static mapping's, or one with a port of the pool.
NatTable::Opened open_from_inside(Context& ctx, const NatKey& inside) noexcept;

// What the inside sends to an address that stands for a host outside (`from-microsoft`): the reply to a session that
// began there. In: whole packets whose route is a pool. Out: those translated, both ends; the destination is to be
// routed, and NatOut has nothing left to do.
class NatReply {
public:
    static constexpr std::string_view kName = "nat_reply";
    void process(Context& ctx, Batch& batch) noexcept;
};

// Replies leave through the peering whose pool they have as their source, and in no other way. Needs: PickMember.
class KeepToPool {
public:
    static constexpr std::string_view kName = "keep_to_pool";
    void process(Context& ctx, Batch& batch) noexcept;
};

}  // namespace twinspan
