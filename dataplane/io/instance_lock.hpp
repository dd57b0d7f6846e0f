// One daemon of a name: a lock file that the kernel lets go of when the process ends, however it ends.
#pragma once

#include "dataplane/base/error.hpp"

#include <string>

namespace twinspan {

class InstanceLock {
public:
    // Makes the directory if need be. Fails when another process holds `<directory>/<name>.lock`.
    static Result<InstanceLock> take(const std::string& directory, const std::string& name);
    InstanceLock(InstanceLock&& other) noexcept;
    InstanceLock& operator=(InstanceLock&&) = delete;
    ~InstanceLock();  // removes the file

private:
    InstanceLock(int fd, std::string path) noexcept : fd_(fd), path_(std::move(path)) {}
    int fd_;
    std::string path_;
};

}  // namespace twinspan
