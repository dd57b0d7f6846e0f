// twinspanctl against a small server on a UNIX socket.
#include "control/ctl/cli.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <sstream>
#include <thread>
#include <vector>

namespace twinspan::ctl {
namespace {

// Answers one connection for each reply: reads a line, writes the reply in pieces of a few bytes, closes.
class OneReply {
public:
    OneReply(const std::filesystem::path& path, std::string reply) : OneReply(path, std::vector{std::move(reply)}) {}
    OneReply(const std::filesystem::path& path, std::vector<std::string> replies)
        : replies_(std::move(replies)), fd_(socket(AF_UNIX, SOCK_STREAM, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::ranges::copy(path.native(), address.sun_path);
        EXPECT_EQ(bind(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
        EXPECT_EQ(listen(fd_, 1), 0);
        thread_ = std::thread{[this] {
            for (const std::string& reply : replies_) {
                serve(reply);
            }
        }};
    }
    ~OneReply() { request(); }
    std::string request() {
        if (thread_.joinable()) {
            shutdown(fd_, SHUT_RDWR);  // ends an accept that nobody came for
            thread_.join();
            close(fd_);
        }
        return request_;
    }

private:
    void serve(const std::string& reply) {
        const int client = accept(fd_, nullptr, nullptr);
        if (client < 0) {
            return;
        }
        request_.clear();
        for (char c = 0; recv(client, &c, 1, 0) == 1 && c != '\n';) {
            request_ += c;
        }
        for (std::size_t at = 0; at < reply.size(); at += 5) {
            const std::string part = reply.substr(at, 5);
            send(client, part.data(), part.size(), MSG_NOSIGNAL);
        }
        close(client);
    }

    std::vector<std::string> replies_;
    std::string request_;
    int fd_;
    std::thread thread_;
};

class CliTest : public testing::Test {
protected:
    void SetUp() override {
        std::string pattern = testing::TempDir() + "ctl-XXXXXX";
        ASSERT_NE(mkdtemp(pattern.data()), nullptr);
        folder_ = pattern;
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    int ctl(const std::vector<std::string>& arguments) {
        out_.str("");
        err_.str("");
        return run(arguments, {out_, err_, folder_});
    }

    std::filesystem::path folder_;
    std::ostringstream out_, err_;
};

TEST_F(CliTest, ShowsATable) {
    OneReply server{folder_ / "nva.sock",
                    R"({"ok":true,"data":[{"reason":"no_route","count":12345,"help":"No route"}]})"
                    "\n"};
    EXPECT_EQ(ctl({"show", "drops"}), kDone) << err_.str();
    EXPECT_EQ(out_.str(), "reason     count  meaning\nno_route  12,345  No route\n");
    EXPECT_EQ(nlohmann::json::parse(server.request()), nlohmann::json::parse(R"({"command":"show","what":"drops"})"));
}

TEST_F(CliTest, PrintsTheReplysDataAsJson) {
    OneReply server{folder_ / "nva.sock", R"({"ok":true,"data":[{"reason":"no_route","count":12345}]})"
                                          "\n"};
    EXPECT_EQ(ctl({"--name", "nva", "show", "drops", "--json"}), kDone) << err_.str();
    EXPECT_EQ(nlohmann::json::parse(out_.str()), nlohmann::json::parse(R"([{"reason":"no_route","count":12345}])"));
}

TEST_F(CliTest, AsksAgainUntilTheWalkOverTheTableIsComplete) {
    const auto reply = [](const char* complete) {
        return std::string{R"({"ok":true,"data":{"survey":{"complete":)"} + complete + R"(}}})" + '\n';
    };
    OneReply daemon{folder_ / "nva.sock", std::vector{reply("false"), reply("false"), reply("true")}};
    EXPECT_EQ(ctl({"show", "nat", "--json"}), kDone);
    EXPECT_EQ(out_.str(), "{\"survey\":{\"complete\":true}}\n");
}

TEST_F(CliTest, DrainsALink) {
    OneReply server{folder_ / "nva.sock", R"({"ok":true,"data":{"link":"primary","state":"drained"}})"
                                          "\n"};
    EXPECT_EQ(ctl({"drain", "primary", "--name", "nva"}), kDone) << err_.str();
    EXPECT_EQ(out_.str(), "primary link: drained\n");
    EXPECT_EQ(nlohmann::json::parse(server.request()),
              nlohmann::json::parse(R"({"command":"drain","link":"primary"})"));
}

TEST_F(CliTest, UndrainsALink) {
    OneReply server{folder_ / "nva.sock", R"({"ok":true,"data":{"link":"secondary","state":"up"}})"
                                          "\n"};
    EXPECT_EQ(ctl({"undrain", "secondary"}), kDone);
    EXPECT_EQ(nlohmann::json::parse(server.request()),
              nlohmann::json::parse(R"({"command":"undrain","link":"secondary"})"));
}

TEST_F(CliTest, TellsWhatAReloadHasChanged) {
    {
        OneReply server{folder_ / "nva.sock",
                        R"({"ok":true,"data":{"changes":["bgp: a -> b","encrypt: c -> d"],"check":false}})"
                        "\n"};
        EXPECT_EQ(ctl({"reload"}), kDone) << err_.str();
        EXPECT_EQ(out_.str(), "changed:\n  bgp: a -> b\n  encrypt: c -> d\n");
        EXPECT_EQ(nlohmann::json::parse(server.request()),
                  nlohmann::json::parse(R"({"command":"reload","check":false})"));
    }
    std::filesystem::remove(folder_ / "nva.sock");
    {
        OneReply server{folder_ / "nva.sock", R"({"ok":true,"data":{"changes":["bgp: a -> b"],"check":true}})"
                                              "\n"};
        EXPECT_EQ(ctl({"reload", "--check"}), kDone) << err_.str();
        EXPECT_EQ(out_.str(), "would change:\n  bgp: a -> b\n");
        EXPECT_EQ(nlohmann::json::parse(server.request()),
                  nlohmann::json::parse(R"({"command":"reload","check":true})"));
    }
    std::filesystem::remove(folder_ / "nva.sock");
    OneReply server{folder_ / "nva.sock", R"({"ok":false,"error":"f:1:2: found x\nf:3:4: found y"})"
                                          "\n"};
    EXPECT_EQ(ctl({"reload"}), kFailed);
    EXPECT_EQ(out_.str(), "");
    EXPECT_EQ(err_.str(),
              "twinspanctl: not reloaded, the running configuration stays:\nf:1:2: found x\nf:3:4: found y\n");
}

TEST_F(CliTest, TellsVersions) {
    EXPECT_EQ(ctl({"version"}), kDone);
    EXPECT_EQ(out_.str(), "twinspanctl " TWINSPAN_VERSION "\ntwinspand: no twinspand: none runs (no socket in " +
                              folder_.string() + ")\n");
    OneReply server{folder_ / "nva.sock", R"({"ok":true,"data":{"name":"nva","version":"0.1.0","uptime_s":3725}})"
                                          "\n"};
    EXPECT_EQ(ctl({"version"}), kDone);
    EXPECT_EQ(out_.str(), "twinspanctl " TWINSPAN_VERSION "\ntwinspand 0.1.0, nva, up 1 h 2 min\n");
}

TEST_F(CliTest, PassesOnWhatTheDaemonRefuses) {
    OneReply server{folder_ / "nva.sock", R"({"ok":false,"error":"the secondary link is down"})"
                                          "\n"};
    EXPECT_EQ(ctl({"drain", "primary"}), kFailed);
    EXPECT_EQ(err_.str(), "twinspanctl: the secondary link is down\n");
    EXPECT_EQ(out_.str(), "");
}

TEST_F(CliTest, SaysWhenAReplyIsCutShortOrNoJson) {
    const std::string path = (folder_ / "nva.sock").string();
    {
        OneReply server{path, R"({"ok":tr)"};
        EXPECT_EQ(ctl({"show", "ports"}), kFailed);
        EXPECT_EQ(err_.str(),
                  "twinspanctl: " + path + ": twinspand closed the connection before its reply was complete\n");
    }
    std::filesystem::remove(path);
    OneReply server{path, "hello\n"};
    EXPECT_EQ(ctl({"show", "ports"}), kFailed);
    EXPECT_EQ(err_.str(), "twinspanctl: " + path + ": found a reply that is no JSON object with 'ok'\n");
}

TEST_F(CliTest, FindsTheDaemonOrNamesThoseThatRun) {
    EXPECT_EQ(ctl({"show", "ports"}), kFailed);
    EXPECT_EQ(err_.str(), "twinspanctl: no twinspand: none runs (no socket in " + folder_.string() + ")\n");
    OneReply first{folder_ / "nva.sock", ""};
    OneReply second{folder_ / "azgw.sock", ""};
    EXPECT_EQ(ctl({"show", "ports"}), kFailed);
    EXPECT_EQ(err_.str(), "twinspanctl: several twinspands run, choose one with --name: azgw, nva\n");
    EXPECT_EQ(ctl({"show", "ports", "--name", "../nva"}), kFailed);
    EXPECT_EQ(err_.str(), "twinspanctl: no twinspand is called '../nva'; these run: azgw, nva\n");
}

TEST_F(CliTest, SaysWhenNobodyListensAnyMore) {
    {
        OneReply gone{folder_ / "nva.sock", ""};
    }
    EXPECT_EQ(ctl({"show", "ports"}), kFailed);
    EXPECT_EQ(err_.str(),
              "twinspanctl: " + (folder_ / "nva.sock").string() + ": no twinspand answers here (Connection refused)\n");
}

TEST_F(CliTest, RefusesWrongArguments) {
    const std::vector<std::vector<std::string>> wrong = {{},
                                                         {"shwo"},
                                                         {"show"},
                                                         {"show", "port"},
                                                         {"drain"},
                                                         {"drain", "primary", "secondary"},
                                                         {"show", "ports", "legs"},
                                                         {"--colour", "version"}};
    for (const auto& arguments : wrong) {
        EXPECT_EQ(ctl(arguments), kWrongUsage);
        EXPECT_NE(err_.str(), "");
        EXPECT_EQ(out_.str(), "");
    }
    EXPECT_EQ(ctl({"drain"}), kWrongUsage);
    EXPECT_NE(err_.str().find("link"), std::string::npos) << err_.str();
    EXPECT_EQ(ctl({"--help"}), kDone);
    EXPECT_NE(out_.str().find("drain"), std::string::npos);
}

}  // namespace
}  // namespace twinspan::ctl
