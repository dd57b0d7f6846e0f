// The library's own types, for the few files that call it: the expanded key of each kind, and the scratch of an engine.
#pragma once

#include "crypto/burst.hpp"

#include <intel-ipsec-mb.h>

#include <cstdint>

namespace twinspan {

struct CbcHmacSchedule {
    alignas(16) std::uint8_t aes[15 * 16];  // of the one direction that the SA has
    alignas(16) std::uint8_t inner[64];  // the hash's state behind key xor ipad (RFC 2104 section 4)
    alignas(16) std::uint8_t outer[64];
};

// Of one burst of CBC packets. Worker: writes.
struct EngineScratch {
    IMB_JOB jobs[kMostJobs];
    alignas(64) std::uint8_t ivs[kMostJobs][16];
    std::uint8_t received[kMostJobs][32];
    std::uint8_t computed[kMostJobs][64];
    std::uint8_t tag[16];
    gcm_key_data iv_key;
};

// Of a suite with CBC.
inline IMB_HASH_ALG hmac_of(const SuiteInfo& suite) noexcept {
    switch (suite.auth_key_len) {
        case 20:
            return IMB_AUTH_HMAC_SHA_1;
        case 32:
            return IMB_AUTH_HMAC_SHA_256;
        case 48:
            return IMB_AUTH_HMAC_SHA_384;
        default:
            return IMB_AUTH_HMAC_SHA_512;
    }
}

inline EngineScratch& scratch(Engine& engine) noexcept { return *reinterpret_cast<EngineScratch*>(engine.scratch()); }

}  // namespace twinspan
