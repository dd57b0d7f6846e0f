#include "control/netlink/xfrm_algorithms.hpp"

#include <linux/xfrm.h>

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <type_traits>
#include <utility>

namespace twinspan::netlink {

namespace {

template <std::size_t N>
std::string name_of(const char (&text)[N]) {
    return std::string(text, strnlen(text, N));
}

// An algorithm attribute begins with its name and the length of its key in bits; the key follows. `T` is one of struct
// xfrm_algo*.
template <class T>
Result<void> algorithm(const Attribute& attribute, T& head) {
    if (attribute.value.size() < sizeof(T)) {
        return malformed("XFRM algorithm of " + std::to_string(attribute.value.size()) + " bytes");
    }
    std::memcpy(&head, attribute.value.data(), sizeof(T));
    const std::size_t left = attribute.value.size() - sizeof(T);
    if (left < (std::size_t{head.alg_key_len} + 7) / 8) {
        return malformed("XFRM algorithm says a key of " + std::to_string(head.alg_key_len) + " bits, " +
                         std::to_string(left) + " bytes are there");
    }
    return {};
}

SecretBytes key_of(const Attribute& attribute, std::size_t head_bytes, unsigned bits) {
    const Bytes key = attribute.value.subspan(head_bytes, (std::size_t{bits} + 7) / 8);
    return SecretBytes::copy_of({reinterpret_cast<const std::uint8_t*>(key.data()), key.size()});
}

// How much Linux sends of a digest when nobody says: 96 bits of SHA-256 too, of which RFC 4868 sends 128.
std::uint32_t default_icv_bits(std::string_view integrity) noexcept {
    return integrity == "hmac(sha384)" ? 192 : integrity == "hmac(sha512)" ? 256 : 96;
}

}  // namespace

std::string SaAlgorithms::text() const {
    return cipher.empty() ? integrity : integrity.empty() ? cipher : cipher + " with " + integrity;
}

Result<void> AlgorithmReader::read(const Attribute& attribute) {
    switch (attribute.type) {
        case XFRMA_ALG_AEAD:
            return read_aead(attribute);
        case XFRMA_ALG_CRYPT:
            return read_cipher(attribute);
        case XFRMA_ALG_AUTH:
            return read_integrity<xfrm_algo>(attribute);
        case XFRMA_ALG_AUTH_TRUNC:
            return read_integrity<xfrm_algo_auth>(attribute);
        default:
            return {};
    }
}

Result<void> AlgorithmReader::read_aead(const Attribute& attribute) {
    xfrm_algo_aead head;
    if (auto read = algorithm(attribute, head); !read) {
        return read;
    }
    out_.cipher = name_of(head.alg_name);
    out_.icv_bits = head.alg_icv_len;
    out_.keymat = key_of(attribute, sizeof head, head.alg_key_len);
    return {};
}

Result<void> AlgorithmReader::read_cipher(const Attribute& attribute) {
    xfrm_algo head;
    if (auto read = algorithm(attribute, head); !read) {
        return read;
    }
    out_.cipher = name_of(head.alg_name);
    cipher_key_ = key_of(attribute, sizeof head, head.alg_key_len);
    return {};
}

// Linux sends both kinds; the one with the length counts.
template <class T>
Result<void> AlgorithmReader::read_integrity(const Attribute& attribute) {
    T head;
    if (auto read = algorithm(attribute, head); !read) {
        return read;
    }
    if constexpr (std::is_same_v<T, xfrm_algo_auth>) {
        length_known_ = true;
        out_.icv_bits = head.alg_trunc_len;
    } else if (length_known_) {
        return {};
    } else {
        out_.icv_bits = default_icv_bits(name_of(head.alg_name));
    }
    out_.integrity = name_of(head.alg_name);
    integrity_key_ = key_of(attribute, sizeof head, head.alg_key_len);
    return {};
}

SaAlgorithms AlgorithmReader::finish() {
    if (out_.keymat.empty()) {
        out_.integrity_key_bytes = integrity_key_.size();
        out_.keymat = SecretBytes{cipher_key_.size() + integrity_key_.size()};
        std::ranges::copy(cipher_key_.span(), out_.keymat.data());
        std::ranges::copy(integrity_key_.span(), out_.keymat.data() + cipher_key_.size());
    }
    return std::move(out_);
}

}  // namespace twinspan::netlink
