// A count that one thread writes and any thread may read.
#pragma once

#include <atomic>
#include <cstdint>

namespace twinspan {

// Written by one worker, read by control: relaxed load + store, no locked add.
class Counter {
public:
    void add(std::uint64_t n) noexcept { value_.store(read() + n, std::memory_order_relaxed); }
    std::uint64_t read() const noexcept { return value_.load(std::memory_order_relaxed); }

private:
    std::atomic<std::uint64_t> value_{0};
};

}  // namespace twinspan
