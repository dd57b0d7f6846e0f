#include "crypto/ipsec_mb.hpp"

#include <intel-ipsec-mb.h>

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

}  // namespace

void Engine::FreeManager::operator()(IMB_MGR* manager) const noexcept { free_mb_mgr(manager); }

std::expected<Engine, std::string> Engine::create(Architecture architecture, Gfni gfni) {
    Manager manager{alloc_mb_mgr(gfni == Gfni::avoid ? IMB_FLAG_GFNI_OFF : 0)};
    if (manager == nullptr) {
        return std::unexpected("IPsec-MB: cannot allocate a manager");
    }
    init(manager.get(), architecture);
    if (const int error = imb_get_errno(manager.get()); error != 0) {
        return std::unexpected(std::string("IPsec-MB: cannot start: ") + imb_get_strerror(error));
    }
    constexpr std::uint64_t kSelfTested = IMB_FEATURE_SELF_TEST | IMB_FEATURE_SELF_TEST_PASS;
    if ((manager->features & kSelfTested) == IMB_FEATURE_SELF_TEST) {
        return std::unexpected("IPsec-MB: its self-test failed");
    }
    return Engine{std::move(manager), SecretBytes{sizeof(gcm_context_data)}};
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
