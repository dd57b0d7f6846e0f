// What Linux sends on our netdevs. Thread: worker.
#pragma once

#include "dataplane/packet/batch.hpp"

#include <string_view>

namespace twinspan {

// Frames from a leg's TAP: tags are put on and the frame leaves by the leg's port. A destination under
// `encrypt:` is dropped: Linux's own routes may not undo that policy. So is a frame that has tags already.
// Needs: meta.netdev.
class InjectFrame {
public:
    static constexpr std::string_view kName = "inject_frame";
    void process(Context& ctx, Batch& batch) noexcept;
};

// IP packets from a tunnel's TUN: they enter that tunnel. Needs: meta.netdev. Leaves: meta.tunnel, parsed.
class InjectIntoTunnel {
public:
    static constexpr std::string_view kName = "inject_into_tunnel";
    void process(Context& ctx, Batch& batch) noexcept;
};

}  // namespace twinspan
