#include "control/netlink/answer.hpp"

#include <poll.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace twinspan::netlink {
namespace {

constexpr int kTimeoutMs = 5000;

std::unexpected<NoAnswer> none(int code, std::string why) { return std::unexpected(NoAnswer{code, std::move(why)}); }

}  // namespace

std::expected<Message, NoAnswer> await_answer(Socket& socket, std::span<std::byte> buffer, std::uint32_t sequence) {
    for (bool lost = false;;) {
        pollfd ready{socket.fd(), POLLIN, 0};
        if (const int polled = poll(&ready, 1, lost ? 0 : kTimeoutMs); polled == 0) {
            return lost ? none(ENOBUFS, "the kernel had no room for its answer")
                        : none(ETIMEDOUT, "no answer from the kernel");
        } else if (polled < 0 && errno != EINTR) {
            return none(errno, std::strerror(errno));
        }
        const Result<Read> read = socket.read(buffer);
        if (!read) {
            return none(EIO, read.error().what);
        }
        lost |= read->outcome == ReadOutcome::overrun;
        const Message answer = buffer.first(read->bytes);
        if (const Result<MessageHeader> header = decode_header(answer); header && header->sequence == sequence) {
            return answer;
        }
    }
}

}  // namespace twinspan::netlink
