// Has every reader been quiescent since a token was taken? As rte_rcu_qsbr_check without waiting, which any number of
// threads may ask at once: DPDK's own caches its answer in a field that it reads without an atomic load.
#pragma once

#include <rte_rcu_qsbr.h>

#include <cstdint>

namespace twinspan {

inline bool grace_passed(const rte_rcu_qsbr& readers, std::uint64_t token) noexcept {
    for (std::uint32_t i = 0; i < readers.max_threads; ++i) {
        const std::uint64_t seen = __atomic_load_n(&readers.qsbr_cnt[i].cnt, __ATOMIC_ACQUIRE);
        if (seen != __RTE_QSBR_CNT_THR_OFFLINE && seen < token) {
            return false;
        }
    }
    return true;
}

}  // namespace twinspan
