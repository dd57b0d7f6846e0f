// Intel IPsec-MB behind a C++ face: expanded GCM keys and the engine that uses them.
#pragma once

#include "crypto/key.hpp"
#include "crypto/suite.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
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

// An expanded key together with the functions that understand its layout. The layout of the hash
// keys differs between architectures; kept together, the two cannot be mismatched, and a packet pays
// one indirect call and no test of the suite. Thread: control makes it, any worker reads it.
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

// One per worker: the library's manager and the scratch context that sealing and opening need.
class Engine {
public:
    // Fails when the CPU lacks the architecture asked for, or the library's own self-test fails.
    static std::expected<Engine, std::string> create(Architecture architecture = Architecture::best,
                                                     Gfni gfni = Gfni::use);

    Engine(Engine&&) noexcept = default;
    Engine& operator=(Engine&&) noexcept = default;

    // Control. `key` holds key_len(suite) bytes.
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

private:
    struct FreeManager {
        void operator()(IMB_MGR* manager) const noexcept;
    };
    using Manager = std::unique_ptr<IMB_MGR, FreeManager>;
    Engine(Manager manager, SecretBytes context) noexcept
        : manager_(std::move(manager)), context_(std::move(context)) {}
    gcm_context_data* context() noexcept { return reinterpret_cast<gcm_context_data*>(context_.data()); }

    Manager manager_;
    SecretBytes context_;  // holds keystream between calls
};

}  // namespace twinspan
