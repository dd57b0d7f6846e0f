// From a configuration file to a Config, or to a list of everything that is wrong with it.
#pragma once

#include "control/config/config.hpp"

#include <cstddef>
#include <expected>
#include <filesystem>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

namespace twinspan {

struct ConfigError {
    std::string file;
    std::size_t line = 0;  // from 1; 0: the file as a whole
    std::size_t column = 0;
    std::string message;  // what was found, what was expected
};
std::string to_string(const ConfigError& error);  // file:line:column: message

inline constexpr std::size_t kMaxConfigErrors = 20;

// Reads files and changes nothing. Ordered by line; at most kMaxConfigErrors.
// The files that it names must exist; what SA files hold is load_sa_file()'s business.
std::expected<Config, std::vector<ConfigError>> load_config(const std::filesystem::path& path);
// The same with the text that it was read from, to tell later what has changed, and where.
struct ConfigFile {
    std::string name;  // the path
    std::string text;
    Config config;
};
std::expected<ConfigFile, std::vector<ConfigError>> load_config_file(const std::filesystem::path& path);
// The same over text in memory; `file` is the name for errors and the base of relative paths. Touches no file.
std::expected<Config, std::vector<ConfigError>> parse_config(std::string_view text, const std::string& file);

// twinspand --check: also opens the SA files. Prints the errors, or one line that says what the file holds.
// Returns the exit status: 0, or 1.
int check_command(const std::filesystem::path& path, std::ostream& out);

}  // namespace twinspan
