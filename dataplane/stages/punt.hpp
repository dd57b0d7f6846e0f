// Ends of the way that lead to Linux. Thread: worker.
#pragma once

#include "dataplane/packet/batch.hpp"

#include <string_view>

namespace twinspan {

// Hands the packet to Linux on the netdev it came in by: an untagged frame on its leg's TAP, the bare
// IP packet on its tunnel's TUN. Control protocols have rates of their own (punt_class.hpp).
class Punt {
public:
    static constexpr std::string_view kName = "punt";
    void process(Context& ctx, Batch& batch) noexcept;
};

// The next hop is not resolved. What would leave as it is goes to Linux, which resolves the neighbour and
// forwards it; what still needs NAT may not go that way and is dropped. Policy holds here too.
class Glean {
public:
    static constexpr std::string_view kName = "glean";
    void process(Context& ctx, Batch& batch) noexcept;
};

// A translated or decrypted packet to a pool address: sessions between the inside and itself are not made.
class NoSecondTime {
public:
    static constexpr std::string_view kName = "no_second_time";
    void process(Context& ctx, Batch& batch) noexcept;
};

// Ends a packet by the drop reason its route names.
class DropRoute {
public:
    static constexpr std::string_view kName = "drop_route";
    void process(Context& ctx, Batch& batch) noexcept;
};

}  // namespace twinspan
