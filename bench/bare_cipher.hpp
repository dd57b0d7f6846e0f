// The bare IPsec-MB calls that a path's cost is held against: no SA, no packet, buffers and keys in the first-level
// cache.
#pragma once

#include "bench/traffic.hpp"
#include "crypto/suite.hpp"
#include "dataplane/base/error.hpp"

#include <memory>

namespace twinspan::bench {

enum class Direction : std::uint8_t { seal, open };

class BareCipher {
public:
    // Fails when the library does not know the suite.
    static Result<BareCipher> create(Suite suite);
    BareCipher(BareCipher&&) noexcept;
    ~BareCipher();

    // TSC cycles per call for each frame of the pattern in turn, the first quartile of `samples`. A frame of n bytes
    // stands for a call over n bytes; with AES-CBC over the whole blocks of them. GCM is called directly, the others in
    // bursts of 64 jobs, which is the fastest that the library has.
    double cycles(const SizePattern& sizes, Direction direction, unsigned samples);

private:
    struct Parts;
    [[gnu::noinline]] double cycles_here(const SizePattern& sizes, Direction direction, unsigned samples);
    explicit BareCipher(std::unique_ptr<Parts> parts) noexcept;
    std::unique_ptr<Parts> parts_;
};

}  // namespace twinspan::bench
