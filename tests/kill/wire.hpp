// What the sealing process puts on the wire: memory shared with the driver, which outlives the process.
#pragma once

#include "crypto/sa.hpp"
#include "crypto/sequence_reservation.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

namespace twinspan::test {

inline constexpr std::size_t kPayloadLen = 38;
inline constexpr std::size_t kPacketLen = sealed_len(layout_of(Suite::aes_256_gcm), kPayloadLen);
inline constexpr std::uint64_t kChunk = 200;  // numbers reserved at a time: many reservations in the life of a process

struct Wire {
    static constexpr std::uint64_t kCapacity = 16384;  // packets of one life; a full wire takes no more
    std::atomic<std::uint64_t> count;  // sealing process: writes; driver: zeroes between two lives
    std::array<std::array<std::uint8_t, kPacketLen>, kCapacity> packets;
};

// The SA of both ends. Its sequence numbers have 32 or 64 bits.
inline SaConfig kill_test_sa(SequenceWidth width) {
    SecretBytes keymat{keymat_len(Suite::aes_256_gcm)};
    for (std::size_t i = 0; i < keymat.size(); ++i) {
        keymat.data()[i] = static_cast<std::uint8_t>(7 * i + (width == SequenceWidth::bits64));
    }
    return {.spi = 0x1001, .suite = Suite::aes_256_gcm, .keymat = std::move(keymat), .width = width};
}

}  // namespace twinspan::test
