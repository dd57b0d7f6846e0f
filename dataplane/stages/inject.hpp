// What Linux sends on our netdevs. Thread: worker.
#pragma once

#include "dataplane/packet/batch.hpp"

#include <string_view>

namespace twinspan {

// Frames from a leg's TAP: tags are put on and the frame leaves by the leg's port. Linux's own routes may not undo
// policy: a destination under `encrypt:` is dropped, save IKE from a tunnel's end to its gateway, and so is, where only
// public addresses may go, a source that is not ours. Frames that have tags already, or are neither IP nor control of
// the link, are dropped too. Needs: meta.netdev.
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
