#include "control/sa/usage_file.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>

namespace twinspan {

std::expected<KeyUsage, std::string> read_usage(const std::filesystem::path& file, std::uint64_t now_s) {
    std::error_code error;
    if (!std::filesystem::exists(file, error) && !error) {
        return KeyUsage{.since_s = now_s, .used = {}};
    }
    KeyUsage usage;
    std::ifstream in{file};
    if (!(in >> usage.since_s >> usage.used.packets >> usage.used.bytes >> usage.highest)) {
        return std::unexpected(file.string() + ": found something else, expected four numbers of a key's use");
    }
    return usage;
}

std::expected<void, std::string> write_usage(const std::filesystem::path& file, const KeyUsage& usage) {
    std::filesystem::path next = file;
    next += ".next";
    std::ofstream out{next, std::ios::trunc};
    out << usage.since_s << ' ' << usage.used.packets << ' ' << usage.used.bytes << ' ' << usage.highest << '\n';
    out.close();
    std::error_code error;
    if (out) {
        std::filesystem::rename(next, file, error);
    }
    return out && !error ? std::expected<void, std::string>{}
                         : std::unexpected("cannot write " + file.string() + ": " +
                                           (error ? error.message() : std::strerror(errno)));
}

}  // namespace twinspan
