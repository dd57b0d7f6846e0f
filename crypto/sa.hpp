// Security associations: what sealing and opening a packet needs, in two cache lines and the expanded key behind them.
#pragma once

#include "crypto/esn_resync.hpp"
#include "crypto/last_peer.hpp"
#include "crypto/replay_window.hpp"
#include "crypto/sa_cipher.hpp"
#include "crypto/trailer.hpp"
#include "crypto/usage.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <expected>
#include <memory>
#include <new>
#include <string>

namespace twinspan {

// One past the last number that an SA uses: 2^32 - 1 is used, 0 never (RFC 4303 section 3.3.3). Extended numbers stop
// 2^32 early: workers that ask for more at the end step over it, and may not come out at 0.
constexpr std::uint64_t end_of(SequenceWidth width) noexcept {
    return width == SequenceWidth::bits32 ? std::uint64_t{1} << 32 : ~std::uint64_t{0xffff'ffff};
}

enum class SequenceRefusal : std::uint8_t {
    none,
    reservation_used_up,  // control must reserve more on stable storage first
    sequence_used_up,     // the SA is at its last number: rekey
};

// `granted` numbers from `first` on are the caller's alone. When fewer than asked for, `refusal` says why.
struct SequenceBurst {
    std::uint64_t first;
    std::uint32_t granted;
    SequenceRefusal refusal;
};

class alignas(64) OutboundSa {
public:
    // Control. Numbers start at `first`, and none is given out before raise_limit. Where `first` is end_of(), all are
    // used up.
    static std::expected<std::unique_ptr<OutboundSa>, std::string> create(const Engine& engine, const SaConfig& config,
                                                                          std::uint64_t first = 1);

    // Worker: one atomic add for the whole burst. Refused numbers are never used.
    SequenceBurst reserve_burst(std::uint32_t n) noexcept;

    static void operator delete(OutboundSa* sa, std::destroying_delete_t) noexcept;  // wipes

    // Worker: one packet, as seal_burst does many. Seals a packet whose payload lies at payload_offset(layout()) with
    // kEspMaxRoom bytes of room behind it. Writes all but the payload, encrypts, and returns the length of the ESP
    // packet. `seq` comes from reserve_burst, once.
    std::size_t seal_in_place(Engine& engine, std::uint64_t seq, std::uint8_t* esp, std::size_t payload_len,
                              std::uint8_t next_header) noexcept;

    // Worker, once per run of packets: what their inner packets come to. Their number follows from the sequence
    // numbers.
    void add_bytes(unsigned worker, std::uint64_t n_bytes) noexcept { used_.add(worker, 0, n_bytes); }
    void prefetch_usage(unsigned worker) const noexcept { used_.prefetch(worker); }

    // Control, after stable storage covers them: numbers below `limit` may be used. Never lowers; capped by the width.
    void raise_limit(std::uint64_t limit) noexcept;
    // Control, for an SA that no worker uses any more, or none may from now on.
    void stop() noexcept { limit_.store(0, std::memory_order_release); }

    // Any thread. A packet counts from when its number is reserved.
    SaUsage usage() const noexcept;
    std::uint64_t next_seq() const noexcept { return next_seq_.load(std::memory_order_acquire); }
    std::uint64_t limit() const noexcept { return limit_.load(std::memory_order_acquire); }
    // One past the last number that is used: see end_of.
    std::uint64_t end_of_sequence() const noexcept { return end_of(cipher_.width); }
    std::uint32_t spi() const noexcept { return __builtin_bswap32(cipher_.spi_be); }
    Suite suite() const noexcept { return cipher_.suite; }
    EspLayout layout() const noexcept { return cipher_.layout; }
    std::size_t sealed_len(std::size_t payload_len) const noexcept {
        return twinspan::sealed_len(cipher_.layout, payload_len);
    }
    SequenceWidth width() const noexcept { return cipher_.width; }

    // For crypto/ alone.
    const SaCipher& cipher() const noexcept { return cipher_; }
    const std::uint8_t* schedule() const noexcept { return reinterpret_cast<const std::uint8_t*>(this + 1); }
    void prefetch() const noexcept {
        __builtin_prefetch(this);
        __builtin_prefetch(&next_seq_, 1);
    }

private:
    OutboundSa(const SaCipher& cipher, std::uint64_t first) noexcept;
    SequenceRefusal refusal_at(std::uint64_t limit) const noexcept {
        return limit == end_of_sequence() ? SequenceRefusal::sequence_used_up : SequenceRefusal::reservation_used_up;
    }

    SaCipher cipher_;

    alignas(64) std::atomic<std::uint64_t> next_seq_;  // workers: add
    std::atomic<std::uint64_t> limit_{0};  // control: raises
    UsageCounter used_;  // bytes alone
    std::atomic<std::uint64_t> unused_{0};  // workers: add the numbers that were passed over at a limit
    std::uint64_t first_;  // never written once made
};

class alignas(64) InboundSa {
public:
    // Control. Numbers up to `seen_up_to` are refused as replays.
    static std::expected<std::unique_ptr<InboundSa>, std::string> create(const Engine& engine, const SaConfig& config,
                                                                         std::uint32_t window_bits,
                                                                         std::uint64_t seen_up_to = 0);
    // Control. The window is that of `seen`, of another SA object or of the kernel.
    static std::expected<std::unique_ptr<InboundSa>, std::string> create(const Engine& engine, const SaConfig& config,
                                                                         std::uint32_t window_bits,
                                                                         const ReplayState& seen);
    static void operator delete(InboundSa* sa, std::destroying_delete_t) noexcept;  // wipes

    // Worker, for each packet: seq = sequence_of(esp); replay().check(seq); open_in_place; replay().accept(seq).

    // The full sequence number of a packet of at least kEspHeaderLen bytes; with ESN its high half is inferred.
    std::uint64_t sequence_of(const std::uint8_t* esp) const noexcept;

    // Verifies and decrypts a packet from its SPI to the end of its ICV. On anything but ok the bytes are worthless
    // and must not be looked at.
    Opened open_in_place(Engine& engine, std::uint64_t seq, std::uint8_t* esp, std::size_t len) noexcept;

    // Worker, once per run of packets that passed.
    void add_usage(unsigned worker, std::uint64_t n_packets, std::uint64_t n_bytes) noexcept {
        used_.add(worker, n_packets, n_bytes);
    }
    void prefetch_usage(unsigned worker) const noexcept { used_.prefetch(worker); }
    SaUsage usage() const noexcept { return used_.sum(); }  // any thread

    ReplayWindow& replay() noexcept { return replay_; }
    const ReplayWindow& replay() const noexcept { return replay_; }
    EsnResync& resync() noexcept { return resync_; }

    // Worker: of an SA in UDP, by the newest packet. Control: where the tunnel's remote end has moved to.
    LastPeer& peer() noexcept { return peer_; }
    const LastPeer& peer() const noexcept { return peer_; }

    void prefetch() const noexcept {
        __builtin_prefetch(this);
        __builtin_prefetch(&replay_, 1);
    }

    std::uint32_t spi() const noexcept { return __builtin_bswap32(cipher_.spi_be); }
    Suite suite() const noexcept { return cipher_.suite; }
    EspLayout layout() const noexcept { return cipher_.layout; }
    SequenceWidth width() const noexcept { return cipher_.width; }

    // For crypto/ alone.
    const SaCipher& cipher() const noexcept { return cipher_; }
    const std::uint8_t* schedule() const noexcept { return reinterpret_cast<const std::uint8_t*>(this + 1); }

private:
    static std::expected<std::unique_ptr<InboundSa>, std::string> make(const Engine& engine, const SaConfig& config,
                                                                       std::expected<ReplayWindow, std::string> replay);
    InboundSa(const SaCipher& cipher, ReplayWindow replay) noexcept;

    SaCipher cipher_;
    EsnResync resync_;  // workers, where packets do not verify

    alignas(64) ReplayWindow replay_;  // workers
    UsageCounter used_;
    LastPeer peer_;  // workers write, control reads
};

static_assert(sizeof(OutboundSa) == 128 && alignof(OutboundSa) == 64);
static_assert(sizeof(InboundSa) == 128 && alignof(InboundSa) == 64);

// What an SA of either direction takes with its expanded key, in bytes; its replay window is aside. An odd number of
// cache lines, so that the same lines of many SAs do not compete for the same sets of a cache.
std::size_t sa_size(Suite suite) noexcept;

// RFC 4303 appendix A2.2: the high half that puts `low` nearest to a window of `window` numbers below `highest`.
constexpr std::uint64_t infer_sequence(std::uint32_t low, std::uint64_t highest, std::uint32_t window) noexcept {
    const auto top_low = static_cast<std::uint32_t>(highest);
    std::uint32_t high = static_cast<std::uint32_t>(highest >> 32);
    const std::uint32_t bottom_low = top_low - window + 1;
    if (top_low >= window - 1) {
        high += low < bottom_low;  // the window lies in one subspace: what is below it belongs to the next
    } else if (low >= bottom_low && high != 0) {
        --high;  // the window begins in the subspace before
    }
    return std::uint64_t{high} << 32 | low;
}

inline SequenceBurst OutboundSa::reserve_burst(std::uint32_t n) noexcept {
    const std::uint64_t limit = limit_.load(std::memory_order_acquire);
    // Looked at first so that a refused SA does not run through numbers that nobody uses.
    if (next_seq_.load(std::memory_order_relaxed) < limit) [[likely]] {
        const std::uint64_t first = next_seq_.fetch_add(n, std::memory_order_relaxed);
        if (first + n <= limit) [[likely]] {
            return {first, n, SequenceRefusal::none};
        }
        const std::uint64_t left = first < limit ? limit - first : 0;
        unused_.fetch_add(n - left, std::memory_order_release);
        return {first, static_cast<std::uint32_t>(left), refusal_at(limit)};
    }
    return {0, 0, refusal_at(limit)};
}

inline std::uint64_t InboundSa::sequence_of(const std::uint8_t* esp) const noexcept {
    const std::uint32_t low = esp_sequence_low(esp);
    return cipher_.width == SequenceWidth::bits32 ? low : infer_sequence(low, replay_.highest(), replay_.bits());
}

}  // namespace twinspan
