// ICMP errors through NAT (RFC 5508 section 4): the packet inside the error names the session, and is rewritten too.
// They neither make a session nor keep one alive.
#pragma once

#include "dataplane/packet/batch.hpp"

#include <cstdint>

namespace twinspan {

class NatTable;

// An inside host or router reports on a packet that came in through a session of `pool`.
Verdict translate_icmp_error_out(NatTable& nat, rte_mbuf& m, std::uint16_t pool) noexcept;
// Somebody outside reports on a packet that we translated.
Verdict translate_icmp_error_in(NatTable& nat, rte_mbuf& m) noexcept;

}  // namespace twinspan
