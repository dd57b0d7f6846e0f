#include "control/rpc/server.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

namespace twinspan {
namespace {

using nlohmann::json;

class RpcServerTest : public testing::Test {
protected:
    RpcServerTest() {
        std::string pattern = (std::filesystem::temp_directory_path() / "twinspan-rpc-XXXXXX").string();
        folder_ = ::mkdtemp(pattern.data());
        socket_ = folder_ / "run" / "nva.sock";
        server_ = listen().value();
    }
    ~RpcServerTest() override {
        server_.reset();
        std::filesystem::remove_all(folder_);
    }
    Result<std::unique_ptr<RpcServer>> listen() {
        return RpcServer::listen(socket_, [this](const json& request) {
            ++answered_;
            return rpc_data(request.contains("length") ? json(std::string(request["length"].get<std::size_t>(), 'x'))
                                                       : request.value("echo", json{}));
        });
    }
    int connect() {
        const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strcpy(address.sun_path, socket_.c_str());
        EXPECT_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
        return fd;
    }
    void run() {
        for (int i = 0; i < 4; ++i) {
            server_->on_readable();
        }
    }
    // What the server sends until it has no more for now; "<end>" when it closed the connection.
    std::string receive(int fd) {
        std::string all;
        std::array<char, 65536> buffer;
        for (;;) {
            run();
            const ssize_t n = ::read(fd, buffer.data(), buffer.size());
            if (n <= 0) {
                return n == 0 ? all + "<end>" : all;
            }
            all.append(buffer.data(), static_cast<std::size_t>(n));
        }
    }
    static void send(int fd, const std::string& text) {
        EXPECT_EQ(::write(fd, text.data(), text.size()), std::ssize(text));
    }

    std::filesystem::path folder_, socket_;
    std::unique_ptr<RpcServer> server_;
    unsigned answered_ = 0;
};

TEST_F(RpcServerTest, answers_lines_in_order_however_they_are_cut) {
    const int fd = connect();
    send(fd, "{\"echo\":1}\n{\"ec");
    EXPECT_EQ(receive(fd), "{\"data\":1,\"ok\":true}\n");
    send(fd, "ho\":2}\n");
    EXPECT_EQ(receive(fd), "{\"data\":2,\"ok\":true}\n");
    ::close(fd);
}

TEST_F(RpcServerTest, says_what_is_wrong_with_a_line_and_goes_on) {
    const int fd = connect();
    send(fd, "hello\n[1]\n{\"echo\":3}\n");
    const std::string error = "{\"error\":\"found no JSON object on the line, expected one\",\"ok\":false}\n";
    EXPECT_EQ(receive(fd), error + error + "{\"data\":3,\"ok\":true}\n");
    ::close(fd);
}

TEST_F(RpcServerTest, answers_a_client_that_has_closed_its_side) {
    const int fd = connect();
    send(fd, "{\"echo\":4}\n");
    ::shutdown(fd, SHUT_WR);
    EXPECT_EQ(receive(fd), "{\"data\":4,\"ok\":true}\n<end>");
    ::close(fd);
}

TEST_F(RpcServerTest, sends_replies_larger_than_the_socket_takes_and_none_ahead_of_its_client) {
    constexpr unsigned kRequests = 40;
    constexpr std::size_t kLength = 1'000'000, kReply = kLength + 22;
    const int fd = connect();
    for (unsigned i = 0; i < kRequests; ++i) {
        send(fd, "{\"length\":1000000}\n");
        run();
    }
    EXPECT_EQ(answered_, 1u);
    const int other = connect();
    send(other, "{\"echo\":6}\n");
    EXPECT_EQ(receive(other), "{\"data\":6,\"ok\":true}\n");
    ::close(other);
    std::size_t total = 0;
    for (int i = 0; i < 10000 && total < kRequests * kReply; ++i) {
        total += receive(fd).size();
    }
    EXPECT_EQ(total, kRequests * kReply);
    EXPECT_EQ(answered_, kRequests + 1);
    ::close(fd);
}

TEST_F(RpcServerTest, drops_a_client_whose_line_never_ends) {
    const int fd = connect();
    std::string answer;
    for (int i = 0; i < 20 && answer.empty(); ++i) {
        const std::string chunk(8192, 'x');
        [[maybe_unused]] const ssize_t n = ::send(fd, chunk.data(), chunk.size(), MSG_NOSIGNAL);
        answer = receive(fd);
    }
    EXPECT_NE(answer, "") << "the connection should have ended";
    ::close(fd);
    const int other = connect();
    send(other, "{\"echo\":5}\n");
    EXPECT_EQ(receive(other), "{\"data\":5,\"ok\":true}\n");
    ::close(other);
}

TEST_F(RpcServerTest, the_socket_is_ours_alone_and_leaves_with_us) {
    struct stat info{};
    ASSERT_EQ(::stat(socket_.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777u, 0600u);
    ASSERT_EQ(::stat(socket_.parent_path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777u, 0755u);
    const auto second = listen();
    ASSERT_FALSE(second);
    EXPECT_TRUE(std::filesystem::exists(socket_)) << "a refused second server must not remove it";
    server_.reset();
    EXPECT_FALSE(std::filesystem::exists(socket_));
}

TEST_F(RpcServerTest, takes_the_place_of_a_socket_that_a_dead_daemon_left) {
    server_.reset();
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, socket_.c_str());
    ASSERT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    ::close(fd);
    const auto again = listen();
    EXPECT_TRUE(again) << again.error().what;
}

}  // namespace
}  // namespace twinspan
