#include "dataplane/io/eal_memory.hpp"

#include <rte_malloc.h>

namespace twinspan {

NatMemory eal_memory() noexcept {
    return {.allocate = [](std::size_t bytes) noexcept { return rte_zmalloc("nat", bytes, RTE_CACHE_LINE_SIZE); },
            .release = [](void* memory, std::size_t) noexcept { rte_free(memory); }};
}

}  // namespace twinspan
