// Where secrets live: pages that are locked and left out of core dumps as far as the limits of the process allow (a
// refused mlock is not an error: the data plane must run where RLIMIT_MEMLOCK is low).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <mutex>

namespace twinspan {

// Blocks lie one behind the other in few, big and aligned pieces of memory, which the kernel backs with huge pages
// where it may: ten thousand SAs then cost a handful of TLB entries. A freed block serves the next one of its size;
// memory is not given back. Thread: any.
class SecretArena final : public std::pmr::memory_resource {
public:
    static constexpr std::size_t kLine = 64;  // alignment, and what sizes are rounded up to

private:
    static constexpr std::size_t kMostLines = 64;  // a bigger block has pages of its own
    struct Free {
        Free* next;
    };

    void* do_allocate(std::size_t bytes, std::size_t alignment) override;
    void do_deallocate(void* block, std::size_t bytes, std::size_t alignment) override;
    bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }
    void refill();

    std::mutex mutex_;
    std::array<Free*, kMostLines + 1> free_{};  // by lines
    std::uint8_t* next_ = nullptr;
    std::uint8_t* end_ = nullptr;
};

SecretArena& secret_memory() noexcept;

}  // namespace twinspan
