#include "crypto/sa.hpp"

#include <new>

namespace twinspan {
namespace {

std::uint32_t salt_of(const SaConfig& config) noexcept {
    std::uint32_t salt;
    std::memcpy(&salt, config.keymat.data() + key_len(config.suite), sizeof salt);
    return salt;
}

std::uint32_t icv_len_of(const SaConfig& config) noexcept {
    return config.icv_len == 0 ? info(config.suite).icv_len : config.icv_len;
}

std::expected<GcmKey, std::string> expand(const Engine& engine, const SaConfig& config) {
    // RFC 4303 section 2.1: 0 is for local use and 1 to 255 are reserved.
    if (config.spi < 256) {
        return std::unexpected("SPI " + std::to_string(config.spi) + " is reserved: use 256 or more");
    }
    if (config.keymat.size() != keymat_len(config.suite)) {
        return std::unexpected(std::string(name(config.suite)) + " needs " + std::to_string(keymat_len(config.suite)) +
                               " bytes of key and salt, not " + std::to_string(config.keymat.size()));
    }
    if (!icv_len_is_valid(config.suite, icv_len_of(config))) {
        return std::unexpected("an ICV of " + std::to_string(8 * config.icv_len) + " bits for " +
                               std::string(name(config.suite)) + ": it has " +
                               (info(config.suite).kind == SuiteKind::gcm ? "64, 96 or " : "only ") +
                               std::to_string(8 * info(config.suite).icv_len) + " bits");
    }
    return engine.expand(config.suite, config.keymat.span().first(key_len(config.suite)));
}

// Which byte differs is not to be told by time. `len` is a multiple of 4, and no secret.
bool icv_matches(const std::uint8_t* received, const std::uint8_t* computed, std::size_t len) noexcept {
    std::uint32_t difference = 0;
    for (std::size_t i = 0; i < len; i += 4) {
        std::uint32_t a, b;
        std::memcpy(&a, received + i, sizeof a);
        std::memcpy(&b, computed + i, sizeof b);
        difference |= a ^ b;
    }
    return difference == 0;
}

}  // namespace

std::expected<std::unique_ptr<OutboundSa>, std::string> OutboundSa::create(const Engine& engine, const SaConfig& config,
                                                                           std::uint64_t first) {
    // RFC 4303 section 2.2: the first packet carries 1.
    if (first == 0 || first >= end_of(config.width)) {
        return std::unexpected("sequence number " + std::to_string(first) + " is outside the SA's range: rekey");
    }
    auto key = expand(engine, config);
    if (!key) {
        return std::unexpected(key.error());
    }
    return std::unique_ptr<OutboundSa>{new OutboundSa{std::move(*key), config, first}};
}

OutboundSa::OutboundSa(GcmKey key, const SaConfig& config, std::uint64_t first) noexcept
    : key_(std::move(key)),
      spi_be_(__builtin_bswap32(config.spi)),
      salt_be_(salt_of(config)),
      width_(config.width),
      layout_(layout_of(config.suite, icv_len_of(config))),
      next_seq_(first),
      first_(first) {}

// A number is in next_seq_ before it is in unused_. Read the other way round, the difference never falls below zero.
SaUsage OutboundSa::usage() const noexcept {
    const std::uint64_t unused = unused_.load(std::memory_order_acquire);
    return {next_seq() - first_ - unused, bytes_.load(std::memory_order_relaxed)};
}

void OutboundSa::raise_limit(std::uint64_t limit) noexcept {
    const std::uint64_t capped = std::min(limit, end_of_sequence());
    if (capped > limit_.load(std::memory_order_relaxed)) {
        limit_.store(capped, std::memory_order_release);
    }
}

std::expected<std::unique_ptr<InboundSa>, std::string> InboundSa::create(const Engine& engine, const SaConfig& config,
                                                                         std::uint32_t window_bits,
                                                                         std::uint64_t seen_up_to) {
    return make(engine, config, ReplayWindow::create(window_bits, seen_up_to));
}

std::expected<std::unique_ptr<InboundSa>, std::string> InboundSa::create(const Engine& engine, const SaConfig& config,
                                                                         std::uint32_t window_bits,
                                                                         const ReplayState& seen) {
    return make(engine, config, ReplayWindow::create(window_bits, seen));
}

std::expected<std::unique_ptr<InboundSa>, std::string> InboundSa::make(
    const Engine& engine, const SaConfig& config, std::expected<ReplayWindow, std::string> replay) {
    if (!replay) {
        return std::unexpected(replay.error());
    }
    auto key = expand(engine, config);
    if (!key) {
        return std::unexpected(key.error());
    }
    return std::unique_ptr<InboundSa>{new InboundSa{std::move(*key), config, std::move(*replay)}};
}

InboundSa::InboundSa(GcmKey key, const SaConfig& config, ReplayWindow replay) noexcept
    : key_(std::move(key)),
      spi_be_(__builtin_bswap32(config.spi)),
      salt_be_(salt_of(config)),
      width_(config.width),
      layout_(layout_of(config.suite, icv_len_of(config))),
      replay_(std::move(replay)) {}

Opened InboundSa::open_in_place(Engine& engine, std::uint64_t seq, std::uint8_t* esp, std::size_t len) noexcept {
    constexpr EspLayout kGcm = layout_of(Suite::aes_256_gcm);
    if (len < min_len(layout_) || len % kGcm.alignment != 0) [[unlikely]] {
        return {0, 0, OpenStatus::bad_length};
    }
    std::uint8_t* payload = esp + payload_offset(kGcm);
    const std::size_t encrypted_len = len - payload_offset(kGcm) - layout_.icv_len;
    std::uint64_t iv_be;
    std::memcpy(&iv_be, esp + kEspHeaderLen, sizeof iv_be);
    alignas(16) std::array<std::uint8_t, 16> nonce;
    alignas(16) std::array<std::uint8_t, 16> icv;
    write_nonce(nonce.data(), salt_be_, iv_be);
    if (width_ == SequenceWidth::bits32) [[likely]] {
        engine.open(key_, payload, encrypted_len, nonce.data(), esp, kEspHeaderLen, icv.data(), layout_.icv_len);
    } else {
        alignas(16) std::array<std::uint8_t, 16> aad;
        write_esn_aad(aad.data(), __builtin_bswap32(esp_spi(esp)), seq);  // the received SPI: it is authenticated too
        engine.open(key_, payload, encrypted_len, nonce.data(), aad.data(), kEspHeaderLen + 4, icv.data(),
                    layout_.icv_len);
    }
    const std::uint8_t* end = payload + encrypted_len;
    if (!icv_matches(end, icv.data(), layout_.icv_len)) [[unlikely]] {
        return {0, 0, OpenStatus::auth_failed};
    }
    const std::size_t padding = end[-2];
    if (padding + kEspTrailerMinLen > encrypted_len || !padding_is_valid(end - kEspTrailerMinLen, padding))
        [[unlikely]] {
        return {0, end[-1], OpenStatus::bad_padding};
    }
    return {static_cast<std::uint32_t>(encrypted_len - kEspTrailerMinLen - padding), end[-1], OpenStatus::ok};
}

}  // namespace twinspan
