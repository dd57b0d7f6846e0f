// A lock that only workers take, for some dozen instructions at a time. As zero bytes it is open.
#pragma once

#include <atomic>
#include <cstdint>

namespace twinspan {

class SpinLock {
public:
    void lock() noexcept {
        while (word_.exchange(1, std::memory_order_acquire) != 0) {
            while (word_.load(std::memory_order_relaxed) != 0) {
                __builtin_ia32_pause();
            }
        }
    }
    void unlock() noexcept { word_.store(0, std::memory_order_release); }

private:
    std::atomic<std::uint32_t> word_{0};
};

}  // namespace twinspan
