// What the packet path reads of an SA but for its numbers.
#pragma once

#include "crypto/esp_format.hpp"
#include "crypto/ipsec_mb.hpp"
#include "crypto/key.hpp"
#include "crypto/suite.hpp"

#include <cstdint>
#include <expected>
#include <string>

namespace twinspan {

enum class SequenceWidth : std::uint8_t { bits32, bits64 };  // the second is ESN, RFC 4303 section 2.2.1

struct SaConfig {
    std::uint32_t spi = 0;
    Suite suite = Suite::aes_256_gcm;
    SecretBytes keymat;  // keymat_len(suite) bytes
    SequenceWidth width = SequenceWidth::bits32;
    std::uint32_t icv_len = 0;  // bytes; 0: the suite's usual one; what the suite does not have is refused by name
};

enum class CipherDirection : std::uint8_t { seal, open };

// One cache line, never written once made. The expanded key lies behind the SA in memory: its place needs no look-up,
// so it can be fetched together with this. The library's functions stand here because the layout of a GCM key
// differs between architectures: kept together, the two cannot be mismatched.
struct SaCipher {
    GcmFunction gcm;
    GmacCalls gmac;
    std::uint32_t spi_be;
    std::uint32_t salt_be;
    EspLayout layout;
    Suite suite;
    SuiteKind kind;
    SequenceWidth width;
};
static_assert(sizeof(SaCipher) <= 64);

// SPI, lengths of key and ICV: what is refused, by name and without a byte of the key.
std::expected<void, std::string> check(const SaConfig& config);

inline constexpr std::size_t kMostScheduleLen = 1280;
// Bytes of the expanded key.
std::size_t schedule_len(Suite suite) noexcept;

// Control. `config` has passed check(); `schedule` has schedule_len(suite) bytes, aligned to a cache line.
SaCipher expand(const Engine& engine, const SaConfig& config, CipherDirection direction, std::uint8_t* schedule);

}  // namespace twinspan
