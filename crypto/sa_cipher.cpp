#include "crypto/sa_cipher.hpp"

#include "crypto/schedule.hpp"

#include <cstring>

namespace twinspan {
namespace {

static_assert(sizeof(gcm_key_data) <= kMostScheduleLen && sizeof(CbcHmacSchedule) <= kMostScheduleLen);

struct GcmCalls {
    aes_gcm_pre_t expand;
    GcmFunction seal, open;
    GmacCalls gmac;
};

GcmCalls gcm_calls(const IMB_MGR& m, std::size_t key_len) noexcept {
    switch (key_len) {
        case 16:
            return {m.gcm128_pre, m.gcm128_enc, m.gcm128_dec, {m.gmac128_init, m.gmac128_update, m.gmac128_finalize}};
        case 24:
            return {m.gcm192_pre, m.gcm192_enc, m.gcm192_dec, {m.gmac192_init, m.gmac192_update, m.gmac192_finalize}};
        default:
            return {m.gcm256_pre, m.gcm256_enc, m.gcm256_dec, {m.gmac256_init, m.gmac256_update, m.gmac256_finalize}};
    }
}

keyexp_t aes_expand(const IMB_MGR& m, std::size_t key_len) noexcept {
    return key_len == 16 ? m.keyexp_128 : key_len == 24 ? m.keyexp_192 : m.keyexp_256;
}

void expand_cbc_hmac(const Engine& engine, const SaConfig& config, CipherDirection direction, CbcHmacSchedule& to) {
    const SuiteInfo& suite = info(config.suite);
    IMB_MGR* m = engine.manager();
    SecretBytes encrypt{sizeof to.aes}, decrypt{sizeof to.aes};
    const std::uint8_t* key = config.keymat.data();
    aes_expand(*m, suite.key_len)(key, encrypt.data(), decrypt.data());
    std::memcpy(to.aes, direction == CipherDirection::seal ? encrypt.data() : decrypt.data(), sizeof to.aes);
    imb_hmac_ipad_opad(m, hmac_of(suite), key + suite.key_len, suite.auth_key_len, to.inner, to.outer);
}

std::uint32_t icv_len_of(const SaConfig& config) noexcept {
    return config.icv_len == 0 ? info(config.suite).icv_len : config.icv_len;
}

}  // namespace

std::expected<void, std::string> check(const SaConfig& config) {
    // RFC 4303 section 2.1: 0 is for local use and 1 to 255 are reserved.
    if (config.spi < 256) {
        return std::unexpected("SPI " + std::to_string(config.spi) + " is reserved: use 256 or more");
    }
    const SuiteInfo& suite = info(config.suite);
    const std::string suite_name{suite.name};
    if (config.keymat.size() != keymat_len(config.suite)) {
        return std::unexpected(suite_name + " needs " + std::to_string(keymat_len(config.suite)) +
                               " bytes of key and " + (suite.salt_len != 0 ? "salt" : "integrity key") + ", not " +
                               std::to_string(config.keymat.size()));
    }
    if (!icv_len_is_valid(config.suite, icv_len_of(config))) {
        return std::unexpected("an ICV of " + std::to_string(8 * config.icv_len) + " bits for " + suite_name +
                               ": it has " + (suite.kind == SuiteKind::gcm ? "64, 96 or " : "only ") +
                               std::to_string(8 * suite.icv_len) + " bits");
    }
    return {};
}

std::size_t schedule_len(Suite suite) noexcept {
    switch (info(suite).kind) {
        case SuiteKind::gcm:
        case SuiteKind::gmac:
            return sizeof(gcm_key_data);
        case SuiteKind::chacha20_poly1305:
            return info(suite).key_len;
        case SuiteKind::cbc_hmac:
            return sizeof(CbcHmacSchedule);
    }
    __builtin_unreachable();
}

SaCipher expand(const Engine& engine, const SaConfig& config, CipherDirection direction, std::uint8_t* schedule) {
    const SuiteInfo& suite = info(config.suite);
    SaCipher cipher{.gcm = nullptr,
                    .gmac = {},
                    .spi_be = __builtin_bswap32(config.spi),
                    .salt_be = 0,
                    .layout = layout_of(config.suite, icv_len_of(config)),
                    .suite = config.suite,
                    .kind = suite.kind,
                    .width = config.width};
    const std::uint8_t* key = config.keymat.data();
    if (suite.salt_len != 0) {
        std::memcpy(&cipher.salt_be, key + suite.key_len, sizeof cipher.salt_be);
    }
    switch (suite.kind) {
        case SuiteKind::gcm:
        case SuiteKind::gmac: {
            const GcmCalls calls = gcm_calls(*engine.manager(), suite.key_len);
            calls.expand(key, reinterpret_cast<gcm_key_data*>(schedule));
            cipher.gcm = direction == CipherDirection::seal ? calls.seal : calls.open;
            cipher.gmac = calls.gmac;
            break;
        }
        case SuiteKind::chacha20_poly1305:
            std::memcpy(schedule, key, suite.key_len);
            break;
        case SuiteKind::cbc_hmac:
            expand_cbc_hmac(engine, config, direction, *reinterpret_cast<CbcHmacSchedule*>(schedule));
            break;
    }
    return cipher;
}

}  // namespace twinspan
