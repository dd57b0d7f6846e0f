// Where the NAT table's arrays come from. dataplane/io gives huge pages of EAL; without it, anonymous memory does.
#pragma once

#include <cstddef>
#include <new>
#include <type_traits>

namespace twinspan {

struct NatMemory {
    // zeroed, aligned to a cache line; nullptr when there is none
    void* (*allocate)(std::size_t bytes) noexcept;
    void (*release)(void* memory, std::size_t bytes) noexcept;

    static NatMemory anonymous() noexcept;  // mmap, transparent huge pages where the kernel has them
};

// An array in it; throws std::bad_alloc. T is fine as all zero bytes and needs no destructor.
template <class T>
class NatArray {
public:
    // `given`: memory of somebody else's in place of its own, for n elements, zeroed, and there for longer than this.
    NatArray(const NatMemory& memory, std::size_t n, void* given = nullptr)
        : release_(given == nullptr ? memory.release : nullptr),
          size_(n),
          data_(static_cast<T*>(given == nullptr ? memory.allocate(n * sizeof(T)) : given)) {
        static_assert(std::is_trivially_destructible_v<T>);
        if (data_ == nullptr) {
            throw std::bad_alloc();
        }
    }
    ~NatArray() {
        if (release_ != nullptr) {
            release_(data_, bytes());
        }
    }
    NatArray(const NatArray&) = delete;
    NatArray& operator=(const NatArray&) = delete;

    T& operator[](std::size_t i) noexcept { return data_[i]; }
    const T& operator[](std::size_t i) const noexcept { return data_[i]; }
    T* data() noexcept { return data_; }
    std::size_t bytes() const noexcept { return size_ * sizeof(T); }

private:
    decltype(NatMemory::release) release_;  // null: the memory is not ours
    std::size_t size_;
    T* data_;
};

}  // namespace twinspan
