// Requests about single SAs over NETLINK_XFRM. Each waits for Linux's answer, which comes at once.
#pragma once

#include "control/netlink/decode.hpp"
#include "control/netlink/socket.hpp"
#include "control/netlink/xfrm_kernel.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace twinspan::netlink {

class XfrmRequests : public XfrmKernel {
public:
    static Result<XfrmRequests> open();

    Answer<SaCheckpoint> read(const SaId& id) override;
    Answer<void> write(const SaCheckpoint& checkpoint) override;
    Answer<void> expire(const SaId& id, bool hard) override;

private:
    explicit XfrmRequests(Socket socket) : socket_(std::move(socket)), buffer_(Socket::kReadBytes) {}
    struct Builder;
    // The answer's message: an NLMSG_ERROR of 0, or what was asked for.
    Answer<Message> ask(Builder& request, const std::string& what);

    Socket socket_;
    std::vector<std::byte> buffer_;
    std::uint32_t sequence_ = 0;
};

}  // namespace twinspan::netlink
