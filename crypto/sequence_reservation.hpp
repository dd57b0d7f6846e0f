// Outbound sequence numbers reserved ahead on stable storage, so that no GCM IV is used twice whatever dies when.
//
// A number may be used only when the file already covers it; a start begins at what the file covers. The file is named
// after the nonce space (key and salt), not after the SA: a key that comes back after another one finds its own
// numbers.
#pragma once

#include "crypto/sa.hpp"

#include <array>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <optional>
#include <string>

namespace twinspan {

// Names a nonce space without telling the key: a truncated SHA-256. Control also compares these to refuse
// two SAs with one key and salt, which would repeat nonces by themselves.
using KeyFingerprint = std::array<std::uint8_t, 16>;
KeyFingerprint fingerprint(const Engine& engine, const SaConfig& config);
std::string to_hex(const KeyFingerprint& fingerprint);

// How far ahead of their use numbers are reserved, whatever the storage: at least a chunk, and more as more are used.
class SequencePace {
public:
    // 0.4 s of 10 million packets a second; a hard stop costs at most this many of the 2^32 numbers.
    static constexpr std::uint64_t kDefaultChunk = std::uint64_t{1} << 22;
    // 2 s of 130 million packets a second. A peer with extended numbers cannot follow over a gap of 2^32 (RFC 4303
    // appendix A2.2).
    static constexpr std::uint64_t kMostAhead = std::uint64_t{1} << 28;

    // Each time, as many numbers as `calls_ahead` calls would use.
    explicit SequencePace(std::uint64_t first, std::uint64_t chunk = kDefaultChunk,
                          std::uint64_t calls_ahead = 8) noexcept
        : next_at_last_call_(first), chunk_(chunk < 2 ? 2 : chunk), calls_ahead_(calls_ahead) {}

    // From a timer. The limit that storage has to cover now; none while more than half of what is wanted is left.
    std::optional<std::uint64_t> due(const OutboundSa& sa, std::uint64_t reserved_until) noexcept;

private:
    std::uint64_t next_at_last_call_;
    std::uint64_t chunk_;
    std::uint64_t calls_ahead_;
};

// Thread: control.
class SequenceReservation {
public:
    static constexpr std::uint64_t kDefaultChunk = SequencePace::kDefaultChunk;

    // Reads the reservation, or starts at 1 when this nonce space has none. Fails when the directory is missing, the
    // file cannot be trusted, or another process or SA holds it: then the SA must not send.
    static std::expected<SequenceReservation, std::string> open(const std::filesystem::path& directory,
                                                                std::uint32_t spi, const KeyFingerprint& key,
                                                                std::uint64_t chunk = kDefaultChunk);
    ~SequenceReservation();
    SequenceReservation(SequenceReservation&& other) noexcept;
    SequenceReservation& operator=(SequenceReservation&&) = delete;

    // Where the SA has to start; pass it to OutboundSa::create, then call top_up once before the SA is used.
    std::uint64_t first() const noexcept { return first_; }

    // From a timer (100 ms or so): when less than half a chunk is left, writes a new reservation and only then raises
    // the SA's limit. A chunk grows with what was used since the last call. On an error the limit stays.
    std::expected<void, std::string> top_up(OutboundSa& sa);

    // At an orderly end, when no worker holds the SA any more (a grace period after it left the snapshot): returns
    // the numbers that were not used.
    std::expected<void, std::string> give_back(OutboundSa& sa);

    const std::filesystem::path& file() const noexcept { return file_; }

private:
    SequenceReservation(std::filesystem::path file, int lock_fd, std::uint32_t spi, std::string key_hex,
                        std::uint64_t chunk) noexcept
        : file_(std::move(file)), key_hex_(std::move(key_hex)), pace_(1, chunk), lock_fd_(lock_fd), spi_(spi) {}
    std::string text(std::uint32_t spi, std::uint64_t reserved_until) const;
    std::expected<std::uint64_t, std::string> read() const;
    std::expected<void, std::string> write(std::uint64_t reserved_until) const;

    std::filesystem::path file_;
    std::string key_hex_;
    std::uint64_t first_ = 1;
    std::uint64_t reserved_until_ = 1;
    SequencePace pace_;
    int lock_fd_;
    std::uint32_t spi_;
};

}  // namespace twinspan
