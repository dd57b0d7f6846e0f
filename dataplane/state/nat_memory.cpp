#include "dataplane/state/nat_memory.hpp"

#include <sys/mman.h>

namespace twinspan {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

void* map(std::size_t bytes) noexcept {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return nullptr;
    }
    if (bytes >= kHugePage) {
        madvise(memory, bytes, MADV_HUGEPAGE);  // a wish: without it, lookups only miss the TLB more often
    }
    return memory;
}

void unmap(void* memory, std::size_t bytes) noexcept { munmap(memory, bytes); }

}  // namespace

NatMemory NatMemory::anonymous() noexcept { return {map, unmap}; }

}  // namespace twinspan
