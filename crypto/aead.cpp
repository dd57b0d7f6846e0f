#include "crypto/aead.hpp"

#include "crypto/schedule.hpp"

namespace twinspan {
namespace {

// By the job call, which takes 0.6 to 0.75 times as long as the direct one (init, update, finalize).
bool chacha20_poly1305(Engine& engine, const SaCipher& cipher, const std::uint8_t* key, IMB_CIPHER_DIRECTION direction,
                       std::uint8_t* esp, std::uint64_t seq, std::size_t len, std::uint8_t* tag) noexcept {
    alignas(16) std::array<std::uint8_t, 16> nonce;
    std::uint64_t iv_be;
    std::memcpy(&iv_be, esp + kEspHeaderLen, sizeof iv_be);
    write_nonce(nonce.data(), cipher.salt_be, iv_be);
    const Aad aad{cipher, esp, seq};
    IMB_MGR* m = engine.manager();
    IMB_JOB* job = m->get_next_job(m);
    const bool seals = direction == IMB_DIR_ENCRYPT;
    job->cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
    job->hash_alg = IMB_AUTH_CHACHA20_POLY1305;
    job->cipher_direction = direction;
    job->chain_order = seals ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
    job->enc_keys = job->dec_keys = key;
    job->key_len_in_bytes = IMB_CHACHA20_POLY1305_KEY_SIZE;
    job->src = esp;
    job->dst = esp + payload_offset(kAead);
    job->cipher_start_src_offset_in_bytes = job->hash_start_src_offset_in_bytes = payload_offset(kAead);
    job->msg_len_to_cipher_in_bytes = job->msg_len_to_hash_in_bytes = len;
    job->iv = nonce.data();
    job->iv_len_in_bytes = kNonceLen;
    job->auth_tag_output = tag;
    job->auth_tag_output_len_in_bytes = kAead.icv_len;
    job->u.CHACHA20_POLY1305.aad = aad.data();
    job->u.CHACHA20_POLY1305.aad_len_in_bytes = aad.len();
    job = m->submit_job_nocheck(m);
    if (job == nullptr) {
        job = m->flush_job(m);
    }
    return job != nullptr && job->status == IMB_STATUS_COMPLETED;
}

// RFC 4543 section 3.3: SPI, sequence number, IV and payload are all authenticated, nothing is encrypted.
void gmac(Engine& engine, const SaCipher& cipher, const std::uint8_t* schedule, const std::uint8_t* esp,
          std::uint64_t seq, std::size_t len, std::uint8_t* tag) noexcept {
    alignas(16) std::array<std::uint8_t, 16> nonce;
    std::uint64_t iv_be;
    std::memcpy(&iv_be, esp + kEspHeaderLen, sizeof iv_be);
    write_nonce(nonce.data(), cipher.salt_be, iv_be);
    const Aad aad{cipher, esp, seq};
    const gcm_key_data* key = gcm_key(schedule);
    cipher.gmac.init(key, engine.context(), nonce.data(), kNonceLen);
    cipher.gmac.update(key, engine.context(), aad.data(), aad.len());
    cipher.gmac.update(key, engine.context(), esp + kEspHeaderLen, len + kAead.iv_len);
    cipher.gmac.finalize(key, engine.context(), tag, kAead.icv_len);
}

}  // namespace

void seal_chacha20_poly1305(Engine& engine, const SealJob& job) noexcept {
    std::uint8_t* payload = job.esp + payload_offset(kAead);
    const std::size_t len = frame_aead(job);
    if (!chacha20_poly1305(engine, job.sa->cipher(), job.sa->schedule(), IMB_DIR_ENCRYPT, job.esp, job.seq, len,
                           payload + len)) [[unlikely]] {
        std::memset(payload, 0, len + kAead.icv_len);  // no plaintext leaves; the peer drops it
    }
}

Opened open_chacha20_poly1305(Engine& engine, const OpenJob& job) noexcept {
    if (!length_is_valid(kAead, job.len)) [[unlikely]] {
        return {0, 0, OpenStatus::bad_length};
    }
    const std::uint8_t* payload = job.esp + payload_offset(kAead);
    const std::size_t len = job.len - payload_offset(kAead) - kAead.icv_len;
    alignas(16) std::array<std::uint8_t, 16> icv;
    if (!chacha20_poly1305(engine, job.sa->cipher(), job.sa->schedule(), IMB_DIR_DECRYPT, job.esp, job.seq, len,
                           icv.data()) ||
        !icv_matches(payload + len, icv.data(), kAead.icv_len)) [[unlikely]] {
        return {0, 0, OpenStatus::auth_failed};
    }
    return read_trailer(payload, len);
}

void seal_gmac(Engine& engine, const SealJob& job) noexcept {
    const std::size_t len = frame_aead(job);
    gmac(engine, job.sa->cipher(), job.sa->schedule(), job.esp, job.seq, len, job.esp + payload_offset(kAead) + len);
}

Opened open_gmac(Engine& engine, const OpenJob& job) noexcept {
    if (!length_is_valid(kAead, job.len)) [[unlikely]] {
        return {0, 0, OpenStatus::bad_length};
    }
    const std::uint8_t* payload = job.esp + payload_offset(kAead);
    const std::size_t len = job.len - payload_offset(kAead) - kAead.icv_len;
    alignas(16) std::array<std::uint8_t, 16> icv;
    gmac(engine, job.sa->cipher(), job.sa->schedule(), job.esp, job.seq, len, icv.data());
    if (!icv_matches(payload + len, icv.data(), kAead.icv_len)) [[unlikely]] {
        return {0, 0, OpenStatus::auth_failed};
    }
    return read_trailer(payload, len);
}

}  // namespace twinspan
