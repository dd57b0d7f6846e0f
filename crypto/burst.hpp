// Seals and opens a burst of packets, of any SAs and suites. Thread: worker, with its own engine.
#pragma once

#include "crypto/sa.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace twinspan {

inline constexpr std::size_t kMostJobs = 64;

// `esp` points at the SPI; the payload lies at payload_offset(sa->layout()) already, kEspMaxRoom bytes of room behind
// it. `seq` comes from reserve_burst, once.
struct SealJob {
    OutboundSa* sa;
    std::uint8_t* esp;
    std::uint64_t seq;
    std::uint32_t payload_len;
    std::uint8_t next_header;
};

// At most kMostJobs. Each packet is sa->sealed_len(payload_len) bytes long afterwards.
void seal_burst(Engine& engine, std::span<const SealJob> jobs) noexcept;

// From the SPI to the end of the ICV, `len` bytes; `seq` is sa->sequence_of(esp).
struct OpenJob {
    InboundSa* sa;
    std::uint8_t* esp;
    std::uint64_t seq;
    std::uint32_t len;
    Opened opened;  // the result
};

// At most kMostJobs, each judged by itself. On anything but ok the bytes of the packet are worthless and must not be
// looked at.
void open_burst(Engine& engine, std::span<OpenJob> jobs) noexcept;

}  // namespace twinspan
