#include "control/netlink/socket.hpp"

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <linux/xfrm.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <string>

namespace twinspan::netlink {

namespace {

std::unexpected<Error> failed(const std::string& what) {
    return std::unexpected(Error{what + ": " + std::strerror(errno)});
}

// With CAP_NET_ADMIN the size may exceed net.core.rmem_max.
void set_receive_buffer(int fd, std::size_t bytes) {
    const int size = static_cast<int>(std::min<std::size_t>(bytes, std::numeric_limits<int>::max() / 2));
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    }
}

}  // namespace

void Socket::Close::operator()(mnl_socket* socket) const noexcept { mnl_socket_close(socket); }

Result<Socket> Socket::open_bus(int bus, const char* name, std::size_t receive_buffer_bytes) {
    Socket socket(mnl_socket_open2(bus, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket.socket_) {
        return failed(std::string{"opening a "} + name + " socket");
    }
    if (mnl_socket_bind(socket.socket_.get(), 0, MNL_SOCKET_AUTOPID) < 0) {
        return failed(std::string{"binding a "} + name + " socket");
    }
    set_receive_buffer(socket.fd(), receive_buffer_bytes);
    int on = 1;
    // Older kernels lack these and do without.
    mnl_socket_setsockopt(socket.socket_.get(), NETLINK_GET_STRICT_CHK, &on, sizeof on);
    mnl_socket_setsockopt(socket.socket_.get(), NETLINK_CAP_ACK, &on, sizeof on);
    return socket;
}

Result<Socket> Socket::open(std::size_t receive_buffer_bytes) {
    return open_bus(NETLINK_ROUTE, "NETLINK_ROUTE", receive_buffer_bytes);
}

Result<Socket> Socket::open_events(std::size_t receive_buffer_bytes) {
    Result<Socket> socket = open(receive_buffer_bytes);
    if (!socket) {
        return socket;
    }
    for (int group : {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,
                      RTNLGRP_NEIGH, RTNLGRP_NEXTHOP}) {
        if (mnl_socket_setsockopt(socket->socket_.get(), NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0 &&
            group != RTNLGRP_NEXTHOP) {  // since Linux 5.3
            return failed("joining rtnetlink group " + std::to_string(group));
        }
    }
    return socket;
}

Result<Socket> Socket::open_xfrm(std::size_t receive_buffer_bytes) {
    return open_bus(NETLINK_XFRM, "NETLINK_XFRM", receive_buffer_bytes);
}

Result<Socket> Socket::open_xfrm_events(std::size_t receive_buffer_bytes) {
    Result<Socket> socket = open_xfrm(receive_buffer_bytes);
    if (!socket) {
        return socket;
    }
    for (int group : {XFRMNLGRP_SA, XFRMNLGRP_EXPIRE, XFRMNLGRP_MAPPING, XFRMNLGRP_MIGRATE}) {
        if (mnl_socket_setsockopt(socket->socket_.get(), NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0) {
            return failed("joining XFRM group " + std::to_string(group));
        }
    }
    return socket;
}

int Socket::fd() const noexcept { return mnl_socket_get_fd(socket_.get()); }

Result<Read> Socket::read(std::span<std::byte> into) {
    sockaddr_nl from{};
    iovec vector{into.data(), into.size()};
    msghdr message{};
    message.msg_name = &from;
    message.msg_namelen = sizeof from;
    message.msg_iov = &vector;
    message.msg_iovlen = 1;
    for (;;) {
        const ssize_t got = recvmsg(fd(), &message, 0);
        if (got < 0) {
            if (errno == EINTR) {
                continue;
            }
            if (errno == EAGAIN) {
                return Read{ReadOutcome::drained, 0};
            }
            if (errno == ENOBUFS || errno == ENOMEM) {  // messages are gone, or the kernel could make none
                return Read{ReadOutcome::overrun, 0};
            }
            return failed("reading netlink");
        }
        if ((message.msg_flags & MSG_TRUNC) != 0) {
            return Read{ReadOutcome::overrun, 0};  // a message longer than any we know: as good as lost
        }
        if (from.nl_pid == 0) {  // else another process wrote to us
            return Read{ReadOutcome::data, static_cast<std::size_t>(got)};
        }
    }
}

Result<void> Socket::send(std::span<const std::byte> message) {
    if (mnl_socket_sendto(socket_.get(), message.data(), message.size()) < 0) {
        return failed("sending to netlink");
    }
    return {};
}

}  // namespace twinspan::netlink
