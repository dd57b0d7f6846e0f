// What NAT cannot translate where it stands goes to Context::aside, which the worker takes up after the walk: the
// straight way of whole packets pays nothing for it. Thread: worker.
#pragma once

#include "dataplane/packet/batch.hpp"

#include <string_view>

namespace twinspan {

struct NatPool;

// Ends the packet for `reason`; a fragment is set aside instead.
void end_or_set_aside(Context& ctx, rte_mbuf& m, Drop reason) noexcept;

// To an address of `pool`, over a leg that is not of its peering: from the inside it is set aside, if policy lets it
// send there; else it ends.
void set_aside_or_end(Context& ctx, rte_mbuf& m, const NatPool& pool) noexcept;

// Packets with their nat egress: those that are too long for it go to Context::oversize, to be translated and cut.
// They came in fragments, so they may leave in fragments.
class SetAsideTooLong {
public:
    static constexpr std::string_view kName = "set_aside_too_long";
    void process(Context& ctx, Batch& batch) noexcept;
};

}  // namespace twinspan
