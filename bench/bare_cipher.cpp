#include "bench/bare_cipher.hpp"

#include "bench/statistics.hpp"

#include <intel-ipsec-mb.h>
#include <rte_cycles.h>

#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <vector>

namespace twinspan::bench {
namespace {

constexpr unsigned kBuffers = 16;  // of this many, a whole number of which fits the first-level cache
constexpr unsigned kJobs = 64;
constexpr unsigned kCalls = 4 * kJobs;  // of a sample
constexpr std::size_t kEspHeader = 8;   // authenticated, not encrypted

struct alignas(64) Buffer {
    std::array<std::uint8_t, 24> header;  // ESP header and IV
    alignas(64) std::array<std::uint8_t, 1536> text;
    std::array<std::uint8_t, 32> icv;
};

struct alignas(16) Nonce {
    std::array<std::uint8_t, 16> bytes;
};

using GcmCall = void (*)(const gcm_key_data*, gcm_context_data*, std::uint8_t*, const std::uint8_t*, std::uint64_t,
                         const std::uint8_t*, const std::uint8_t*, std::uint64_t, std::uint8_t*, std::uint64_t);

}  // namespace

struct BareCipher::Parts {
    Suite suite{};
    IMB_MGR* manager = nullptr;
    alignas(64) gcm_key_data gcm{};
    alignas(64) gcm_context_data context{};
    GcmCall gcm_seal = nullptr, gcm_open = nullptr;
    alignas(64) std::array<std::uint8_t, 15 * 16> encrypt{}, decrypt{};
    alignas(64) std::array<std::uint8_t, 64> inner_pad{}, outer_pad{};
    IMB_JOB seal_shape{}, open_shape{};  // of a job, but for buffers and lengths
    std::array<Buffer, kBuffers> buffers{};
    std::array<Nonce, kBuffers> nonces{};

    ~Parts() { free_mb_mgr(manager); }
    bool prepare_gcm(const std::uint8_t* key);
    bool prepare_jobs(const std::uint8_t* key);
    void call_gcm(const SizePattern& sizes, std::size_t& next, Direction direction);
    void call_jobs(const SizePattern& sizes, std::size_t& next, Direction direction);
    void fill(IMB_JOB& job, Buffer& buffer, const Nonce& nonce, std::size_t bytes, Direction direction) const;
};

bool BareCipher::Parts::prepare_gcm(const std::uint8_t* key) {
    switch (suite) {
        case Suite::aes_128_gcm:
            IMB_AES128_GCM_PRE(manager, key, &gcm);
            gcm_seal = manager->gcm128_enc;
            gcm_open = manager->gcm128_dec;
            return true;
        case Suite::aes_256_gcm:
            IMB_AES256_GCM_PRE(manager, key, &gcm);
            gcm_seal = manager->gcm256_enc;
            gcm_open = manager->gcm256_dec;
            return true;
        default:
            return false;
    }
}

bool BareCipher::Parts::prepare_jobs(const std::uint8_t* key) {
    IMB_JOB& shape = seal_shape;
    if (suite == Suite::chacha20_poly1305) {
        shape.cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
        shape.hash_alg = IMB_AUTH_CHACHA20_POLY1305;
        shape.enc_keys = shape.dec_keys = encrypt.data();
        shape.u.CHACHA20_POLY1305.aad_len_in_bytes = kEspHeader;
        shape.iv_len_in_bytes = 12;
        shape.auth_tag_output_len_in_bytes = 16;
    } else if (suite == Suite::aes_256_cbc_hmac_sha256) {
        IMB_AES_KEYEXP_256(manager, key, encrypt.data(), decrypt.data());
        imb_hmac_ipad_opad(manager, IMB_AUTH_HMAC_SHA_256, key, 32, inner_pad.data(), outer_pad.data());
        shape.cipher_mode = IMB_CIPHER_CBC;
        shape.hash_alg = IMB_AUTH_HMAC_SHA_256;
        shape.enc_keys = encrypt.data();
        shape.dec_keys = decrypt.data();
        shape.u.HMAC._hashed_auth_key_xor_ipad = inner_pad.data();
        shape.u.HMAC._hashed_auth_key_xor_opad = outer_pad.data();
        shape.iv_len_in_bytes = 16;
        shape.auth_tag_output_len_in_bytes = 16;
    } else {
        return false;
    }
    shape.key_len_in_bytes = 32;
    open_shape = shape;
    seal_shape.cipher_direction = IMB_DIR_ENCRYPT;
    seal_shape.chain_order = IMB_ORDER_CIPHER_HASH;
    open_shape.cipher_direction = IMB_DIR_DECRYPT;
    open_shape.chain_order = IMB_ORDER_HASH_CIPHER;
    imb_set_session(manager, &seal_shape);
    imb_set_session(manager, &open_shape);
    return true;
}

void BareCipher::Parts::call_gcm(const SizePattern& sizes, std::size_t& next, Direction direction) {
    const GcmCall call = direction == Direction::seal ? gcm_seal : gcm_open;
    for (unsigned i = 0; i < kJobs; ++i) {
        Buffer& b = buffers[i % kBuffers];
        call(&gcm, &context, b.text.data(), b.text.data(), sizes[next], nonces[i % kBuffers].bytes.data(),
             b.header.data(), kEspHeader, b.icv.data(), 16);
        next = next + 1 == sizes.size() ? 0 : next + 1;
    }
}

void BareCipher::Parts::fill(IMB_JOB& job, Buffer& buffer, const Nonce& nonce, std::size_t bytes,
                             Direction direction) const {
    job = direction == Direction::seal ? seal_shape : open_shape;
    job.iv = nonce.bytes.data();
    job.auth_tag_output = buffer.icv.data();
    job.src = job.dst = buffer.text.data();
    if (suite == Suite::chacha20_poly1305) {
        job.u.CHACHA20_POLY1305.aad = buffer.header.data();
        job.msg_len_to_cipher_in_bytes = job.msg_len_to_hash_in_bytes = bytes;
    } else {
        job.msg_len_to_cipher_in_bytes = bytes / 16 * 16;
        job.msg_len_to_hash_in_bytes = job.msg_len_to_cipher_in_bytes + buffer.header.size();
    }
}

void BareCipher::Parts::call_jobs(const SizePattern& sizes, std::size_t& next, Direction direction) {
    std::array<IMB_JOB*, kJobs> jobs;
    unsigned asked = IMB_GET_NEXT_BURST(manager, kJobs, jobs.data());
    while (asked < kJobs) {
        IMB_FLUSH_BURST(manager, kJobs, jobs.data());
        asked = IMB_GET_NEXT_BURST(manager, kJobs, jobs.data());
    }
    for (unsigned i = 0; i < kJobs; ++i) {
        fill(*jobs[i], buffers[i % kBuffers], nonces[i % kBuffers], sizes[next], direction);
        next = next + 1 == sizes.size() ? 0 : next + 1;
    }
    unsigned done = IMB_SUBMIT_BURST_NOCHECK(manager, kJobs, jobs.data());
    while (done < kJobs) {
        const unsigned flushed = IMB_FLUSH_BURST(manager, kJobs, jobs.data());
        if (flushed == 0) {
            break;
        }
        done += flushed;
    }
}

BareCipher::BareCipher(std::unique_ptr<Parts> parts) noexcept : parts_(std::move(parts)) {}
BareCipher::BareCipher(BareCipher&&) noexcept = default;
BareCipher::~BareCipher() = default;

Result<BareCipher> BareCipher::create(Suite suite) {
    auto parts = std::make_unique<Parts>();
    parts->suite = suite;
    parts->manager = alloc_mb_mgr(0);
    if (parts->manager == nullptr) {
        return std::unexpected(Error{"IPsec-MB: no memory for a manager"});
    }
    init_mb_mgr_auto(parts->manager, nullptr);
    std::array<std::uint8_t, 32> key;
    key.fill(0x5a);
    parts->encrypt.fill(0x5a);
    if (!parts->prepare_gcm(key.data()) && !parts->prepare_jobs(key.data())) {
        return std::unexpected(Error{"no bare call for " + std::string{name(suite)}});
    }
    for (unsigned i = 0; i < kBuffers; ++i) {
        parts->nonces[i].bytes.fill(static_cast<std::uint8_t>(i));
    }
    return BareCipher{std::move(parts)};
}

// The library's scratch is on the stack. Where it lies against the key and the buffers changes a call's cost by a
// quarter, on some processors: the least of several places counts.
double BareCipher::cycles(const SizePattern& sizes, Direction direction, unsigned samples) {
    constexpr std::size_t kPlaces = 4, kStep = 1088;
    double least = std::numeric_limits<double>::max();
    for (std::size_t place = 0; place < kPlaces; ++place) {
        const volatile auto* lower = static_cast<volatile std::uint8_t*>(__builtin_alloca(place * kStep + 1));
        static_cast<void>(*lower);
        least = std::min(least, cycles_here(sizes, direction, static_cast<unsigned>(samples / kPlaces + 1)));
    }
    return least;
}

double BareCipher::cycles_here(const SizePattern& sizes, Direction direction, unsigned samples) {
    std::vector<double> taken;
    for (unsigned s = 0; s <= samples; ++s) {
        std::size_t next = 0;
        const std::uint64_t begin = rte_rdtsc();
        for (unsigned i = 0; i < kCalls / kJobs; ++i) {
            if (parts_->gcm_seal != nullptr) {
                parts_->call_gcm(sizes, next, direction);
            } else {
                parts_->call_jobs(sizes, next, direction);
            }
        }
        if (s != 0) {  // the first warms up
            taken.push_back(static_cast<double>(rte_rdtsc() - begin) / kCalls);
        }
    }
    return first_quartile(taken);
}

}  // namespace twinspan::bench
