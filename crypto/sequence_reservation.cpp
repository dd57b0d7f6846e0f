#include "crypto/sequence_reservation.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

namespace twinspan {
namespace {

class Fd {
public:
    explicit Fd(int fd) noexcept : fd_(fd) {}
    ~Fd() {
        if (fd_ >= 0) {
            ::close(fd_);
        }
    }
    Fd(const Fd&) = delete;
    Fd& operator=(const Fd&) = delete;
    int get() const noexcept { return fd_; }
    int release() noexcept { return std::exchange(fd_, -1); }
    explicit operator bool() const noexcept { return fd_ >= 0; }

private:
    int fd_;
};

std::unexpected<std::string> failed(std::string_view what, const std::filesystem::path& path) {
    return std::unexpected(std::string(what) + " " + path.string() + ": " + std::strerror(errno));
}

std::string hex64(std::uint64_t value) {
    char buffer[17];
    std::snprintf(buffer, sizeof buffer, "%016llx", static_cast<unsigned long long>(value));
    return buffer;
}

// FNV-1a: any change of one byte changes it. It guards against accidents; who can write here can do worse.
std::uint64_t checksum(std::string_view text) noexcept {
    std::uint64_t hash = 0xcbf29ce484222325;
    for (const char c : text) {
        hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3;
    }
    return hash;
}

// The decimal number behind `label`, if there is one.
std::optional<std::uint64_t> field(std::string_view text, std::string_view label) noexcept {
    const std::size_t at = text.find(label);
    if (at == std::string_view::npos) {
        return std::nullopt;
    }
    const char* begin = text.data() + at + label.size();
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(begin, text.data() + text.size(), value);
    return error == std::errc{} && end != begin ? std::optional{value} : std::nullopt;
}

bool write_all(int fd, std::string_view text) noexcept {
    while (!text.empty()) {
        const ssize_t n = ::write(fd, text.data(), text.size());
        if (n < 0 && errno != EINTR) {
            return false;
        }
        text.remove_prefix(n < 0 ? 0 : static_cast<std::size_t>(n));
    }
    return true;
}

}  // namespace

KeyFingerprint fingerprint(const Engine& engine, const SaConfig& config) {
    constexpr std::string_view kDomain = "twinspan nonce space 1:";
    SecretBytes text{kDomain.size() + config.keymat.size()};
    std::memcpy(text.data(), kDomain.data(), kDomain.size());
    std::memcpy(text.data() + kDomain.size(), config.keymat.data(), config.keymat.size());
    const auto digest = engine.sha256(text.span());
    KeyFingerprint result;
    std::copy_n(digest.begin(), result.size(), result.begin());
    return result;
}

std::string to_hex(const KeyFingerprint& fingerprint) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    for (const std::uint8_t byte : fingerprint) {
        text += kDigits[byte >> 4];
        text += kDigits[byte & 15];
    }
    return text;
}

std::expected<SequenceReservation, std::string> SequenceReservation::open(const std::filesystem::path& directory,
                                                                          std::uint32_t spi, const KeyFingerprint& key,
                                                                          std::uint64_t chunk) {
    std::string key_hex = to_hex(key);
    const std::filesystem::path lock_file = directory / (key_hex + ".lock");
    Fd lock{::open(lock_file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
    if (!lock) {
        return failed("cannot open", lock_file);
    }
    // Beside the file itself, which every write replaces.
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
        return failed("another process or SA uses this key and salt:", lock_file);
    }
    SequenceReservation reservation{directory / (key_hex + ".seq"), lock.release(), spi, std::move(key_hex), chunk};
    const auto stored = reservation.read();
    if (!stored) {
        return std::unexpected(stored.error());
    }
    reservation.first_ = reservation.reserved_until_ = *stored;
    reservation.pace_ = SequencePace{*stored, chunk};
    return reservation;
}

SequenceReservation::~SequenceReservation() {
    if (lock_fd_ >= 0) {
        ::close(lock_fd_);
    }
}

SequenceReservation::SequenceReservation(SequenceReservation&& other) noexcept
    : file_(std::move(other.file_)),
      key_hex_(std::move(other.key_hex_)),
      first_(other.first_),
      reserved_until_(other.reserved_until_),
      pace_(other.pace_),
      lock_fd_(std::exchange(other.lock_fd_, -1)),
      spi_(other.spi_) {}

std::string SequenceReservation::text(std::uint32_t spi, std::uint64_t reserved_until) const {
    std::string body = "twinspan sequence reservation 1\nspi " + std::to_string(spi) + "\nkey " + key_hex_ +
                       "\nreserved_until " + std::to_string(reserved_until) + "\n";
    return body + "checksum " + hex64(checksum(body)) + "\n";
}

// What the file covers, or 1 without a file. A file that is not to the byte what write() would have made is refused:
// to guess a number would be to risk using it twice.
std::expected<std::uint64_t, std::string> SequenceReservation::read() const {
    const Fd fd{::open(file_.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
    if (!fd) {
        return errno == ENOENT ? std::expected<std::uint64_t, std::string>{1} : failed("cannot open", file_);
    }
    std::array<char, 512> buffer;
    const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n < 0) {
        return failed("cannot read", file_);
    }
    const std::string_view content{buffer.data(), static_cast<std::size_t>(n)};
    const auto spi = field(content, "\nspi ");
    const auto reserved_until = field(content, "\nreserved_until ");
    if (!spi || !reserved_until || *reserved_until == 0 ||
        content != text(static_cast<std::uint32_t>(*spi), *reserved_until)) {
        return std::unexpected(file_.string() + " is damaged: change the key of this SA, or put back the right file");
    }
    return *reserved_until;
}

std::expected<void, std::string> SequenceReservation::write(std::uint64_t reserved_until) const {
    std::filesystem::path fresh = file_;
    fresh += ".new";
    {
        const Fd fd{::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600)};
        if (!fd || !write_all(fd.get(), text(spi_, reserved_until)) || ::fsync(fd.get()) != 0) {
            return failed("cannot write", fresh);
        }
    }
    if (::rename(fresh.c_str(), file_.c_str()) != 0) {
        return failed("cannot replace", file_);
    }
    const Fd directory{::open(file_.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!directory || ::fsync(directory.get()) != 0) {
        return failed("cannot sync", file_.parent_path());
    }
    return {};
}

std::optional<std::uint64_t> SequencePace::due(const OutboundSa& sa, std::uint64_t reserved_until) noexcept {
    const std::uint64_t end = sa.end_of_sequence();
    const std::uint64_t next = std::min(sa.next_seq(), end);
    const std::uint64_t used = next - std::exchange(next_at_last_call_, next);
    const std::uint64_t wanted = std::max(chunk_, used < kMostAhead / calls_ahead_ ? calls_ahead_ * used : kMostAhead);
    const std::uint64_t left = reserved_until > next ? reserved_until - next : 0;
    if (reserved_until >= end || left >= wanted / 2) {
        return std::nullopt;
    }
    return end - next < wanted ? end : next + wanted;
}

std::expected<void, std::string> SequenceReservation::top_up(OutboundSa& sa) {
    const std::optional<std::uint64_t> until = pace_.due(sa, reserved_until_);
    if (!until) {
        sa.raise_limit(reserved_until_);  // of one that begins at the end: why it sends nothing
        return {};
    }
    if (auto written = write(*until); !written) {
        return written;
    }
    reserved_until_ = *until;
    sa.raise_limit(*until);
    return {};
}

std::expected<void, std::string> SequenceReservation::give_back(OutboundSa& sa) {
    sa.stop();
    const std::uint64_t next = std::min(sa.next_seq(), sa.end_of_sequence());
    if (next >= reserved_until_) {
        return {};
    }
    reserved_until_ = next;
    return write(next);
}

}  // namespace twinspan
