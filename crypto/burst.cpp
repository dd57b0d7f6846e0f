#include "crypto/burst.hpp"

#include "crypto/aead.hpp"
#include "crypto/cbc_hmac.hpp"

#include <algorithm>

namespace twinspan {
namespace {

// Packets between the prefetch of a key and its use. A packet of 64 bytes takes 40 cycles in the cipher, a line from
// the last-level cache about as many, and one from memory some hundred.
constexpr std::size_t kAhead = 5;

void prefetch_lines(const std::uint8_t* begin, const std::uint8_t* end) noexcept {
    for (; begin < end; begin += 64) {
        __builtin_prefetch(begin);
    }
    __builtin_prefetch(end - 1);
}

// The lines of an expanded key that a packet of `len` bytes reads: all round keys, and as many powers of the hash key
// as it has blocks.
void prefetch_key(const Engine& engine, const SaCipher& cipher, const std::uint8_t* schedule,
                  std::size_t len) noexcept {
    prefetch_lines(schedule, schedule + HashKeyLayout::kRoundKeys);
    if (cipher.kind == SuiteKind::cbc_hmac) {
        prefetch_lines(schedule + HashKeyLayout::kRoundKeys, schedule + schedule_len(cipher.suite));
        return;
    }
    const HashKeyLayout keys = engine.hash_keys();
    const std::uint8_t* end = schedule + keys.end();
    const std::size_t used = keys.used(len);
    prefetch_lines(end - used, end);
    if (keys.second != 0) {
        prefetch_lines(end - used + keys.second, end + keys.second);
    }
}

std::size_t len_of(const SealJob& job) noexcept { return job.payload_len; }
std::size_t len_of(const OpenJob& job) noexcept { return job.len; }

// The last line of what will be longer has not been in a cache; that of what arrived has.
void prefetch_end(const SealJob& job) noexcept { __builtin_prefetch(job.esp + job.payload_len, 1); }
void prefetch_end(const OpenJob&) noexcept {}

// Of jobs[i]: the key, unless the packet before has the same one, and the packet's end.
template <class Job>
void prefetch(const Engine& engine, std::span<Job> jobs, std::size_t i) noexcept {
    const Job& job = jobs[i];
    if (i == 0 || job.sa != jobs[i - 1].sa) {
        prefetch_key(engine, job.sa->cipher(), job.sa->schedule(), len_of(job));
    }
    prefetch_end(job);
}

void seal_one(Engine& engine, const SealJob& job) noexcept {
    switch (job.sa->cipher().kind) {
        case SuiteKind::gcm:
            seal_gcm(engine, job);
            return;
        case SuiteKind::chacha20_poly1305:
            seal_chacha20_poly1305(engine, job);
            return;
        default:
            seal_gmac(engine, job);
    }
}

Opened open_one(Engine& engine, const OpenJob& job) noexcept {
    switch (job.sa->cipher().kind) {
        case SuiteKind::gcm:
            return open_gcm(engine, job);
        case SuiteKind::chacha20_poly1305:
            return open_chacha20_poly1305(engine, job);
        default:
            return open_gmac(engine, job);
    }
}

// Calls f(job) for each but those of CBC, and returns a bit for each of these.
template <class Job, class F>
std::uint64_t one_by_one(const Engine& engine, std::span<Job> jobs, F f) noexcept {
    std::uint64_t side_by_side = 0;
    for (std::size_t i = 0; i < std::min(kAhead, jobs.size()); ++i) {
        prefetch(engine, jobs, i);
    }
    for (std::size_t i = 0; i < jobs.size(); ++i) {
        if (i + kAhead < jobs.size()) {
            prefetch(engine, jobs, i + kAhead);
        }
        if (jobs[i].sa->cipher().kind == SuiteKind::cbc_hmac) {
            side_by_side |= std::uint64_t{1} << i;
        } else {
            f(jobs[i]);
        }
    }
    return side_by_side;
}

}  // namespace

void seal_burst(Engine& engine, std::span<const SealJob> jobs) noexcept {
    const std::uint64_t cbc = one_by_one(engine, jobs, [&](const SealJob& job) noexcept { seal_one(engine, job); });
    if (cbc != 0) {
        seal_cbc_hmac(engine, jobs, cbc);
    }
}

void open_burst(Engine& engine, std::span<OpenJob> jobs) noexcept {
    const std::uint64_t cbc =
        one_by_one(engine, jobs, [&](OpenJob& job) noexcept { job.opened = open_one(engine, job); });
    if (cbc != 0) {
        open_cbc_hmac(engine, jobs, cbc);
    }
}

std::size_t OutboundSa::seal_in_place(Engine& engine, std::uint64_t seq, std::uint8_t* esp, std::size_t payload_len,
                                      std::uint8_t next_header) noexcept {
    const SealJob job{this, esp, seq, static_cast<std::uint32_t>(payload_len), next_header};
    seal_burst(engine, {&job, 1});
    return sealed_len(payload_len);
}

Opened InboundSa::open_in_place(Engine& engine, std::uint64_t seq, std::uint8_t* esp, std::size_t len) noexcept {
    OpenJob job{this, esp, seq, static_cast<std::uint32_t>(len), {}};
    open_burst(engine, {&job, 1});
    return job.opened;
}

}  // namespace twinspan
