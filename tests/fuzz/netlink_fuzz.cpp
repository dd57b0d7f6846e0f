// Any bytes as a run of rtnetlink messages: decoded as every kind, and fed to the mirrored state as events and as a
// dump.
#include "control/netlink/decode.hpp"
#include "control/netlink/mirror_state.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

using namespace twinspan;
using namespace twinspan::netlink;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Message rest = std::as_bytes(std::span(data, size));
    KernelState state;
    Changes changes;
    bool dumping = false;
    while (const Result<MessageHeader> header = decode_header(rest)) {
        const Message message = rest.first(header->length);
        static_cast<void>(decode_link(message));
        static_cast<void>(decode_address(message));
        static_cast<void>(decode_neighbour(message));
        static_cast<void>(decode_route(message));
        static_cast<void>(decode_nexthop(message));
        static_cast<void>(decode_error(message));
        // The sequence number is free here: it says what to do with the event.
        if ((header->sequence & 2) != 0 && !dumping) {
            state.begin_resync(Parts::all(), (header->sequence & 8) != 0);
            dumping = true;
        }
        if (const auto event = decode(message); event && *event) {
            dumping && (header->sequence & 1) != 0 ? state.apply_dumped(**event, changes)
                                                   : static_cast<void>(state.apply(**event, changes));
        }
        if ((header->sequence & 4) != 0 && dumping) {
            static_cast<void>(state.end_resync(changes));
            dumping = false;
        }
        rest = rest.subspan(std::min<std::size_t>((header->length + 3u) & ~3u, rest.size()));
    }
    std::size_t routes = 0;
    state.routes().for_each([&](const IpPrefix& prefix, std::span<const Route> all) {
        routes += all.size();
        if (all.empty() || !state.best_route(prefix)) {
            std::abort();
        }
    });
    if (routes != state.routes().size()) {
        std::abort();
    }
    return 0;
}
