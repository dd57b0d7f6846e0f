// AES-CBC with HMAC (RFC 3602, 2404, 4868), many packets at once. Thread: worker.
#pragma once

#include "crypto/burst.hpp"

namespace twinspan {

// Bit i of `which`: jobs[i] belongs to a suite of this kind.
void seal_cbc_hmac(Engine& engine, std::span<const SealJob> jobs, std::uint64_t which) noexcept;
void open_cbc_hmac(Engine& engine, std::span<OpenJob> jobs, std::uint64_t which) noexcept;

}  // namespace twinspan
