#include "control/config/secret_text.hpp"

#include "control/config/scalar.hpp"
#include "dataplane/base/descriptor.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <utility>

namespace twinspan {

namespace {

constexpr std::size_t kShortestSecret = 16;
constexpr off_t kLargestFileBytes = 64 * 1024;

std::string what_is_wrong(const struct stat& info) {
    if (!S_ISREG(info.st_mode)) {
        return "found something other than a file, expected a regular file";
    }
    if (info.st_uid != 0 && info.st_uid != geteuid()) {
        return "found a file of user " + std::to_string(info.st_uid) +
               ", expected one of root: keys are read by root only (chown root)";
    }
    if ((info.st_mode & 077) != 0) {
        return "found a file that group or others may access, expected keys that only their owner may read (chmod "
               "0600)";
    }
    if (info.st_size > kLargestFileBytes) {
        return "found " + std::to_string(info.st_size) + " bytes, expected at most " +
               std::to_string(kLargestFileBytes);
    }
    return {};
}

// Reads up to the buffer's size; the number of bytes read, or -1.
ssize_t read_all(int fd, SecretBytes& buffer) {
    std::size_t have = 0;
    while (have < buffer.size()) {
        const ssize_t n = ::read(fd, buffer.data() + have, buffer.size() - have);
        if (n < 0 && errno != EINTR) {
            return -1;
        }
        if (n == 0) {
            break;
        }
        have += n > 0 ? static_cast<std::size_t>(n) : 0;
    }
    return static_cast<ssize_t>(have);
}

bool is_word(std::uint8_t c) { return std::isalnum(c) != 0; }

std::string placeholder(std::size_t index, std::size_t length) {
    std::string out = 'K' + std::to_string(index);
    out.resize(length, 'K');
    return out;
}

}  // namespace

std::expected<SecretBytes, std::string> read_secret_file(const std::filesystem::path& path, const std::string& kind) {
    // O_NONBLOCK: a FIFO in the file's place must not stop the daemon.
    const Descriptor file{open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)};
    if (file.get() < 0) {
        return std::unexpected(errno == ELOOP ? std::string{"found a symbolic link, expected the file itself"}
                                              : std::string{"found no readable file ("} + std::strerror(errno) +
                                                    "), expected " + kind);
    }
    struct stat info{};
    if (fstat(file.get(), &info) != 0) {
        return std::unexpected(std::string{"cannot examine the file ("} + std::strerror(errno) + "), expected " + kind);
    }
    if (std::string wrong = what_is_wrong(info); !wrong.empty()) {
        return std::unexpected(std::move(wrong));
    }
    SecretBytes buffer{static_cast<std::size_t>(info.st_size)};
    const ssize_t length = read_all(file.get(), buffer);
    if (length != info.st_size) {
        return std::unexpected(
            length < 0 ? std::string{"cannot read the file ("} + std::strerror(errno) + "), expected " + kind
                       : std::string{"the file changed while it was read, expected it to stay as it is"});
    }
    return buffer;
}

std::expected<SecretText, std::string> SecretText::read(const std::filesystem::path& path) {
    const auto content = read_secret_file(path, "an SA file");
    if (!content) {
        return std::unexpected(content.error());
    }
    return SecretText{*content};
}

SecretText::SecretText(const SecretBytes& content) {
    const auto all = content.span();
    for (std::size_t at = 0; at < all.size();) {
        const auto from = all.begin() + static_cast<std::ptrdiff_t>(at);
        const auto end = is_word(*from) ? std::find_if_not(from, all.end(), is_word) : from + 1;
        const std::span word{from, end};
        if (word.size() < kShortestSecret) {
            text_.append(word.begin(), word.end());
        } else {
            text_ += placeholder(lifted_.size(), word.size());
            lifted_.push_back(SecretBytes::copy_of(word));
        }
        at += word.size();
    }
}

std::optional<SecretBytes> SecretText::bytes_of(std::string_view placeholder) const {
    if (placeholder.size() < kShortestSecret || !placeholder.starts_with('K')) {
        return std::nullopt;
    }
    const std::string_view digits = placeholder.substr(1, placeholder.find('K', 1) - 1);
    const auto index = parse_unsigned(digits, 0, lifted_.size());
    if (!index || *index >= lifted_.size()) {
        return std::nullopt;
    }
    const SecretBytes& word = lifted_[*index];
    auto bytes = SecretBytes::from_hex({reinterpret_cast<const char*>(word.data()), word.size()});
    return bytes ? std::optional{std::move(*bytes)} : std::nullopt;
}

}  // namespace twinspan
