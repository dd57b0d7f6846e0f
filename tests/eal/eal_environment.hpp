// EAL for the tests that cannot do without it, started once per test program, in plain memory.
#pragma once

#include "dataplane/io/buffers.hpp"

#include <rte_mbuf.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace twinspan::testing_eal {

inline constexpr std::uint32_t kBuffers = 4095;

rte_mempool* buffers();        // kBuffers of them
std::uint32_t buffers_free();  // the caches included: kBuffers again when nothing leaks

// A packet whose bytes are all `fill`.
rte_mbuf* packet(std::uint8_t fill, std::uint16_t length = 64);

}  // namespace twinspan::testing_eal
