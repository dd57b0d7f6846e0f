#include "control/nat/collector.hpp"

#include "control/log.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <tuple>

namespace twinspan {
namespace {

constexpr std::size_t kUnknownPath = 484;    // 512 octets less IPv4 and UDP headers (RFC 7011 section 10.3.3)
constexpr std::size_t kMostDatagram = 1452;  // a loopback has no MTU that a collector's way would have
constexpr std::size_t kMostInStream = 8192;
constexpr int kUserTimeoutMs = 20'000;  // a collector that acknowledges nothing for so long is gone

struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t length = 0;
};

SocketAddress socket_address(const CollectorAddress& to) {
    SocketAddress result;
    if (to.address.is_v4()) {
        sockaddr_in v4{};
        v4.sin_family = AF_INET;
        v4.sin_port = htons(to.port);
        v4.sin_addr.s_addr = to.address.v4().raw;
        std::memcpy(&result.storage, &v4, sizeof v4);
        result.length = sizeof v4;
    } else {
        sockaddr_in6 v6{};
        v6.sin6_family = AF_INET6;
        v6.sin6_port = htons(to.port);
        std::memcpy(&v6.sin6_addr, to.address.v6().data(), sizeof v6.sin6_addr);
        std::memcpy(&result.storage, &v6, sizeof v6);
        result.length = sizeof v6;
    }
    return result;
}

void set(int fd, int level, int option, int value) {
    ::setsockopt(fd, level, option, &value, sizeof value);  // what a kernel does not know is done without
}

}  // namespace

bool Collector::ready(Time now) {
    if (state_ == State::closed && now >= next_try_) {
        open(now);
    }
    if (state_ == State::connecting) {
        finish_connecting(now);
    }
    if (state_ == State::open && address_.transport == IpfixTransport::udp) {
        forget_templates_if_refused();
    }
    if (state_ == State::open && address_.transport == IpfixTransport::tcp) {
        int error = flush();
        if (error == 0 && peer_is_gone()) {
            error = ECONNRESET;
        }
        if (error != 0) {
            close(now, error);
        }
    }
    return state_ == State::open && waiting() < kMostWaiting / 2;
}

void Collector::open(Time now) {
    ++attempts_;
    const bool tcp = address_.transport == IpfixTransport::tcp;
    const int kind = (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC;
    socket_ = Descriptor{::socket(address_.address.is_v4() ? AF_INET : AF_INET6, kind, 0)};
    if (socket_.get() < 0) {
        close(now, errno);
        return;
    }
    if (tcp) {
        set(socket_.get(), IPPROTO_TCP, TCP_NODELAY, 1);
        set(socket_.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, kUserTimeoutMs);
        set(socket_.get(), SOL_SOCKET, SO_KEEPALIVE, 1);
        set(socket_.get(), IPPROTO_TCP, TCP_KEEPIDLE, kUserTimeoutMs / 2000);
        set(socket_.get(), IPPROTO_TCP, TCP_KEEPINTVL, kUserTimeoutMs / 4000);
    }
    const SocketAddress to = socket_address(address_);
    began_ = now;
    if (::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&to.storage), to.length) == 0) {
        opened();
    } else if (errno == EINPROGRESS) {
        state_ = State::connecting;
    } else {
        close(now, errno);
    }
}

void Collector::finish_connecting(Time now) {
    int error = 0;
    socklen_t length = sizeof error;
    ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &length);
    tcp_info info{};
    length = sizeof info;
    ::getsockopt(socket_.get(), IPPROTO_TCP, TCP_INFO, &info, &length);
    if (error != 0) {
        close(now, error);
    } else if (info.tcpi_state != TCP_SYN_SENT) {
        opened();
    } else if (now - began_ > kConnectTimeout) {
        close(now, ETIMEDOUT);
    }
}

void Collector::opened() {
    state_ = State::open;
    backoff_ = kFirstBackoff;
    complained_ = false;
    ++epoch_;
    ++connections_;
    most_bytes_ = kMostInStream;
    if (address_.transport == IpfixTransport::udp) {
        read_path_mtu();
    }
    spdlog::info("NAT log: sends to {}", address_.text());
}

// The first failure is told, not each of those that follow.
void Collector::close(Time now, int error) {
    if (!complained_) {
        spdlog::warn("NAT log: {}: {}; tried again until it works", address_.text(),
                     std::system_category().message(error));
    }
    complained_ = true;
    forget();
    next_try_ = now + backoff_;
    backoff_ = std::min(2 * backoff_, kLongestBackoff);
}

void Collector::forget() noexcept {
    socket_ = Descriptor{-1};
    state_ = State::closed;
    for (const Queued& message : queued_) {
        lost_ += message.records;
    }
    queued_.clear();
    out_.clear();
    sent_ = 0;
}

void Collector::move_to(CollectorAddress address) {
    forget();
    address_ = address;
    next_try_ = {};
    backoff_ = kFirstBackoff;
    complained_ = false;
}

void Collector::read_path_mtu() {
    const bool v4 = address_.address.is_v4();
    constexpr std::size_t kUdpHeader = 8;
    const std::size_t headers = (v4 ? 20 : 40) + kUdpHeader;
    int mtu = 0;
    socklen_t length = sizeof mtu;
    const bool known = v4 ? ::getsockopt(socket_.get(), IPPROTO_IP, IP_MTU, &mtu, &length) == 0
                          : ::getsockopt(socket_.get(), IPPROTO_IPV6, IPV6_MTU, &mtu, &length) == 0;
    const std::size_t fits =
        known && static_cast<std::size_t>(mtu) > headers ? static_cast<std::size_t>(mtu) - headers : kUnknownPath;
    most_bytes_ = std::clamp(fits, kUnknownPath, kMostDatagram);
}

bool Collector::send(std::span<const std::uint8_t> message, std::uint32_t records) {
    if (state_ != State::open) {
        return false;
    }
    if (address_.transport == IpfixTransport::udp) {
        return send_datagram(message);
    }
    if (waiting() + message.size() > kMostWaiting) {
        return false;
    }
    if (sent_ == out_.size()) {
        out_.clear();
        sent_ = 0;
    }
    out_.insert(out_.end(), message.begin(), message.end());
    queued_.push_back({out_.size(), records});
    std::ignore = flush();  // an error shows again, and is dealt with, in ready()
    return true;
}

// Nobody listened to a datagram before: whoever comes now knows no templates.
void Collector::forget_templates_if_refused() {
    int error = 0;
    socklen_t length = sizeof error;
    ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &length);
    epoch_ += error == ECONNREFUSED ? 1 : 0;
}

bool Collector::send_datagram(std::span<const std::uint8_t> message) {
    // The first call may only report what became of the datagram before: nobody listened.
    for (int attempt = 0; attempt < 2; ++attempt) {
        if (::send(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL) >= 0) {
            return true;
        }
        if (errno == ECONNREFUSED) {
            ++epoch_;
            continue;
        }
        if (errno == EMSGSIZE) {
            read_path_mtu();
        }
        return false;
    }
    return false;
}

int Collector::flush() {
    while (sent_ < out_.size()) {
        const ssize_t n = ::send(socket_.get(), out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
        if (n < 0) {
            return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : errno;
        }
        sent_ += static_cast<std::size_t>(n);
        while (!queued_.empty() && queued_.front().end <= sent_) {
            queued_.pop_front();
        }
    }
    return 0;
}

// A collector has nothing to say: what can be read is the end.
bool Collector::peer_is_gone() {
    std::uint8_t byte = 0;
    const ssize_t n = ::recv(socket_.get(), &byte, sizeof byte, 0);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

}  // namespace twinspan
