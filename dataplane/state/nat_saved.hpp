// Sessions outside the process: a header and the records as the table has them. The file that the records of a running
// daemon lie in and the one that `twinspanctl save-state` writes are the same. What is read is judged: it may be
// anybody's bytes, and a killed process may have left a record half made.
#pragma once

#include "dataplane/base/error.hpp"
#include "dataplane/state/nat_restored.hpp"
#include "dataplane/state/nat_session.hpp"
#include "dataplane/state/nat_usage.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace twinspan {

// One moment on the table's clock, on that of this boot (CLOCK_BOOTTIME) and on that of people, in seconds.
struct NatMoment {
    std::uint32_t table = 0;
    std::uint32_t boot = 0;
    std::uint64_t real = 0;
};

inline constexpr std::size_t kNatNameBytes = 32;
inline constexpr std::size_t kBootIdBytes = 40;
using NatBootId = std::array<char, kBootIdBytes>;  // filled up with zeros

struct NatSavedHeader {
    std::array<char, 8> magic;
    std::uint32_t version;
    std::uint32_t record_bytes;
    std::uint64_t records;  // that follow; the first is none
    std::uint64_t seed;     // of the table's hashes, so that hosts keep their addresses
    NatBootId boot_id;
    // Control, each second.
    std::atomic<std::uint64_t> table_and_boot;  // table << 32 | boot
    std::atomic<std::uint64_t> real;
    // Control: by number, filled up with zeros; "" is none.
    std::array<std::array<char, kNatNameBytes>, kMaxNatPools> pools;
    std::array<char, 4096 - 8 - 8 - 16 - kBootIdBytes - 16 - kNatNameBytes * kMaxNatPools> spare;

    // Of memory that is all zero: `magic` comes last.
    void begin(std::uint64_t record_count, std::uint64_t hash_seed, const NatBootId& boot) noexcept;
    bool is_begun() const noexcept;
    void end() noexcept;  // until the next begin() the file is nobody's
    void set_moment(const NatMoment& now) noexcept {
        table_and_boot.store(std::uint64_t{now.table} << 32 | now.boot, std::memory_order_relaxed);
        real.store(now.real, std::memory_order_relaxed);
    }
    NatMoment moment() const noexcept {
        const std::uint64_t both = table_and_boot.load(std::memory_order_relaxed);
        return {static_cast<std::uint32_t>(both >> 32), static_cast<std::uint32_t>(both),
                real.load(std::memory_order_relaxed)};
    }
    void name_pool(std::size_t number, std::string_view name) noexcept;  // cut at kNatNameBytes
};
static_assert(sizeof(NatSavedHeader) == 4096);

// As it was when it was saved: times on the table's clock of then, pools by their numbers of then.
struct NatSaved {
    std::vector<NatSessionView> sessions;
    std::vector<std::string> pools;
    std::uint64_t seed = 0;
    NatBootId boot_id{};
    NatMoment moment;
    std::uint64_t nonsense = 0;  // live records that are no sessions
};

// `read` fills what it is given from where it stopped last, and returns how many bytes it had. The error names what is
// wrong with the whole; single records that are no sessions are counted.
Result<NatSaved> read_nat_saved(const std::function<std::size_t(std::span<std::byte>)>& read);

// The same of a file that lies in memory, while its daemon goes on.
Result<NatSaved> read_nat_saved(const NatSavedHeader& header, std::span<const NatSession> records);

// Turns times to the present clock and pools to their present numbers. The time between is that of the same boot's
// clock, or else of people's; never less than none. Sessions of pools that `pools` does not have are taken out; returns
// how many.
std::uint64_t adapt_nat_saved(NatSaved& saved, const NatMoment& now, const NatBootId& boot_id,
                              std::span<const std::string> pools);

}  // namespace twinspan
