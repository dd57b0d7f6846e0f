// Picks the flow's member of the route's group, and lets policy say whether the packet may take it.
// Fail closed: what is under `encrypt:` leaves through a tunnel or not at all. Needs: Route (forward).
// Thread: worker.
#pragma once

#include "dataplane/packet/batch.hpp"

#include <string_view>

namespace twinspan {

class PickMember {
public:
    static constexpr std::string_view kName = "pick_member";
    void process(Context& ctx, Batch& batch) noexcept;
};

}  // namespace twinspan
