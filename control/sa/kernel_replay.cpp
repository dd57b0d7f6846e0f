#include "control/sa/kernel_replay.hpp"

#include <algorithm>

namespace twinspan {
namespace {

constexpr std::uint32_t kDefaultWindow = 1024;
constexpr std::uint32_t kWordBits = 32;

// Linux keeps number n at bit (n - 1) % window of its ring, and goes back from the highest one's place.
std::uint32_t ring_bit(std::uint64_t highest, std::uint32_t window, std::uint32_t back) noexcept {
    const std::uint32_t place = (static_cast<std::uint32_t>(highest) - 1) % window;
    return place >= back ? place - back : window - (back - place);
}

bool test(const std::vector<std::uint32_t>& words, std::uint32_t bit) noexcept {
    return (words[bit / kWordBits] >> (bit % kWordBits) & 1) != 0;
}

void set(std::vector<std::uint32_t>& words, std::uint32_t bit) noexcept {
    words[bit / kWordBits] |= std::uint32_t{1} << (bit % kWordBits);
}

}  // namespace

ReplayState from_kernel(const netlink::SaReplay& kernel) {
    ReplayState state{.highest = kernel.highest, .seen = {}};
    if (kernel.highest == 0) {
        return state;
    }
    if (!kernel.extended) {
        state.seen = kernel.bitmap;  // bit i tells of highest - i
        return state;
    }
    state.seen.resize((kernel.window + kWordBits - 1) / kWordBits);
    for (std::uint32_t back = 0; back < kernel.window; ++back) {
        if (test(kernel.bitmap, ring_bit(kernel.highest, kernel.window, back))) {
            set(state.seen, back);
        }
    }
    // The bits that fill the last word are outside of Linux's window.
    for (std::uint32_t back = kernel.window; back < state.seen.size() * kWordBits; ++back) {
        set(state.seen, back);
    }
    return state;
}

netlink::SaReplay to_kernel(const ReplayState& state, const netlink::SaReplay& form) {
    netlink::SaReplay kernel{.extended = form.extended,
                             .sent = form.sent,
                             .highest = state.highest,
                             .window = form.window,
                             .bitmap = std::vector<std::uint32_t>(form.bitmap.size())};
    if (!form.extended) {
        kernel.bitmap.assign(1, state.seen.empty() ? 0 : state.seen.front());
        return kernel;
    }
    const std::uint64_t known =
        std::min({std::uint64_t{form.window}, std::uint64_t{kWordBits} * state.seen.size(), state.highest});
    for (std::uint32_t back = 0; back < known; ++back) {
        if (test(state.seen, back)) {
            set(kernel.bitmap, ring_bit(state.highest, form.window, back));
        }
    }
    return kernel;
}

std::uint32_t window_bits(const netlink::SaReplay& kernel, std::uint8_t short_window) noexcept {
    const std::uint32_t bits = kernel.extended ? kernel.window : short_window;
    return bits == 0 ? kDefaultWindow : std::clamp(bits, ReplayWindow::kMinBits, ReplayWindow::kMaxBits);
}

}  // namespace twinspan
