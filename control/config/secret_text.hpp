// A file that holds keys, read so that the text handed to the YAML parser holds none of them.
#pragma once

#include "crypto/key.hpp"

#include <expected>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace twinspan {

// Opens a file, checks owner and mode of what was opened, and reads it whole. The error says what to do; `kind` is what
// the file should be, "an SA file".
std::expected<SecretBytes, std::string> read_secret_file(const std::filesystem::path& path, const std::string& kind);

// yaml-cpp copies what it parses and wipes nothing. So every run of 16 letters and digits or more, which is what a key
// looks like, is lifted out into secret memory, and a placeholder of the same length stands in its place: positions
// stay true.
class SecretText {
public:
    // Opens, checks owner and mode of what was opened, and reads. The error says what to do.
    static std::expected<SecretText, std::string> read(const std::filesystem::path& path);

    const std::string& text() const noexcept { return text_; }
    // The hex digits that a placeholder stands for, as bytes; nothing when it is no placeholder, or they are no hex
    // digits.
    std::optional<SecretBytes> bytes_of(std::string_view placeholder) const;

private:
    explicit SecretText(const SecretBytes& content);
    std::string text_;
    std::vector<SecretBytes> lifted_;
};

}  // namespace twinspan
