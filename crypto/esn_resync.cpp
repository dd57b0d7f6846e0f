#include "crypto/esn_resync.hpp"

#include "crypto/burst.hpp"

#include <array>
#include <cstring>

namespace twinspan {
namespace {

constexpr std::size_t kLongest = 10'240;  // bytes of a packet that is tried: decryption is in place, so it is copied

bool has_esn(const OpenJob& job) noexcept { return job.sa->width() == SequenceWidth::bits64; }

OpenJob* find_due(std::span<OpenJob> jobs) noexcept {
    for (OpenJob& job : jobs) {
        if (has_esn(job) && job.sa->resync().due() && job.len <= kLongest) [[unlikely]] {
            return &job;
        }
    }
    return nullptr;
}

void note_results(std::span<OpenJob> jobs) noexcept {
    for (const OpenJob& job : jobs) {
        if (!has_esn(job)) {
            continue;
        }
        if (job.opened.status == OpenStatus::auth_failed) [[unlikely]] {
            job.sa->resync().failed(1);
        } else if (job.opened.status != OpenStatus::bad_length) {
            job.sa->resync().succeeded();
        }
    }
}

[[gnu::noinline]] void open_with_a_try(Engine& engine, std::span<OpenJob> jobs, OpenJob& job) noexcept {
    std::array<std::uint8_t, kLongest> sealed;
    std::memcpy(sealed.data(), job.esp, job.len);
    open_burst(engine, jobs);
    note_results(jobs);
    if (job.opened.status != OpenStatus::auth_failed) {
        return;
    }
    job.sa->resync().tried();
    const std::uint64_t inferred = job.seq;
    for (std::uint32_t step = 1; step <= EsnResync::kHalves; ++step) {
        OpenJob again = job;
        again.seq = inferred + (std::uint64_t{step} << 32);
        if (again.seq < inferred) {
            return;  // past the last high half
        }
        std::memcpy(job.esp, sealed.data(), job.len);
        open_burst(engine, {&again, 1});
        if (again.opened.status != OpenStatus::auth_failed) {
            job = again;
            job.sa->resync().succeeded();
            return;
        }
    }
}

}  // namespace

void open_burst_and_resync(Engine& engine, std::span<OpenJob> jobs) noexcept {
    bool esn = false;
    for (const OpenJob& job : jobs) {
        esn |= has_esn(job);
    }
    if (!esn) [[likely]] {
        open_burst(engine, jobs);
        return;
    }
    if (OpenJob* due = find_due(jobs); due != nullptr) [[unlikely]] {
        open_with_a_try(engine, jobs, *due);
        return;
    }
    open_burst(engine, jobs);
    note_results(jobs);
}

}  // namespace twinspan
