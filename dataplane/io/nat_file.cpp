#include "dataplane/io/nat_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace twinspan {
namespace {

constexpr std::size_t kChunk = 4096;  // records

bool is_ours_alone(int fd) {
    struct stat is{};
    return fstat(fd, &is) == 0 && S_ISREG(is.st_mode) && is.st_uid == geteuid() && (is.st_mode & 077) == 0;
}

Error failed(const std::filesystem::path& file, int why = errno) { return {file.string() + ": " + std::strerror(why)}; }

std::size_t read_all(int fd, std::span<std::byte> into) {
    std::size_t done = 0;
    while (done < into.size()) {
        const ssize_t n = ::read(fd, into.data() + done, into.size() - done);
        if (n <= 0 && !(n < 0 && errno == EINTR)) {
            break;
        }
        done += static_cast<std::size_t>(std::max<ssize_t>(n, 0));
    }
    return done;
}

bool write_all(int fd, std::span<const std::byte> from) {
    while (!from.empty()) {
        const ssize_t n = ::write(fd, from.data(), from.size());
        if (n < 0 && errno != EINTR) {
            return false;
        }
        from = from.subspan(static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    }
    return true;
}

bool write_records(int fd, std::span<const NatSessionView> sessions) {
    const auto chunk = std::make_unique<std::array<NatSession, kChunk>>();
    for (std::size_t at = 0; at < sessions.size(); at += kChunk) {
        const auto part = sessions.subspan(at, std::min(kChunk, sessions.size() - at));
        for (std::size_t i = 0; i < part.size(); ++i) {
            NatSession& record = (*chunk)[i];
            record.inside_addresses = part[i].inside.addresses;
            record.inside_rest = part[i].inside.rest;
            record.outside_addresses = part[i].outside.addresses;
            record.outside_rest = part[i].outside.rest;
            record.created = part[i].created;
            record.last_seen = part[i].last_seen;
            record.tcp = part[i].tcp;
            record.live = 1;
        }
        if (!write_all(fd, std::as_bytes(std::span{chunk->data(), part.size()}))) {
            return false;
        }
    }
    return true;
}

}  // namespace

Result<Descriptor> open_nat_file(const std::filesystem::path& file) {
    for (int i = 0; i < 2; ++i) {
        Descriptor opened{::open(file.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600)};
        if (opened.get() >= 0 && is_ours_alone(opened.get())) {
            return opened;
        }
        if (::unlink(file.c_str()) != 0) {
            break;
        }
    }
    return std::unexpected(failed(file));
}

Result<std::optional<NatSaved>> read_nat_file(const std::filesystem::path& file) {
    const Descriptor opened{::open(file.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)};
    const int fd = opened.get();
    if (fd < 0) {
        return errno == ENOENT ? Result<std::optional<NatSaved>>{std::nullopt} : std::unexpected(failed(file));
    }
    const bool ours = is_ours_alone(fd);
    auto saved = ours ? read_nat_saved([fd](std::span<std::byte> into) { return read_all(fd, into); })
                      : std::unexpected(Error{"not taken: others may have written it, expected mode 0600 and our own"});
    if (!saved) {
        return std::unexpected(Error{file.string() + ": " + saved.error().what});
    }
    return std::optional{std::move(*saved)};
}

Result<void> write_nat_file(const std::filesystem::path& file, const NatSaved& saved) {
    std::filesystem::path next = file;
    next += ".next";
    ::unlink(next.c_str());
    const auto opened = open_nat_file(next);
    if (!opened) {
        return std::unexpected(opened.error());
    }
    const auto header = std::make_unique<NatSavedHeader>();
    for (std::size_t i = 0; i < std::min(saved.pools.size(), kMaxNatPools); ++i) {
        header->name_pool(i, saved.pools[i]);
    }
    header->set_moment(saved.moment);
    header->begin(saved.sessions.size(), saved.seed, saved.boot_id);
    const bool written = write_all(opened->get(), std::as_bytes(std::span{header.get(), 1})) &&
                         write_records(opened->get(), saved.sessions) && ::fsync(opened->get()) == 0 &&
                         ::rename(next.c_str(), file.c_str()) == 0;
    if (!written) {
        const int why = errno;
        ::unlink(next.c_str());
        return std::unexpected(failed(file, why));
    }
    const Descriptor folder{::open(file.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    return ::fsync(folder.get()) == 0 ? Result<void>{}
                                      : std::unexpected(failed(file));  // or a reboot may lose its name
}

Result<std::uint64_t> save_nat_sessions(const std::filesystem::path& from, const std::filesystem::path& to) {
    const Descriptor opened{::open(from.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)};
    struct stat is{};
    if (opened.get() < 0 || ::fstat(opened.get(), &is) != 0) {
        return std::unexpected(failed(from));
    }
    const auto bytes = static_cast<std::size_t>(is.st_size);
    if (bytes < sizeof(NatSavedHeader)) {
        return std::unexpected(Error{from.string() + ": it holds no NAT sessions of twinspand"});
    }
    void* memory = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, opened.get(), 0);
    if (memory == MAP_FAILED) {
        return std::unexpected(failed(from));
    }
    auto* header = static_cast<NatSavedHeader*>(memory);
    const auto saved = read_nat_saved(*header, {static_cast<const NatSession*>(records_of(header)),
                                                (bytes - sizeof(NatSavedHeader)) / sizeof(NatSession)});
    ::munmap(memory, bytes);
    if (!saved) {
        return std::unexpected(Error{from.string() + ": " + saved.error().what});
    }
    if (const auto written = write_nat_file(to, *saved); !written) {
        return std::unexpected(written.error());
    }
    return saved->sessions.size();
}

}  // namespace twinspan
