#include "control/rpc/server.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

namespace twinspan {
namespace {

std::unexpected<Error> failed(const std::string& what, int error) {
    return std::unexpected(Error{what + ": " + std::system_category().message(error)});
}

// A socket whose daemon died without removing it refuses connections.
bool is_stale(const sockaddr_un& address) {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool refused =
        ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 && errno == ECONNREFUSED;
    ::close(fd);
    return refused;
}

}  // namespace

nlohmann::json rpc_error(const std::string& what) { return {{"ok", false}, {"error", what}}; }
nlohmann::json rpc_data(nlohmann::json data) { return {{"ok", true}, {"data", std::move(data)}}; }

Result<std::unique_ptr<RpcServer>> RpcServer::listen(const std::filesystem::path& socket, Handler handler) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string name = socket.string();
    if (name.size() >= sizeof address.sun_path) {
        return std::unexpected(Error{"control socket " + name + ": the path is too long"});
    }
    std::memcpy(address.sun_path, name.c_str(), name.size() + 1);
    std::error_code error;
    if (std::filesystem::create_directories(socket.parent_path(), error)) {
        ::chmod(socket.parent_path().c_str(), 0755);
    }
    if (error) {
        return std::unexpected(
            Error{"control socket folder " + socket.parent_path().string() + ": " + error.message()});
    }
    if (is_stale(address)) {
        ::unlink(name.c_str());
    }
    std::unique_ptr<RpcServer> server{new RpcServer(socket, std::move(handler))};
    server->listen_fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    server->epoll_fd_ = ::epoll_create1(EPOLL_CLOEXEC);
    // The mode counts from the moment the name exists: nobody slips in between bind and chmod.
    const mode_t old_mask = ::umask(0177);
    const int bound = ::bind(server->listen_fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    const int bind_error = errno;
    ::umask(old_mask);
    if (bound != 0) {
        server->path_.clear();  // not ours to remove
        return failed("control socket " + name, bind_error);
    }
    if (::listen(server->listen_fd_, 16) != 0) {
        return failed("control socket " + name, errno);
    }
    server->watch(server->listen_fd_, EPOLLIN, EPOLL_CTL_ADD);
    return server;
}

RpcServer::~RpcServer() {
    for (const auto& [fd, client] : clients_) {
        ::close(fd);
    }
    if (!path_.empty()) {
        ::unlink(path_.c_str());
    }
    if (listen_fd_ >= 0) {
        ::close(listen_fd_);
    }
    if (epoll_fd_ >= 0) {
        ::close(epoll_fd_);
    }
}

void RpcServer::watch(int fd, std::uint32_t events, int operation) const {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    ::epoll_ctl(epoll_fd_, operation, fd, &event);
}

void RpcServer::on_readable() {
    std::array<epoll_event, 16> events;
    const int n = ::epoll_wait(epoll_fd_, events.data(), static_cast<int>(events.size()), 0);
    for (int i = 0; i < n; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        if (event.data.fd == listen_fd_) {
            accept_all();
        } else {
            serve(event.data.fd, event.events);
        }
    }
}

void RpcServer::accept_all() {
    for (;;) {
        const int fd = ::accept4(listen_fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            return;
        }
        if (clients_.size() >= kMaxClients) {
            ::close(fd);
            continue;
        }
        clients_.emplace(fd, Client{});
        watch(fd, EPOLLIN, EPOLL_CTL_ADD);
    }
}

void RpcServer::serve(int fd, std::uint32_t events) {
    Client& client = clients_.at(fd);
    bool alive = (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0 || read_all(fd, client);
    if (alive) {
        answer_next(client);
        alive = write_all(fd, client);
    }
    const bool more = client.in.find('\n') != std::string::npos;
    const bool may_read = !client.ended && client.in.size() <= kMaxRequestBytes;
    const bool has_work = more || !client.out.empty();
    if (!alive || (!has_work && !may_read)) {
        close_client(fd);
        return;
    }
    watch(fd, (may_read ? EPOLLIN : 0u) | (has_work ? EPOLLOUT : 0u), EPOLL_CTL_MOD);
}

bool RpcServer::read_all(int fd, Client& client) {
    std::array<char, 4096> buffer;
    while (client.in.size() <= kMaxRequestBytes) {
        const ssize_t n = ::read(fd, buffer.data(), buffer.size());
        if (n > 0) {
            client.in.append(buffer.data(), static_cast<std::size_t>(n));
        } else if (n == 0) {
            client.ended = true;
            return true;
        } else if (errno != EINTR) {
            return errno == EAGAIN;
        }
    }
    return true;
}

void RpcServer::answer_next(Client& client) {
    const std::size_t end = client.in.find('\n');
    if (end == std::string::npos || !client.out.empty()) {
        return;
    }
    const auto request =
        nlohmann::json::parse(client.in.begin(), client.in.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
    const nlohmann::json reply =
        request.is_object() ? handler_(request) : rpc_error("found no JSON object on the line, expected one");
    client.out = reply.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
    client.in.erase(0, end + 1);
}

bool RpcServer::write_all(int fd, Client& client) {
    std::size_t done = 0;
    while (done < client.out.size()) {
        const ssize_t n = ::send(fd, client.out.data() + done, client.out.size() - done, MSG_NOSIGNAL);
        if (n > 0) {
            done += static_cast<std::size_t>(n);
        } else if (errno == EAGAIN) {
            break;
        } else if (errno != EINTR) {
            return false;
        }
    }
    client.out.erase(0, done);
    return true;
}

void RpcServer::close_client(int fd) {
    clients_.erase(fd);
    ::close(fd);
}

}  // namespace twinspan
