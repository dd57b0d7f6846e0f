#include "control/config/secret_text.hpp"
#include "control/render/render.hpp"
#include "dataplane/base/descriptor.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <system_error>

namespace twinspan::render {

namespace {

std::unexpected<Error> failed(const std::string& what, const std::filesystem::path& path, const std::string& why) {
    return std::unexpected(Error{what + ' ' + path.string() + ": " + why});
}

bool write_all(int fd, const std::string& text) {
    std::size_t done = 0;
    while (done < text.size()) {
        const ssize_t n = ::write(fd, text.data() + done, text.size() - done);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        done += n > 0 ? static_cast<std::size_t>(n) : 0;
    }
    return true;
}

// A reader sees the old file or the new one, and a secret is never in a file that others may read.
Result<void> write_file(const std::filesystem::path& path, const File& file) {
    const std::filesystem::path beside = path.string() + ".new";
    ::unlink(beside.c_str());
    const mode_t mode = file.secret ? 0600 : 0644;
    const Descriptor out{::open(beside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode)};
    if (out.get() < 0 || ::fchmod(out.get(), mode) != 0 || !write_all(out.get(), file.text)) {
        return failed("writing", beside, std::strerror(errno));
    }
    if (::rename(beside.c_str(), path.c_str()) != 0) {
        return failed("writing", path, std::strerror(errno));
    }
    return {};
}

}  // namespace

Result<void> write(const std::filesystem::path& folder, const Files& files) {
    for (const File& file : files) {
        const std::filesystem::path path = folder / file.path;
        std::error_code error;
        std::filesystem::create_directories(path.parent_path(), error);
        if (error) {
            return failed("creating folder", path.parent_path(), error.message());
        }
        if (const auto done = write_file(path, file); !done) {
            return done;
        }
    }
    return {};
}

Result<std::string> secret_text(const std::filesystem::path& path) {
    const auto content = read_secret_file(path, "a file with a secret");
    if (!content) {
        return failed("reading", path, content.error());
    }
    return std::string{reinterpret_cast<const char*>(content->data()), content->size()};
}

Result<std::string> plain_text(const std::filesystem::path& path) {
    std::ifstream in{path, std::ios::binary};
    std::string text{std::istreambuf_iterator<char>{in}, {}};
    if (!in || text.empty()) {
        return failed("reading", path, "found nothing to read, expected a certificate");
    }
    return text;
}

Result<std::string> secret_line(const std::filesystem::path& path, std::size_t longest) {
    auto text = secret_text(path);
    if (!text) {
        return text;
    }
    std::string line = text->substr(0, text->find('\n'));
    const bool more = text->find_first_not_of("\r\n", line.size()) != std::string::npos;
    if (line.ends_with('\r')) {
        line.pop_back();
    }
    const auto is_printable = [](char c) { return std::isprint(static_cast<unsigned char>(c)) != 0; };
    if (line.empty() || more || !std::ranges::all_of(line, is_printable) || line.front() == ' ' || line.back() == ' ') {
        return failed("reading", path, "expected one line of printable text without spaces at its ends");
    }
    if (line.size() > longest) {
        return failed("reading", path,
                      "found a line of " + std::to_string(line.size()) + " characters, expected at most " +
                          std::to_string(longest));
    }
    return line;
}

}  // namespace twinspan::render
