#include "dataplane/io/nat_keeper.hpp"

#include "dataplane/io/nat_file.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <random>
#include <sstream>
#include <utility>

namespace twinspan {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::uint64_t entropy() {
    std::random_device source;
    return std::uint64_t{source()} << 32 | source() | 1;
}

std::vector<std::filesystem::path> huge_folders(const std::filesystem::path& mounts) {
    std::vector<std::pair<std::size_t, std::filesystem::path>> found;  // by page size
    std::ifstream in{mounts};
    for (std::string line; std::getline(in, line);) {
        std::istringstream words{line};
        std::string device, folder, type;
        struct statfs is{};
        if (words >> device >> folder >> type && type == "hugetlbfs" && statfs(folder.c_str(), &is) == 0) {
            found.emplace_back(static_cast<std::size_t>(is.f_bsize), folder);
        }
    }
    std::ranges::sort(found);
    std::vector<std::filesystem::path> folders;
    for (auto& [page, folder] : found) {
        folders.push_back(std::move(folder));
    }
    return folders;
}

bool is_memory(int fd, bool& huge, std::size_t& page) {
    struct statfs is{};
    if (fstatfs(fd, &is) != 0) {
        return false;
    }
    page = static_cast<std::size_t>(is.f_bsize);
    huge = is.f_type == HUGETLBFS_MAGIC;
    return huge || is.f_type == TMPFS_MAGIC;
}

// What cannot be given back only stays taken.
void resize(const std::filesystem::path& file, std::size_t bytes) noexcept {
    std::error_code ignored;
    std::filesystem::resize_file(file, bytes, ignored);
}

bool is_locked(const std::filesystem::path& file) noexcept {
    const Descriptor opened{::open(file.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)};
    return opened.get() >= 0 && ::flock(opened.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

}  // namespace

std::filesystem::path nat_file_in(const std::filesystem::path& folder, const std::string& name) {
    return folder / ("twinspan-" + name + ".nat");
}

NatBootId boot_id() {
    NatBootId id{};
    std::ifstream in{"/proc/sys/kernel/random/boot_id"};
    in.getline(id.data(), static_cast<std::streamsize>(id.size()));
    return id;
}

NatMoment nat_moment(std::uint32_t table) noexcept {
    timespec boot{};
    timespec real{};
    clock_gettime(CLOCK_BOOTTIME, &boot);
    clock_gettime(CLOCK_REALTIME, &real);
    return {table, static_cast<std::uint32_t>(boot.tv_sec), static_cast<std::uint64_t>(real.tv_sec)};
}

NatKeeper NatKeeper::open(const NatKeeperOptions& options) {
    NatKeeper keeper;
    keeper.options_ = options;
    const std::vector<std::filesystem::path> huge = huge_folders(options.mounts);
    std::vector<std::filesystem::path> folders = huge;
    folders.push_back(options.shared_memory);
    // A copy is there when a start was cut off while it put sessions back, and has what the file it is of may have no
    // more. What is in both counts once.
    for (const std::filesystem::path& copy : keeper.copies()) {
        keeper.take(copy);
    }
    for (const std::filesystem::path& folder : folders) {
        keeper.take(nat_file_in(folder, options.name));
    }
    if (!options.saved.empty() && !keeper.take(options.saved)) {
        std::erase(keeper.read_, options.saved);  // the operator's, to look at
    }
    keeper.seed_ = keeper.found_.empty() || keeper.found_[0].saved.seed == 0 ? entropy() : keeper.found_[0].saved.seed;
    if (!options.hugepages) {
        folders = {options.shared_memory};
    }
    for (const std::filesystem::path& folder : folders) {
        if (keeper.map(nat_file_in(folder, options.name))) {
            break;
        }
    }
    if (keeper.header_ != nullptr && options.hugepages && !keeper.is_huge_) {
        keeper.problems_.push_back(
            keeper.file_.string() +
            (huge.empty()
                 ? " holds the NAT sessions in small pages, which is slower: no hugetlbfs is mounted (mount -t "
                   "hugetlbfs none /dev/hugepages)"
                 : " holds the NAT sessions in small pages, which is slower: hugetlbfs has no room"));
    }
    return keeper;
}

NatKeeper::NatKeeper(NatKeeper&& other) noexcept
    : options_(std::move(other.options_)),
      file_(std::move(other.file_)),
      read_(std::move(other.read_)),
      found_(std::move(other.found_)),
      problems_(std::move(other.problems_)),
      lock_(std::move(other.lock_)),
      header_(std::exchange(other.header_, nullptr)),
      bytes_(other.bytes_),
      seed_(other.seed_),
      is_huge_(other.is_huge_),
      is_cleared_(other.is_cleared_) {}

NatKeeper::~NatKeeper() {
    if (header_ == nullptr) {
        return;
    }
    const std::span records{static_cast<const NatSession*>(records_of(header_)), std::size_t{options_.sessions} + 1};
    const bool holds_nothing =
        is_cleared_ ? std::ranges::none_of(records, [](const NatSession& s) { return view_of(s).has_value(); })
                    : !header_->is_begun();
    if (holds_nothing) {
        ::unlink(file_.c_str());
    }
    ::munmap(header_, bytes_);
}

std::array<std::filesystem::path, 2> NatKeeper::copies() const {
    const std::filesystem::path file = nat_file_in(options_.shared_memory, options_.name);
    return {file.string() + ".old", file.string() + ".older"};
}

// Whether it was there, and good. What another process has mapped, in another container, say, is left alone.
bool NatKeeper::take(const std::filesystem::path& file) {
    if (is_locked(file)) {
        return false;
    }
    auto saved = read_nat_file(file);
    if (saved && !saved->has_value()) {
        return false;  // no such file
    }
    read_.push_back(file);
    if (!saved) {
        problems_.push_back(saved.error().what);
        return false;
    }
    found_.push_back({file, std::move(**saved)});
    return true;
}

bool NatKeeper::map(const std::filesystem::path& file) {
    const auto fail = [&](const std::string& what) {
        problems_.push_back(file.string() + ": " + what);
        return false;
    };
    auto opened = open_nat_file(file);
    if (!opened) {
        return fail(opened.error().what);
    }
    if (::flock(opened->get(), LOCK_EX | LOCK_NB) != 0) {
        return fail("another process has its sessions there");
    }
    std::size_t page = 0;
    struct stat before{};
    fstat(opened->get(), &before);
    const auto forget = [&] {
        if (before.st_size == 0) {
            ::unlink(file.c_str());
        } else {
            resize(file, static_cast<std::size_t>(before.st_size));
        }
    };
    if (!is_memory(opened->get(), is_huge_, page)) {
        forget();
        return fail("not in memory (neither tmpfs nor hugetlbfs)");
    }
    const std::size_t wanted = sizeof(NatSavedHeader) + (std::size_t{options_.sessions} + 1) * sizeof(NatSession);
    bytes_ = (wanted + page - 1) / page * page;
    const int full = ::posix_fallocate(opened->get(), 0, static_cast<off_t>(bytes_));
    if (full != 0) {
        forget();
        return fail("no room for " + std::to_string(bytes_) + " bytes: " + std::strerror(full));
    }
    void* memory = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, opened->get(), 0);
    if (memory == MAP_FAILED) {
        const int why = errno;
        forget();
        return fail(std::strerror(why));
    }
    if (!is_huge_ && bytes_ >= kHugePage) {
        ::madvise(memory, bytes_, MADV_HUGEPAGE);  // a wish, which shmem_enabled of the kernel may grant
    }
    header_ = static_cast<NatSavedHeader*>(memory);
    file_ = file;
    lock_ = std::move(*opened);
    std::erase(read_, file);
    return true;
}

void* NatKeeper::records() noexcept { return header_ == nullptr ? nullptr : records_of(header_); }

void NatKeeper::clear(const NatMoment& now) {
    if (header_ == nullptr) {
        return;
    }
    const auto copies = this->copies();
    // One that another start has left is still needed.
    const auto copy = std::ranges::find_if(
        copies, [&](const auto& file) { return std::ranges::find(found_, file, &Found::file) == found_.end(); });
    const auto here = std::ranges::find(found_, file_, &Found::file);
    if (here != found_.end() && copy != copies.end()) {
        if (const auto copied = write_nat_file(*copy, here->saved); !copied) {
            problems_.push_back(copied.error().what + "; if this start is cut off, sessions are lost");
        }
        read_.push_back(*copy);
    }
    header_->end();
    resize(file_, bytes_);  // it may have been larger
    std::memset(records_of(header_), 0, bytes_ - sizeof(NatSavedHeader));
    for (std::size_t pool = 0; pool < kMaxNatPools; ++pool) {
        header_->name_pool(pool, "");
    }
    set_moment(now);
    header_->begin(std::uint64_t{options_.sessions} + 1, seed_, boot_id());
    is_cleared_ = true;
}

void NatKeeper::done() {
    for (const std::filesystem::path& file : std::exchange(read_, {})) {
        ::unlink(file.c_str());
    }
    found_ = {};
}

void NatKeeper::set_moment(const NatMoment& now) noexcept {
    if (header_ != nullptr) {
        header_->set_moment(now);
    }
}

void NatKeeper::name_pool(std::size_t number, const std::string& name) noexcept {
    if (header_ != nullptr && number < kMaxNatPools) {
        header_->name_pool(number, name);
    }
}

}  // namespace twinspan
