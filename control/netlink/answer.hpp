// The kernel's answer to one request.
#pragma once

#include "control/netlink/decode.hpp"
#include "control/netlink/socket.hpp"

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>

namespace twinspan::netlink {

struct NoAnswer {
    int code = 0;  // errno; ENOBUFS: the kernel had no room for it, ETIMEDOUT: it did not come within 5 s
    std::string why;
};

// Waits for the message with this sequence number, which lies in `buffer` (of Socket::kReadBytes) then. Late answers to
// requests that timed out are passed over.
std::expected<Message, NoAnswer> await_answer(Socket& socket, std::span<std::byte> buffer, std::uint32_t sequence);

}  // namespace twinspan::netlink
