// Security associations: what sealing and opening a packet needs, in two cache lines and the expanded key.
#pragma once

#include "crypto/esp_format.hpp"
#include "crypto/ipsec_mb.hpp"
#include "crypto/key.hpp"
#include "crypto/replay_window.hpp"
#include "crypto/suite.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>

namespace twinspan {

enum class SequenceWidth : std::uint8_t { bits32, bits64 };  // the second is ESN, RFC 4303 section 2.2.1

// One past the last number that an SA uses: 2^32 - 1 is used, 0 never (RFC 4303 section 3.3.3). Extended numbers stop
// 2^32 early: workers that ask for more at the end step over it, and may not come out at 0.
constexpr std::uint64_t end_of(SequenceWidth width) noexcept {
    return width == SequenceWidth::bits32 ? std::uint64_t{1} << 32 : ~std::uint64_t{0xffff'ffff};
}

struct SaConfig {
    std::uint32_t spi = 0;
    Suite suite = Suite::aes_256_gcm;
    SecretBytes keymat;  // keymat_len(suite) bytes
    SequenceWidth width = SequenceWidth::bits32;
    std::uint32_t icv_len = 0;  // bytes; 0: the suite's usual one; what the suite does not have is refused by name
};

// What has passed, as the kernel counts it for an SA: packets, and bytes of the packets inside.
struct SaUsage {
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;
    friend bool operator==(const SaUsage&, const SaUsage&) = default;
};

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
    // Control. Numbers start at `first`, and none is given out before raise_limit.
    static std::expected<std::unique_ptr<OutboundSa>, std::string> create(const Engine& engine, const SaConfig& config,
                                                                          std::uint64_t first = 1);

    // Worker: one atomic add for the whole burst. Refused numbers are never used.
    SequenceBurst reserve_burst(std::uint32_t n) noexcept;

    // Worker: seals a packet whose payload lies at payload_offset(layout()) with kEspMaxRoom bytes of room behind it.
    // Writes all but the payload, encrypts, and returns the length of the ESP packet. `seq` comes from reserve_burst,
    // once.
    std::size_t seal_in_place(Engine& engine, std::uint64_t seq, std::uint8_t* esp, std::size_t payload_len,
                              std::uint8_t next_header) noexcept;

    // Worker, once per run of packets: what their inner packets come to. Their number follows from the sequence
    // numbers.
    void add_bytes(std::uint64_t n_bytes) noexcept { bytes_.fetch_add(n_bytes, std::memory_order_relaxed); }

    // Control, after stable storage covers them: numbers below `limit` may be used. Never lowers; capped by the width.
    void raise_limit(std::uint64_t limit) noexcept;
    // Control, for an SA that no worker uses any more, or none may from now on.
    void stop() noexcept { limit_.store(0, std::memory_order_release); }

    // Any thread. A packet counts from when its number is reserved.
    SaUsage usage() const noexcept;
    std::uint64_t next_seq() const noexcept { return next_seq_.load(std::memory_order_acquire); }
    std::uint64_t limit() const noexcept { return limit_.load(std::memory_order_acquire); }
    // One past the last number that is used: see end_of.
    std::uint64_t end_of_sequence() const noexcept { return end_of(width_); }
    std::uint32_t spi() const noexcept { return __builtin_bswap32(spi_be_); }
    Suite suite() const noexcept { return key_.suite(); }
    EspLayout layout() const noexcept { return layout_; }
    std::size_t sealed_len(std::size_t payload_len) const noexcept {
        return twinspan::sealed_len(layout_, payload_len);
    }
    SequenceWidth width() const noexcept { return width_; }
    void prefetch() const noexcept { __builtin_prefetch(this); }

private:
    OutboundSa(GcmKey key, const SaConfig& config, std::uint64_t first) noexcept;
    SequenceRefusal refusal_at(std::uint64_t limit) const noexcept {
        return limit == end_of_sequence() ? SequenceRefusal::sequence_used_up : SequenceRefusal::reservation_used_up;
    }

    // Never written once made.
    GcmKey key_;
    std::uint32_t spi_be_;
    std::uint32_t salt_be_;
    SequenceWidth width_;
    EspLayout layout_;

    alignas(64) std::atomic<std::uint64_t> next_seq_;  // workers: add
    std::atomic<std::uint64_t> limit_{0};  // control: raises
    std::atomic<std::uint64_t> bytes_{0};  // workers: add
    std::atomic<std::uint64_t> unused_{0};  // workers: add the numbers that were passed over at a limit
    std::uint64_t first_;  // never written once made
};

enum class OpenStatus : std::uint8_t { ok, bad_length, auth_failed, bad_padding };

struct Opened {
    std::uint32_t
        payload_len;  // from payload_offset(layout()) on; traffic-flow padding (RFC 4303 section 2.7) included
    std::uint8_t next_header;
    OpenStatus status;
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

    // Worker, for each packet: seq = sequence_of(esp); replay().check(seq); open_in_place; replay().accept(seq).

    // The full sequence number of a packet of at least kEspHeaderLen bytes; with ESN its high half is inferred.
    std::uint64_t sequence_of(const std::uint8_t* esp) const noexcept;

    // Verifies and decrypts a packet from its SPI to the end of its ICV. On anything but ok the bytes are worthless
    // and must not be looked at.
    Opened open_in_place(Engine& engine, std::uint64_t seq, std::uint8_t* esp, std::size_t len) noexcept;

    // Worker, once per run of packets that passed.
    void add_usage(std::uint64_t n_packets, std::uint64_t n_bytes) noexcept {
        packets_.fetch_add(n_packets, std::memory_order_relaxed);
        bytes_.fetch_add(n_bytes, std::memory_order_relaxed);
    }
    // Any thread.
    SaUsage usage() const noexcept {
        return {packets_.load(std::memory_order_relaxed), bytes_.load(std::memory_order_relaxed)};
    }

    ReplayWindow& replay() noexcept { return replay_; }
    const ReplayWindow& replay() const noexcept { return replay_; }

    void prefetch() const noexcept {
        __builtin_prefetch(this);
        __builtin_prefetch(&replay_);
    }

    std::uint32_t spi() const noexcept { return __builtin_bswap32(spi_be_); }
    Suite suite() const noexcept { return key_.suite(); }
    EspLayout layout() const noexcept { return layout_; }
    SequenceWidth width() const noexcept { return width_; }

private:
    static std::expected<std::unique_ptr<InboundSa>, std::string> make(const Engine& engine, const SaConfig& config,
                                                                       std::expected<ReplayWindow, std::string> replay);
    InboundSa(GcmKey key, const SaConfig& config, ReplayWindow replay) noexcept;

    // Never written once made.
    GcmKey key_;
    std::uint32_t spi_be_;
    std::uint32_t salt_be_;
    SequenceWidth width_;
    EspLayout layout_;

    alignas(64) ReplayWindow replay_;  // workers
    std::atomic<std::uint64_t> packets_{0};  // workers: add
    std::atomic<std::uint64_t> bytes_{0};
};

static_assert(sizeof(OutboundSa) == 128 && alignof(OutboundSa) == 64);
static_assert(sizeof(InboundSa) == 128 && alignof(InboundSa) == 64);

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

inline std::size_t OutboundSa::seal_in_place(Engine& engine, std::uint64_t seq, std::uint8_t* esp,
                                             std::size_t payload_len, std::uint8_t next_header) noexcept {
    constexpr EspLayout kGcm = layout_of(Suite::aes_256_gcm);
    const std::uint64_t iv_be = __builtin_bswap64(seq);
    std::uint8_t* payload = esp + payload_offset(kGcm);
    const std::size_t encrypted_len =
        payload_len + write_trailer(payload + payload_len, pad_len(kGcm, payload_len), next_header);
    alignas(16) std::array<std::uint8_t, 16> nonce;
    write_esp_header(esp, spi_be_, seq);
    write_nonce(nonce.data(), salt_be_, iv_be);
    std::uint8_t* icv = payload + encrypted_len;
    if (width_ == SequenceWidth::bits32) [[likely]] {
        engine.seal(key_, payload, encrypted_len, nonce.data(), esp, kEspHeaderLen, icv, layout_.icv_len);
    } else {
        alignas(16) std::array<std::uint8_t, 16> aad;
        write_esn_aad(aad.data(), spi_be_, seq);
        engine.seal(key_, payload, encrypted_len, nonce.data(), aad.data(), kEspHeaderLen + 4, icv, layout_.icv_len);
    }
    return payload_offset(kGcm) + encrypted_len + layout_.icv_len;
}

inline std::uint64_t InboundSa::sequence_of(const std::uint8_t* esp) const noexcept {
    const std::uint32_t low = esp_sequence_low(esp);
    return width_ == SequenceWidth::bits32 ? low : infer_sequence(low, replay_.highest(), replay_.bits());
}

}  // namespace twinspan
