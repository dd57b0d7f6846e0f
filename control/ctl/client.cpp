#include "control/ctl/client.hpp"

#include "dataplane/base/descriptor.hpp"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <system_error>
#include <vector>

namespace twinspan::ctl {

namespace {

using nlohmann::json;

constexpr std::size_t kLargestReplyBytes = std::size_t{256} << 20;

std::unexpected<Error> failed(const std::filesystem::path& socket, const std::string& reason) {
    return std::unexpected(Error{socket.string() + ": " + reason});
}

Result<void> connect_to(int fd, const std::filesystem::path& path, std::chrono::seconds timeout) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.native().size() >= sizeof address.sun_path) {
        return failed(path, "the path is longer than a socket's may be");
    }
    std::ranges::copy(path.native(), address.sun_path);
    const timeval limit{.tv_sec = timeout.count(), .tv_usec = 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (fd < 0 || connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        const bool nobody = errno == ENOENT || errno == ECONNREFUSED;
        return failed(path, nobody ? "no twinspand answers here (" + std::string{std::strerror(errno)} + ")"
                                   : std::strerror(errno));
    }
    return {};
}

Result<void> send_line(int fd, const std::filesystem::path& path, std::string line) {
    line += '\n';
    for (std::string_view left = line; !left.empty();) {
        const ssize_t sent = send(fd, left.data(), left.size(), MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            return failed(path, std::string{"cannot send the request: "} + std::strerror(errno));
        }
        left.remove_prefix(sent > 0 ? static_cast<std::size_t>(sent) : 0);
    }
    return {};
}

Result<std::string> receive_line(int fd, const std::filesystem::path& path) {
    std::string line;
    std::array<char, 65536> buffer;
    while (line.size() < kLargestReplyBytes) {
        const ssize_t got = recv(fd, buffer.data(), buffer.size(), 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return failed(path, errno == EAGAIN ? "twinspand did not answer in time" : std::strerror(errno));
        }
        if (got == 0) {
            return failed(path, "twinspand closed the connection before its reply was complete");
        }
        const std::string_view part{buffer.data(), static_cast<std::size_t>(got)};
        const std::size_t end = part.find('\n');
        line += part.substr(0, end);
        if (end != std::string_view::npos) {
            return line;
        }
    }
    return failed(path, "the reply is too long");
}

}  // namespace

Result<std::filesystem::path> find_socket(const std::filesystem::path& folder, const std::optional<std::string>& name) {
    std::vector<std::string> names;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator{folder, error}) {
        if (entry.path().extension() == ".sock") {
            names.push_back(entry.path().stem().string());
        }
    }
    std::ranges::sort(names);
    std::string listed;
    for (const std::string& n : names) {
        listed += (listed.empty() ? "" : ", ") + n;
    }
    const std::string there =
        names.empty() ? "none runs (no socket in " + folder.string() + ")" : "these run: " + listed;
    if (name && std::ranges::find(names, *name) == names.end()) {
        return std::unexpected(Error{"no twinspand is called '" + *name + "'; " + there});
    }
    if (!name && names.size() != 1) {
        return std::unexpected(Error{names.empty() ? "no twinspand: " + there
                                                   : "several twinspands run, choose one with --name: " + listed});
    }
    return folder / (name.value_or(names.empty() ? "" : names.front()) + ".sock");
}

Result<json> call(const std::filesystem::path& socket_path, const json& request, std::chrono::seconds timeout) {
    const Descriptor connection{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (const auto connected = connect_to(connection.get(), socket_path, timeout); !connected) {
        return std::unexpected(connected.error());
    }
    if (const auto sent = send_line(connection.get(), socket_path, request.dump()); !sent) {
        return std::unexpected(sent.error());
    }
    const auto line = receive_line(connection.get(), socket_path);
    if (!line) {
        return std::unexpected(line.error());
    }
    json reply = json::parse(*line, nullptr, false);
    if (!reply.is_object() || !reply.contains("ok") || !reply["ok"].is_boolean()) {
        return failed(socket_path, "found a reply that is no JSON object with 'ok'");
    }
    if (!reply["ok"].get<bool>()) {
        const auto said = reply.find("error");
        return std::unexpected(
            Error{said != reply.end() && said->is_string() ? said->get<std::string>() : "refused without a reason"});
    }
    return reply.contains("data") ? std::move(reply["data"]) : json{};
}

}  // namespace twinspan::ctl
