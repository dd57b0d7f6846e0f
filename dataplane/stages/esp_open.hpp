// The three steps of opening ESP packets (RFC 4303 section 3.4), for a burst each: they may run at different times.
// Thread: the worker that calls; an SA may be in the hands of several.
#pragma once

#include "crypto/burst.hpp"
#include "dataplane/config/tunnel.hpp"
#include "dataplane/packet/batch.hpp"

#include <array>

namespace twinspan {

static_assert(kBurst <= kMostJobs);

// What is known of each packet of a batch, in its order.
struct EspArrivals {
    std::array<const InboundSaEntry*, kBurst> entry;
    std::array<OpenJob, kBurst> job;
};

// SA by SPI, peer, sequence number, replay check. Drops what has no business here; fills `in` for the others.
void identify_esp(Context& ctx, Batch& batch, EspArrivals& in) noexcept;

// Verifies and decrypts; the results are in the jobs, with the number that verified where a loss was so long that the
// high half of extended numbers was not the inferred one (RFC 4303 appendix A3).
void decrypt_esp(Context& ctx, const Batch& batch, EspArrivals& in) noexcept;

// Marks numbers as seen and takes the outer headers off. Drops what is not authentic, seen before, or carries no IP
// packet.
void accept_esp(Context& ctx, Batch& batch, const EspArrivals& in) noexcept;

}  // namespace twinspan
