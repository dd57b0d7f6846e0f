// The control socket: a UNIX stream socket, one JSON object per line in both directions (docs/control-socket.md).
// Never blocks, and answers one request of a client at a time: the next one waits for the reply to be taken, so that a
// client that asks a lot or does not read costs one reply's memory and no other's time. Control thread only.
#pragma once

#include "dataplane/base/error.hpp"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>

namespace twinspan {

class RpcServer {
public:
    // Gets a request object, returns the reply object.
    using Handler = std::function<nlohmann::json(const nlohmann::json& request)>;

    static constexpr std::size_t kMaxRequestBytes = 64 * 1024;
    static constexpr std::size_t kMaxClients = 32;

    // Makes the folder (0755) if need be, takes the place of a socket that nobody listens on, and listens with mode
    // 0600.
    static Result<std::unique_ptr<RpcServer>> listen(const std::filesystem::path& socket, Handler handler);
    ~RpcServer();  // removes the socket
    RpcServer(const RpcServer&) = delete;
    RpcServer& operator=(const RpcServer&) = delete;

    // Readable while there is work: for another epoll. Call on_readable then.
    int fd() const noexcept { return epoll_fd_; }
    void on_readable();

private:
    struct Client {
        std::string in;  // requests that wait
        std::string out;  // the rest of one reply
        bool ended = false;  // sent all it wanted to send; is closed when it has its replies
    };
    RpcServer(std::filesystem::path path, Handler handler) : path_(std::move(path)), handler_(std::move(handler)) {}
    void accept_all();
    void serve(int fd, std::uint32_t events);
    bool read_all(int fd, Client& client);
    void answer_next(Client& client);
    bool write_all(int fd, Client& client);
    void close_client(int fd);
    void watch(int fd, std::uint32_t events, int operation) const;

    std::filesystem::path path_;
    Handler handler_;
    int epoll_fd_ = -1;
    int listen_fd_ = -1;
    std::map<int, Client> clients_;
};

nlohmann::json rpc_error(const std::string& what);
nlohmann::json rpc_data(nlohmann::json data);

}  // namespace twinspan
