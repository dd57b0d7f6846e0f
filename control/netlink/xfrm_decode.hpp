// From the bytes of one XFRM message to the value it stands for. Pure; safe on any bytes. Keys go straight into memory
// that is wiped; the message stays the caller's to wipe.
#pragma once

#include "control/netlink/decode.hpp"
#include "control/netlink/xfrm_types.hpp"

namespace twinspan::netlink {

// No value: a kind that has no use here, or an SA of AH or IPcomp. Error: truncated, an attribute of the wrong length.
Result<std::optional<XfrmEvent>> decode_xfrm(Message message);

}  // namespace twinspan::netlink
