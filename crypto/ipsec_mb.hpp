// Intel IPsec-MB behind a C++ face: expanded GCM keys and the engine that uses them.
#pragma once

#include "crypto/key.hpp"
#include "crypto/suite.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <utility>

// The library's own types, named and not defined, so that its macros stay out of every includer.
struct IMB_MGR;
struct gcm_key_data;
struct gcm_context_data;

namespace twinspan {

// The library's single-shot GCM: key, context, out, in, length, IV, AAD, AAD length, tag, tag length.
using GcmFunction = void (*)(const gcm_key_data*, gcm_context_data*, std::uint8_t*, const std::uint8_t*, std::uint64_t,
                             const std::uint8_t*, const std::uint8_t*, std::uint64_t, std::uint8_t*, std::uint64_t);

// Its GMAC in pieces (RFC 4543).
struct GmacCalls {
    void (*init)(const gcm_key_data*, gcm_context_data*, const std::uint8_t*, std::uint64_t) = nullptr;
    void (*update)(const gcm_key_data*, gcm_context_data*, const std::uint8_t*, std::uint64_t) = nullptr;
    void (*finalize)(const gcm_key_data*, gcm_context_data*, std::uint8_t*, std::uint64_t) = nullptr;
};

// An expanded key of the bare cipher, without an SA, together with the functions that understand its layout.
// Thread: control makes it, any worker reads it.
class GcmKey {
public:
    GcmKey(GcmKey&&) noexcept = default;
    GcmKey& operator=(GcmKey&&) noexcept = default;

    Suite suite() const noexcept { return suite_; }

private:
    friend class Engine;
    GcmKey(Suite suite, GcmFunction seal, GcmFunction open, SecretBytes schedule) noexcept
        : schedule_(std::move(schedule)), seal_(seal), open_(open), suite_(suite) {}
    const gcm_key_data* data() const noexcept { return reinterpret_cast<const gcm_key_data*>(schedule_.data()); }

    SecretBytes schedule_;
    GcmFunction seal_;
    GcmFunction open_;
    Suite suite_;
};

// `best` is what the library picks for this CPU; the others force a choice, for tests and comparisons.
enum class Architecture : std::uint8_t { best, sse, avx2, avx512 };
// Without GFNI the library also leaves out VAES: the code of older CPUs.
enum class Gfni : std::uint8_t { use, avoid };

// Where the powers of the hash key lie in an expanded GCM key: rising from the end of `span` bytes downwards, and once
// more `second` bytes further on. What is not read need not be fetched.
struct HashKeyLayout {
    static constexpr std::size_t kRoundKeys = 15 * 16;  // bytes before
    std::uint16_t span;
    std::uint16_t bytes_per_block;
    std::uint16_t second;

    constexpr std::size_t end() const noexcept { return kRoundKeys + span; }
    // Bytes before end() that a packet of `len` bytes reads; at least, in both places.
    constexpr std::size_t used(std::size_t len) const noexcept {
        return std::min<std::size_t>(span, (len / 16 + 2) * bytes_per_block);
    }
};

// One per worker: the library's manager and the scratch memory that sealing and opening need. All of it is locked, kept
// out of core dumps and wiped, for the manager keeps blocks of packets and states of keys.
class Engine {
public:
    // Fails when the CPU lacks the architecture asked for, the library's own self-test fails, or there is no
    // randomness.
    static std::expected<Engine, std::string> create(Architecture architecture = Architecture::best,
                                                     Gfni gfni = Gfni::use);

    Engine(Engine&&) noexcept = default;
    Engine& operator=(Engine&&) noexcept = default;

    // Control. The bare cipher; `key` holds key_len(suite) bytes.
    std::expected<GcmKey, std::string> expand(Suite suite, std::span<const std::uint8_t> key) const;
    std::array<std::uint8_t, 32> sha256(std::span<const std::uint8_t> text) const noexcept;
    std::string_view architecture() const noexcept;

    // Worker. Encrypts `len` bytes in place and writes `icv_len` bytes of tag to `icv`; `nonce` is kNonceLen bytes.
    // The library checks pointers and lengths of the direct calls by itself and clears its registers and stack
    // (its SAFE_PARAM and SAFE_DATA build options, on in Debian); the direct GCM calls have no *_NOCHECK twin.
    void seal(const GcmKey& key, std::uint8_t* data, std::size_t len, const std::uint8_t* nonce,
              const std::uint8_t* aad, std::size_t aad_len, std::uint8_t* icv, std::size_t icv_len = 16) noexcept {
        key.seal_(key.data(), context(), data, data, len, nonce, aad, aad_len, icv, icv_len);
    }

    // Worker. Decrypts in place whatever the tag says and writes the tag it computed: the caller compares.
    void open(const GcmKey& key, std::uint8_t* data, std::size_t len, const std::uint8_t* nonce,
              const std::uint8_t* aad, std::size_t aad_len, std::uint8_t* computed_icv,
              std::size_t icv_len = 16) noexcept {
        key.open_(key.data(), context(), data, data, len, nonce, aad, aad_len, computed_icv, icv_len);
    }

    // Worker. `n` IVs of 16 bytes each, at most kMostJobs, that nobody can foresee (RFC 3602 section 3): a counter
    // under a random key of this engine. They are good until the next call.
    const std::uint8_t* next_ivs(std::size_t n) noexcept;

    // For crypto/ alone.
    IMB_MGR* manager() const noexcept { return manager_; }
    gcm_context_data* context() noexcept { return reinterpret_cast<gcm_context_data*>(context_.data()); }
    std::uint8_t* scratch() noexcept { return scratch_.data(); }
    HashKeyLayout hash_keys() const noexcept { return hash_keys_; }

private:
    Engine(SecretBytes manager_memory, IMB_MGR* manager) noexcept;
    std::expected<void, std::string> make_iv_key();

    SecretBytes manager_memory_;
    SecretBytes context_;  // holds keystream between calls
    SecretBytes scratch_;
    IMB_MGR* manager_;  // in manager_memory_
    std::uint64_t iv_bursts_ = 0;
    HashKeyLayout hash_keys_;
};

}  // namespace twinspan
