// Shared ports at the start: what the untagged leg of a NIC that Linux keeps takes from Linux.
#pragma once

#include "control/config/config.hpp"
#include "dataplane/base/error.hpp"

namespace twinspan {

// Addresses that the file gives for such a leg must be the NIC's; a leg without any gets those that the NIC has.
Result<void> adopt_addresses(Config& config);

}  // namespace twinspan
