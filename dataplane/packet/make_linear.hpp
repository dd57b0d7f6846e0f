// Packets that a driver gives as chains of buffers, made contiguous: headers are read and ciphers run over plain bytes.
#pragma once

#include "dataplane/packet/batch.hpp"

namespace twinspan {

// Each chain of the batch becomes one large buffer, or is dropped: too_long (over kLargePacket), no_mbuf.
void make_linear(Context& ctx, Batch& batch) noexcept;

}  // namespace twinspan
