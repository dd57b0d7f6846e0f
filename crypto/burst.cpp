#include "crypto/burst.hpp"

namespace twinspan {

void seal_burst(Engine& engine, std::span<const SealJob> jobs) noexcept {
    for (std::size_t i = 0; i < jobs.size(); ++i) {
        const SealJob& job = jobs[i];
        if (i + 1 < jobs.size()) {
            __builtin_prefetch(jobs[i + 1].sa);
            __builtin_prefetch(jobs[i + 1].esp + jobs[i + 1].payload_len);
        }
        job.sa->seal_in_place(engine, job.seq, job.esp, job.payload_len, job.next_header);
    }
}

void open_burst(Engine& engine, std::span<OpenJob> jobs) noexcept {
    for (std::size_t i = 0; i < jobs.size(); ++i) {
        OpenJob& job = jobs[i];
        if (i + 1 < jobs.size()) {
            __builtin_prefetch(jobs[i + 1].sa);
        }
        job.opened = job.sa->open_in_place(engine, job.seq, job.esp, job.len);
    }
}

}  // namespace twinspan
