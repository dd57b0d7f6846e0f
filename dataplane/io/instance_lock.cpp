#include "dataplane/io/instance_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

namespace twinspan {
namespace {

// A process that ends removes the file: one that waited with the old file open holds a lock that nobody else sees.
bool is_still(int fd, const std::string& path) {
    struct stat held{};
    struct stat named{};
    return fstat(fd, &held) == 0 && stat(path.c_str(), &named) == 0 && held.st_ino == named.st_ino &&
           held.st_dev == named.st_dev;
}

}  // namespace

Result<InstanceLock> InstanceLock::take(const std::string& directory, const std::string& name) {
    std::error_code ignored;  // open() says what is wrong
    std::filesystem::create_directories(directory, ignored);
    const std::string path = directory + "/" + name + ".lock";
    for (;;) {
        const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0) {
            return std::unexpected(Error{path + ": " + std::strerror(errno)});
        }
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            const bool taken = errno == EWOULDBLOCK;
            const std::string reason = std::strerror(errno);
            close(fd);
            return std::unexpected(
                Error{taken ? "another twinspand named \"" + name + "\" is running (it holds " + path + ")"
                            : path + ": " + reason});
        }
        if (is_still(fd, path)) {
            return InstanceLock{fd, path};
        }
        close(fd);
    }
}

InstanceLock::InstanceLock(InstanceLock&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}

InstanceLock::~InstanceLock() {
    if (fd_ >= 0) {
        unlink(path_.c_str());
        close(fd_);
    }
}

}  // namespace twinspan
