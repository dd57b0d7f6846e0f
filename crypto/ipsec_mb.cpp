#include "crypto/ipsec_mb.hpp"

#include "crypto/schedule.hpp"

#include <sys/random.h>

#include <cerrno>
#include <cstring>
#include <type_traits>

namespace twinspan {
namespace {

static_assert(std::is_same_v<GcmFunction, aes_gcm_enc_dec_t>);
static_assert(IMB_VERSION_NUM >= IMB_VERSION(2, 0, 0), "1.x seals small packets in twice the cycles");

struct GcmCalls {
    aes_gcm_pre_t expand;
    GcmFunction seal;
    GcmFunction open;
};

GcmCalls calls(const IMB_MGR& m, Suite suite) noexcept {
    switch (suite) {
        case Suite::aes_128_gcm:
            return {m.gcm128_pre, m.gcm128_enc, m.gcm128_dec};
        case Suite::aes_192_gcm:
            return {m.gcm192_pre, m.gcm192_enc, m.gcm192_dec};
        case Suite::aes_256_gcm:
            return {m.gcm256_pre, m.gcm256_enc, m.gcm256_dec};
        default:
            return {};
    }
}

void init(IMB_MGR* manager, Architecture architecture) noexcept {
    switch (architecture) {
        case Architecture::best:
            init_mb_mgr_auto(manager, nullptr);
            return;
        case Architecture::sse:
            init_mb_mgr_sse(manager);
            return;
        case Architecture::avx2:
            init_mb_mgr_avx2(manager);
            return;
        case Architecture::avx512:
            init_mb_mgr_avx512(manager);
            return;
    }
}

// As gcm_key_data of this version of the library lies; tests/unit/crypto checks it by changing bytes.
HashKeyLayout hash_keys_of(const IMB_MGR& m) noexcept {
    const bool vaes = m.used_arch_type >= 2;
    switch (m.used_arch) {
        case IMB_ARCH_AVX512:
            return vaes ? HashKeyLayout{512, 16, 512} : HashKeyLayout{256, 32, 0};
        case IMB_ARCH_AVX2:
            return vaes ? HashKeyLayout{256, 16, 256} : HashKeyLayout{256, 32, 0};
        default:
            return {256, 256, 0};
    }
}

}  // namespace

std::expected<Engine, std::string> Engine::create(Architecture architecture, Gfni gfni) {
    SecretBytes memory{imb_get_mb_mgr_size()};
    IMB_MGR* manager = imb_set_pointers_mb_mgr(memory.data(), gfni == Gfni::avoid ? IMB_FLAG_GFNI_OFF : 0, 1);
    if (manager == nullptr) {
        return std::unexpected("IPsec-MB: cannot make a manager");
    }
    init(manager, architecture);
    if (const int error = imb_get_errno(manager); error != 0) {
        return std::unexpected(std::string("IPsec-MB: cannot start: ") + imb_get_strerror(error));
    }
    constexpr std::uint64_t kSelfTested = IMB_FEATURE_SELF_TEST | IMB_FEATURE_SELF_TEST_PASS;
    if ((manager->features & kSelfTested) == IMB_FEATURE_SELF_TEST) {
        return std::unexpected("IPsec-MB: its self-test failed");
    }
    Engine engine{std::move(memory), manager};
    if (auto made = engine.make_iv_key(); !made) {
        return std::unexpected(made.error());
    }
    return engine;
}

Engine::Engine(SecretBytes manager_memory, IMB_MGR* manager) noexcept
    : manager_memory_(std::move(manager_memory)),
      context_(sizeof(gcm_context_data)),
      scratch_(sizeof(EngineScratch)),
      manager_(manager),
      hash_keys_(hash_keys_of(*manager)) {}

std::expected<void, std::string> Engine::make_iv_key() {
    SecretBytes key{16};
    if (getrandom(key.data(), key.size(), 0) != static_cast<ssize_t>(key.size())) {
        return std::unexpected(std::string("no random bytes for the IVs of CBC: ") + std::strerror(errno));
    }
    manager_->gcm128_pre(key.data(), &twinspan::scratch(*this).iv_key);
    return {};
}

// The direct GCM call is the fastest way to a run of AES-CTR key stream.
const std::uint8_t* Engine::next_ivs(std::size_t n) noexcept {
    static constexpr std::uint8_t kZeros[16 * kMostJobs]{};
    EngineScratch& s = twinspan::scratch(*this);
    alignas(16) std::array<std::uint8_t, 16> nonce{};
    ++iv_bursts_;
    std::memcpy(nonce.data(), &iv_bursts_, sizeof iv_bursts_);
    manager_->gcm128_enc(&s.iv_key, context(), s.ivs[0], kZeros, 16 * n, nonce.data(), nullptr, 0, s.tag, sizeof s.tag);
    return s.ivs[0];
}

std::expected<GcmKey, std::string> Engine::expand(Suite suite, std::span<const std::uint8_t> key) const {
    if (key.size() != key_len(suite)) {
        return std::unexpected(std::string(name(suite)) + " needs a key of " + std::to_string(key_len(suite)) +
                               " bytes, not " + std::to_string(key.size()));
    }
    const GcmCalls gcm = calls(*manager_, suite);
    if (gcm.expand == nullptr) {
        return std::unexpected(std::string(name(suite)) + " is not supported");
    }
    SecretBytes schedule{sizeof(gcm_key_data)};
    gcm.expand(key.data(), reinterpret_cast<gcm_key_data*>(schedule.data()));
    return GcmKey{suite, gcm.seal, gcm.open, std::move(schedule)};
}

std::array<std::uint8_t, 32> Engine::sha256(std::span<const std::uint8_t> text) const noexcept {
    std::array<std::uint8_t, 32> digest{};
    manager_->sha256(text.data(), text.size(), digest.data());
    return digest;
}

std::string_view Engine::architecture() const noexcept {
    switch (manager_->used_arch) {
        case IMB_ARCH_SSE:
            return "SSE";
        case IMB_ARCH_AVX2:
            return "AVX2";
        case IMB_ARCH_AVX512:
            return "AVX512";
        default:
            return "none";
    }
}

}  // namespace twinspan
