// Where the records of NAT sessions lie: in a file in memory, which outlives the process. So nothing is ever copied
// while packets flow, and however the process ends, the kernel keeps what it had. The next one of that name reads it
// and, when its table is made, opens the sessions again in the same memory.
#pragma once

#include "dataplane/base/descriptor.hpp"
#include "dataplane/base/error.hpp"
#include "dataplane/state/nat_saved.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace twinspan {

struct NatKeeperOptions {
    std::string name;             // of the instance
    std::uint32_t sessions = 0;   // the table's
    bool hugepages = true;        // in hugetlbfs, if one is mounted and has room
    std::filesystem::path saved;  // taken once at a start, and removed; empty: none
    std::filesystem::path shared_memory = "/dev/shm";  // a tmpfs
    std::filesystem::path mounts = "/proc/mounts";
};

// The file of an instance in a folder that is memory.
std::filesystem::path nat_file_in(const std::filesystem::path& folder, const std::string& name);

class NatKeeper {
public:
    // With the instance's lock held. Never fails: where there is no such memory, records() is null and problems() say
    // why. Reads what is there; changes no session of it.
    static NatKeeper open(const NatKeeperOptions& options);
    NatKeeper(NatKeeper&& other) noexcept;
    NatKeeper& operator=(NatKeeper&&) = delete;
    ~NatKeeper();  // the file stays, unless nothing in it lives

    const std::filesystem::path& file() const noexcept { return file_; }  // empty: none
    const std::filesystem::path& saved() const noexcept { return options_.saved; }
    std::size_t huge_bytes() const noexcept { return header_ != nullptr && is_huge_ ? bytes_ : 0; }
    // What was wrong on the way: with old files, each by its name, and with memory.
    const std::vector<std::string>& problems() const noexcept { return problems_; }

    // For the table. The memory may hold what was there before until clear().
    void* records() noexcept;
    std::uint64_t seed() const noexcept { return seed_; }
    struct Found {
        std::filesystem::path file;
        NatSaved saved;
    };
    std::vector<Found>& found() noexcept { return found_; }  // the same session may be in several

    // Before the table is used: its memory becomes all zero, and the file's header true of it. A copy of what was found
    // there lies beside it until done(), which removes it and all other files that were read.
    void clear(const NatMoment& now);
    void done();
    void set_moment(const NatMoment& now) noexcept;
    void name_pool(std::size_t number, const std::string& name) noexcept;

private:
    NatKeeper() = default;
    bool take(const std::filesystem::path& file);
    bool map(const std::filesystem::path& file);
    std::array<std::filesystem::path, 2> copies() const;

    NatKeeperOptions options_;
    std::filesystem::path file_;
    std::vector<std::filesystem::path> read_;  // files that done() removes
    std::vector<Found> found_;
    std::vector<std::string> problems_;
    Descriptor lock_{-1};  // of file_, held as long as this
    NatSavedHeader* header_ = nullptr;
    std::size_t bytes_ = 0;
    std::uint64_t seed_ = 0;
    bool is_huge_ = false;
    bool is_cleared_ = false;
};

// On this machine.
NatBootId boot_id();
// `table`: seconds on the table's clock.
NatMoment nat_moment(std::uint32_t table) noexcept;

}  // namespace twinspan
