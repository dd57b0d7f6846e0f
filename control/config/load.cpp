#include "control/config/load.hpp"

#include "control/config/draft.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

namespace twinspan {

namespace {

constexpr std::size_t kLargestFileBytes = std::size_t{16} << 20;

Draft draft_of(Diagnostics& diagnostics, const std::string& text) {
    Draft draft;
    // yaml-cpp throws on nodes that are used for what they are not; the readers ask first, this is the net below them.
    try {
        if (const auto root = parse_yaml(diagnostics, text)) {
            read_top_level(diagnostics, *root, draft);
            check_draft(diagnostics, draft);
        }
    } catch (const YAML::Exception& e) {
        diagnostics.add(SourcePosition{},
                        std::string{"found a construct that cannot be read ("} + e.what() + "), expected plain YAML");
    }
    return draft;
}

std::expected<Config, std::vector<ConfigError>> result(Diagnostics& diagnostics, Draft draft) {
    if (diagnostics.count() != 0) {
        return std::unexpected(diagnostics.take());
    }
    return std::move(draft.config);
}

void check_files_exist(Diagnostics& diagnostics, const Draft& draft) {
    for (const NamedFile& file : draft.files) {
        std::error_code error;
        if (!std::filesystem::exists(file.path, error)) {
            const std::string reason = error ? error.message() : "No such file or directory";
            diagnostics.add(file.at, "found no file '" + file.path.string() + "' (" + reason + "), expected one with " +
                                         file.content);
        }
    }
}

}  // namespace

std::string to_string(const ConfigError& error) {
    const std::string place =
        error.line == 0 ? "" : ":" + std::to_string(error.line) + ":" + std::to_string(error.column);
    return error.file + place + ": " + error.message;
}

std::expected<Config, std::vector<ConfigError>> parse_config(std::string_view text, const std::string& file) {
    Diagnostics diagnostics{file};
    Draft draft = draft_of(diagnostics, std::string{text});
    return result(diagnostics, std::move(draft));
}

std::expected<Config, std::vector<ConfigError>> load_config(const std::filesystem::path& path) {
    auto file = load_config_file(path);
    if (!file) {
        return std::unexpected(std::move(file.error()));
    }
    return std::move(file->config);
}

std::expected<ConfigFile, std::vector<ConfigError>> load_config_file(const std::filesystem::path& path) {
    Diagnostics diagnostics{path.string()};
    errno = 0;
    std::ifstream in{path, std::ios::binary};
    std::string text(in ? kLargestFileBytes + 1 : 0, '\0');
    in.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (text.empty() || !in.eof()) {
        const std::string reason = errno == 0 ? "longer than 16 MiB" : std::strerror(errno);
        diagnostics.add(SourcePosition{}, "cannot read the file (" + reason + "), expected a configuration");
        return std::unexpected(diagnostics.take());
    }
    text.resize(static_cast<std::size_t>(in.gcount()));
    Draft draft = draft_of(diagnostics, text);
    check_files_exist(diagnostics, draft);
    auto config = result(diagnostics, std::move(draft));
    if (!config) {
        return std::unexpected(std::move(config.error()));
    }
    return ConfigFile{path.string(), std::move(text), std::move(*config)};
}

}  // namespace twinspan
