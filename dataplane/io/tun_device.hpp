// A TAP or TUN netdev: Linux' view of a leg or of a tunnel. It lives as long as this object.
#pragma once

#include "dataplane/dataplane.hpp"

#include <cstdint>
#include <string>
#include <utility>

namespace twinspan {

class TunDevice {
public:
    // In the calling thread's network namespace; down, without carrier, non-blocking.
    static Result<TunDevice> create(const NetdevSpec& spec);
    TunDevice(TunDevice&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    TunDevice& operator=(TunDevice&&) = delete;
    ~TunDevice();

    int fd() const noexcept { return fd_; }
    void set_carrier(bool up) const noexcept;

private:
    explicit TunDevice(int fd) noexcept : fd_(fd) {}
    int fd_;
};

}  // namespace twinspan
