// The NAT table's arrays on EAL's hugepages.
#pragma once

#include "dataplane/state/nat_memory.hpp"

namespace twinspan {

NatMemory eal_memory() noexcept;  // Eal is running

}  // namespace twinspan
