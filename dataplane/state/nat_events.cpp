#include "dataplane/state/nat_events.hpp"

#include <chrono>

namespace twinspan {

NatEventRings::NatEventRings(std::uint16_t workers, NatEventMask wanted, std::size_t size, std::uint64_t tsc_hz)
    : tsc_hz_(tsc_hz) {
    for (std::uint16_t w = 0; w < workers; ++w) {
        rings_.push_back(std::make_unique<NatEventRing>(size, wanted, tsc_hz));
    }
}

std::size_t NatEventRings::take(std::size_t most, const std::function<void(const NatEvent&)>& fn) {
    const std::uint64_t now_tsc = rte_rdtsc();
    const auto since_1970 = std::chrono::system_clock::now().time_since_epoch();
    const auto now_ms =
        static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(since_1970).count());
    std::size_t taken = 0;
    for (const auto& ring : rings_) {
        taken += ring->take(most, [&](NatEvent event) {
            // A worker's counter may be a little ahead of ours.
            const std::uint64_t age = now_tsc > event.time ? now_tsc - event.time : 0;
            event.time = now_ms - age / (tsc_hz_ / 1000);
            fn(event);
        });
    }
    return taken;
}

std::uint64_t NatEventRings::lost() const noexcept {
    std::uint64_t sum = 0;
    for (const auto& ring : rings_) {
        sum += ring->lost();
    }
    return sum;
}

}  // namespace twinspan
