// A netlink socket: non-blocking, closed on exec, deaf to anyone but the kernel.
#pragma once

#include "dataplane/base/error.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

struct mnl_socket;

namespace twinspan::netlink {

enum class ReadOutcome : std::uint8_t {
    data,     // `bytes` of whole messages
    drained,  // nothing more now
    overrun,  // the kernel had no room and dropped messages: read what is left, then dump
};

struct Read {
    ReadOutcome outcome = ReadOutcome::drained;
    std::size_t bytes = 0;
};

class Socket {
public:
    static constexpr std::size_t kReadBytes = 64 * 1024;  // a dump's messages come in at most 32 KiB

    // For dumps and requests. The kernel checks dump requests strictly and says why it refuses one.
    static Result<Socket> open(std::size_t receive_buffer_bytes = 1 << 20);
    // Subscribed to links, addresses, routes, neighbours and nexthop objects.
    static Result<Socket> open_events(std::size_t receive_buffer_bytes);
    // NETLINK_XFRM, for dumps and requests, and subscribed to SAs and their expiry.
    static Result<Socket> open_xfrm(std::size_t receive_buffer_bytes = 1 << 20);
    static Result<Socket> open_xfrm_events(std::size_t receive_buffer_bytes);

    int fd() const noexcept;
    // `into` has kReadBytes.
    Result<Read> read(std::span<std::byte> into);
    Result<void> send(std::span<const std::byte> message);

private:
    struct Close {
        void operator()(mnl_socket* socket) const noexcept;
    };
    explicit Socket(mnl_socket* socket) noexcept : socket_(socket) {}
    static Result<Socket> open_bus(int bus, const char* name, std::size_t receive_buffer_bytes);
    std::unique_ptr<mnl_socket, Close> socket_;
};

}  // namespace twinspan::netlink
