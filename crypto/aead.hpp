// Seals and opens one packet with a cipher that the library calls directly: AES-GCM (RFC 4106), ChaCha20-Poly1305
// (RFC 7634), AES-GMAC (RFC 4543). Thread: worker.
#pragma once

#include "crypto/burst.hpp"

namespace twinspan {

// SPI and sequence number, as authenticated: 8 bytes of the packet, or 12 with ESN (RFC 4106 section 5).
class Aad {
public:
    Aad(const SaCipher& cipher, const std::uint8_t* esp, std::uint64_t seq) noexcept {
        if (cipher.width == SequenceWidth::bits32) [[likely]] {
            data_ = esp;
            len_ = kEspHeaderLen;
        } else {
            // The received SPI: it is authenticated too.
            write_esn_aad(esn_.data(), __builtin_bswap32(esp_spi(esp)), seq);
            data_ = esn_.data();
            len_ = kEspHeaderLen + 4;
        }
    }
    Aad(const Aad&) = delete;
    Aad& operator=(const Aad&) = delete;
    const std::uint8_t* data() const noexcept { return data_; }
    std::size_t len() const noexcept { return len_; }

private:
    alignas(16) std::array<std::uint8_t, 16> esn_;
    const std::uint8_t* data_;
    std::size_t len_;
};

void seal_chacha20_poly1305(Engine& engine, const SealJob& job) noexcept;
Opened open_chacha20_poly1305(Engine& engine, const OpenJob& job) noexcept;
void seal_gmac(Engine& engine, const SealJob& job) noexcept;
Opened open_gmac(Engine& engine, const OpenJob& job) noexcept;

// These three have one payload offset and alignment.
inline constexpr EspLayout kAead = layout_of(Suite::aes_256_gcm);

inline const gcm_key_data* gcm_key(const std::uint8_t* schedule) noexcept {
    return reinterpret_cast<const gcm_key_data*>(schedule);
}

// Header, IV and trailer; returns the length of payload and trailer.
inline std::size_t frame_aead(const SealJob& job) noexcept {
    write_esp_header(job.esp, job.sa->cipher().spi_be, job.seq);
    return job.payload_len + write_trailer(job.esp + payload_offset(kAead) + job.payload_len,
                                           pad_len(kAead, job.payload_len), job.next_header);
}

inline void seal_gcm(Engine& engine, const SealJob& job) noexcept {
    const SaCipher& cipher = job.sa->cipher();
    std::uint8_t* payload = job.esp + payload_offset(kAead);
    const std::size_t len = frame_aead(job);
    alignas(16) std::array<std::uint8_t, 16> nonce;
    write_nonce(nonce.data(), cipher.salt_be, __builtin_bswap64(job.seq));
    const Aad aad{cipher, job.esp, job.seq};
    cipher.gcm(gcm_key(job.sa->schedule()), engine.context(), payload, payload, len, nonce.data(), aad.data(),
               aad.len(), payload + len, cipher.layout.icv_len);
}

inline Opened open_gcm(Engine& engine, const OpenJob& job) noexcept {
    const SaCipher& cipher = job.sa->cipher();
    if (!length_is_valid(cipher.layout, job.len)) [[unlikely]] {
        return {0, 0, OpenStatus::bad_length};
    }
    std::uint8_t* payload = job.esp + payload_offset(kAead);
    const std::size_t len = job.len - payload_offset(kAead) - cipher.layout.icv_len;
    std::uint64_t iv_be;
    std::memcpy(&iv_be, job.esp + kEspHeaderLen, sizeof iv_be);
    alignas(16) std::array<std::uint8_t, 16> nonce;
    alignas(16) std::array<std::uint8_t, 16> icv;
    write_nonce(nonce.data(), cipher.salt_be, iv_be);
    const Aad aad{cipher, job.esp, job.seq};
    cipher.gcm(gcm_key(job.sa->schedule()), engine.context(), payload, payload, len, nonce.data(), aad.data(),
               aad.len(), icv.data(), cipher.layout.icv_len);
    if (!icv_matches(payload + len, icv.data(), cipher.layout.icv_len)) [[unlikely]] {
        return {0, 0, OpenStatus::auth_failed};
    }
    return read_trailer(payload, len);
}

}  // namespace twinspan
