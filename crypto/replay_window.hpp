// Anti-replay for one inbound SA (RFC 4303 section 3.4.3), shared by every worker that receives it, without a lock.
//
// As in RFC 6479 the bitmap is a ring of blocks, here of 32 numbers. Each ring slot is one atomic word: which
// block it holds now, and which of that block's numbers have been seen. Why no number is accepted twice,
// whatever the workers do: a number has one slot and one bit; within a block bits only get set; a slot only
// moves on to newer blocks, and a number whose block is older than its slot's is refused.
#pragma once

#include <atomic>
#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace twinspan {

enum class ReplayVerdict : std::uint8_t { fresh, seen, too_old };

// A window written down, for a checkpoint or another SA: bit i % 32 of word i / 32 of `seen` tells of the number
// highest - i. Numbers further back count as seen.
struct ReplayState {
    std::uint64_t highest = 0;  // 0: none was seen
    std::vector<std::uint32_t> seen;
};

class ReplayWindow {
public:
    static constexpr std::uint32_t kMinBits = 32;
    static constexpr std::uint32_t kMaxBits = 65536;
    static constexpr std::uint32_t kBlock = 32;

    // Control. `bits` is rounded up to a multiple of 32. Numbers up to `seen_up_to` are refused as seen: what a
    // restart knows of the time before it.
    static std::expected<ReplayWindow, std::string> create(std::uint32_t bits, std::uint64_t seen_up_to = 0);

    static std::expected<ReplayWindow, std::string> create(std::uint32_t bits, const ReplayState& state);

    // Control, while workers go on: every number that a worker accepted before the call is in it, and one accepted
    // during the call may be.
    ReplayState state() const;

    ReplayWindow(ReplayWindow&& other) noexcept;  // before any worker knows the window

    // Worker, before decryption: a cheap look that spares the cipher most replays. Promises nothing.
    ReplayVerdict check(std::uint64_t seq) const noexcept {
        return seq > highest() ? ReplayVerdict::fresh : check_below_highest(seq);
    }

    // Worker, some time before check.
    void prefetch(std::uint64_t seq) const noexcept { __builtin_prefetch(&slots_[seq / kBlock & slot_mask_]); }

    // Worker, after authentication: true for exactly one caller per number.
    bool accept(std::uint64_t seq) noexcept { return accept_burst({&seq, 1}) == 1; }

    // Worker, after authentication, for at most 64 numbers in their order of arrival: bit i of the result tells
    // whether seqs[i] was accepted. Neighbours in one block share one atomic operation.
    std::uint64_t accept_burst(std::span<const std::uint64_t> seqs) noexcept;

    std::uint64_t highest() const noexcept { return highest_.load(std::memory_order_acquire); }
    std::uint32_t bits() const noexcept { return bits_; }

private:
    // A slot's word: low 32 bits of its block number in the high half, the block's bitmap in the low half.
    using Slot = std::atomic<std::uint64_t>;

    ReplayWindow(std::uint32_t bits, std::uint64_t seen_up_to);
    ReplayVerdict check_below_highest(std::uint64_t seq) const noexcept;
    bool was_seen(std::uint64_t seq) const noexcept;
    std::uint32_t accept_counting(std::uint64_t first, std::size_t n) noexcept;
    std::uint64_t accept_block(std::span<const std::uint64_t> seqs) noexcept;
    void raise_highest(std::uint64_t seq) noexcept;
    std::uint32_t set_in_block(std::uint64_t block, std::uint32_t wanted) noexcept;
    bool left_of_window(std::uint64_t seq, std::uint64_t highest) const noexcept {
        return seq == 0 || (highest >= bits_ && seq <= highest - bits_);
    }

    std::uint32_t bits_;
    std::uint32_t slot_mask_;
    std::unique_ptr<Slot[]> slots_;        // workers: read and write
    std::atomic<std::uint64_t> highest_;  // workers: read and write; never below a block that a slot holds
};

}  // namespace twinspan
