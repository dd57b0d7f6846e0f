// Where a stage takes buffers from when one packet becomes several, or needs a longer buffer than its own.
#pragma once

#include <rte_mbuf.h>

#include <cstdint>

namespace twinspan {

struct BufferSource {
    // Writes n buffers or none: empty, of one segment, with room for PacketMeta. False: there are not so many.
    bool (*take)(void* arg, rte_mbuf** out, std::uint16_t n) noexcept = [](void*, rte_mbuf**, std::uint16_t) noexcept {
        return false;
    };
    void* arg = nullptr;
    std::uint16_t room = 0;  // bytes behind the headroom of each

    bool operator()(rte_mbuf** out, std::uint16_t n) const noexcept { return take(arg, out, n); }
};

}  // namespace twinspan
