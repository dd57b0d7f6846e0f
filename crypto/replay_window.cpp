#include "crypto/replay_window.hpp"

#include <algorithm>
#include <bit>

namespace twinspan {
namespace {

constexpr std::uint64_t block_of(std::uint64_t seq) noexcept { return seq / ReplayWindow::kBlock; }
constexpr std::uint32_t bit_of(std::uint64_t seq) noexcept { return std::uint32_t{1} << (seq % ReplayWindow::kBlock); }
constexpr std::uint64_t slot_word(std::uint64_t block, std::uint32_t bitmap) noexcept { return block << 32 | bitmap; }

// How many blocks behind the newest a block is. Both arguments are block numbers modulo 2^32, which is exact
// because no block that is looked at is newer than the newest.
constexpr std::uint32_t age(std::uint64_t newest_block, std::uint64_t block) noexcept {
    return static_cast<std::uint32_t>(newest_block) - static_cast<std::uint32_t>(block);
}

// How many of them, from the first on, count up one by one within one block.
std::size_t counting_up(std::span<const std::uint64_t> seqs) noexcept {
    const std::size_t most = std::min<std::size_t>(seqs.size(), ReplayWindow::kBlock - seqs[0] % ReplayWindow::kBlock);
    std::size_t n = 1;
    while (n < most && seqs[n] == seqs[0] + n) {
        ++n;
    }
    return n;
}

}  // namespace

std::expected<ReplayWindow, std::string> ReplayWindow::create(std::uint32_t bits, std::uint64_t seen_up_to) {
    if (bits < kMinBits || bits > kMaxBits) {
        return std::unexpected("replay window of " + std::to_string(bits) + " packets: expected " +
                               std::to_string(kMinBits) + " to " + std::to_string(kMaxBits));
    }
    return ReplayWindow{(bits + kBlock - 1) / kBlock * kBlock, seen_up_to};
}

// One block more than the window: the newest block is only partly inside it.
ReplayWindow::ReplayWindow(std::uint32_t bits, std::uint64_t seen_up_to)
    : bits_(bits),
      slot_mask_(std::bit_ceil(bits / kBlock + 1) - 1),
      slots_(std::make_unique<Slot[]>(slot_mask_ + std::size_t{1})),
      highest_(seen_up_to) {
    const std::uint64_t newest = block_of(seen_up_to);
    for (std::uint64_t back = 0; back <= std::min<std::uint64_t>(slot_mask_, newest); ++back) {
        const std::uint32_t seen = back == 0 ? bit_of(seen_up_to) | (bit_of(seen_up_to) - 1) : ~std::uint32_t{0};
        slots_[(newest - back) & slot_mask_].store(slot_word(newest - back, seen), std::memory_order_relaxed);
    }
}

std::expected<ReplayWindow, std::string> ReplayWindow::create(std::uint32_t bits, const ReplayState& state) {
    auto window = create(bits, state.highest);
    if (!window) {
        return window;
    }
    const std::uint64_t known =
        std::min({std::uint64_t{window->bits_}, std::uint64_t{kBlock} * state.seen.size(), state.highest});
    for (std::uint64_t back = 0; back < known; ++back) {
        if ((state.seen[back / kBlock] >> (back % kBlock) & 1) == 0) {
            const std::uint64_t seq = state.highest - back;
            window->slots_[block_of(seq) & window->slot_mask_].fetch_and(~std::uint64_t{bit_of(seq)},
                                                                         std::memory_order_relaxed);
        }
    }
    return window;
}

bool ReplayWindow::was_seen(std::uint64_t seq) const noexcept {
    const std::uint64_t word = slots_[block_of(seq) & slot_mask_].load(std::memory_order_acquire);
    const std::uint64_t newest = block_of(highest());
    const std::uint32_t held_age = age(newest, word >> 32);
    const std::uint32_t our_age = age(newest, block_of(seq));
    // A slot that has moved on to a newer block: the number has left the window meanwhile.
    return held_age < our_age || (held_age == our_age && (word & bit_of(seq)) != 0);
}

ReplayState ReplayWindow::state() const {
    ReplayState state{.highest = highest(), .seen = std::vector<std::uint32_t>(bits_ / kBlock)};
    for (std::uint64_t back = 0; back < std::min<std::uint64_t>(bits_, state.highest); ++back) {
        if (was_seen(state.highest - back)) {
            state.seen[back / kBlock] |= std::uint32_t{1} << (back % kBlock);
        }
    }
    return state;
}

ReplayWindow::ReplayWindow(ReplayWindow&& other) noexcept
    : bits_(other.bits_), slot_mask_(other.slot_mask_), slots_(std::move(other.slots_)), highest_(other.highest()) {}

ReplayVerdict ReplayWindow::check_below_highest(std::uint64_t seq) const noexcept {
    const std::uint64_t word = slots_[block_of(seq) & slot_mask_].load(std::memory_order_acquire);
    if (left_of_window(seq, highest())) {
        return ReplayVerdict::too_old;
    }
    const bool same_block = static_cast<std::uint32_t>(word >> 32) == static_cast<std::uint32_t>(block_of(seq));
    return same_block && (word & bit_of(seq)) != 0 ? ReplayVerdict::seen : ReplayVerdict::fresh;
}

std::uint64_t ReplayWindow::accept_burst(std::span<const std::uint64_t> seqs) noexcept {
    std::uint64_t accepted = 0;
    for (std::size_t i = 0; i < seqs.size();) {
        const std::size_t counting = counting_up(seqs.subspan(i));
        std::size_t end = i + counting;
        if (end == seqs.size() || block_of(seqs[end]) != block_of(seqs[i])) [[likely]] {
            accepted |= std::uint64_t{accept_counting(seqs[i], counting)} << i;
        } else {
            while (end < seqs.size() && block_of(seqs[end]) == block_of(seqs[i])) {
                ++end;
            }
            accepted |= accept_block(seqs.subspan(i, end - i)) << i;
        }
        i = end;
    }
    return accepted;
}

// `n` numbers of one block from `first` on; bit k of the result is that of first + k. A block is no wider than the
// smallest window: its newest number cannot push its oldest one out.
std::uint32_t ReplayWindow::accept_counting(std::uint64_t first, std::size_t n) noexcept {
    raise_highest(first + n - 1);
    if (left_of_window(first, highest())) [[unlikely]] {
        std::uint32_t accepted = 0;
        for (std::size_t k = 0; k < n; ++k) {
            if (!left_of_window(first + k, highest())) {
                accepted |= (set_in_block(block_of(first), bit_of(first + k)) != 0 ? 1u : 0u) << k;
            }
        }
        return accepted;
    }
    return set_in_block(block_of(first), (~std::uint32_t{0} >> (kBlock - n)) << first % kBlock) >> first % kBlock;
}

// Numbers of one block in any order; bit i of the result is that of seqs[i].
std::uint64_t ReplayWindow::accept_block(std::span<const std::uint64_t> seqs) noexcept {
    raise_highest(*std::ranges::max_element(seqs));
    const std::uint64_t highest = this->highest();
    std::uint32_t wanted = 0;
    for (const std::uint64_t seq : seqs) {
        wanted |= left_of_window(seq, highest) ? 0 : bit_of(seq);
    }
    std::uint32_t won = wanted == 0 ? 0 : set_in_block(block_of(seqs[0]), wanted);
    std::uint64_t accepted = 0;
    for (std::size_t i = 0; i < seqs.size(); ++i) {
        const std::uint32_t bit = bit_of(seqs[i]);
        accepted |= std::uint64_t{(won & bit) != 0} << i;
        won &= ~bit;  // the second of two equal numbers in one burst
    }
    return accepted;
}

void ReplayWindow::raise_highest(std::uint64_t seq) noexcept {
    std::uint64_t highest = highest_.load(std::memory_order_relaxed);
    while (seq > highest &&
           !highest_.compare_exchange_weak(highest, seq, std::memory_order_acq_rel, std::memory_order_relaxed)) {
    }
}

// Sets the wanted bits of a block and returns those that were not set before. The caller has raised highest_ to at
// least this block. Reading the slot before highest_ makes highest_ at least as new as the block in the slot.
std::uint32_t ReplayWindow::set_in_block(std::uint64_t block, std::uint32_t wanted) noexcept {
    Slot& slot = slots_[block & slot_mask_];
    std::uint64_t word = slot.load(std::memory_order_acquire);
    for (;;) {
        const std::uint64_t newest = block_of(highest());
        const std::uint32_t held_age = age(newest, word >> 32);
        const std::uint32_t our_age = age(newest, block);
        if (held_age < our_age) {
            return 0;  // the ring has moved past this block
        }
        const std::uint32_t seen = held_age == our_age ? static_cast<std::uint32_t>(word) : 0;
        if (slot.compare_exchange_weak(word, slot_word(block, seen | wanted), std::memory_order_acq_rel,
                                       std::memory_order_acquire)) {
            return wanted & ~seen;
        }
    }
}

}  // namespace twinspan
