// Tables for a terminal, from rows of JSON and a description of the columns.
#pragma once

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace twinspan::ctl {

enum class Format : std::uint8_t {
    text,
    integer,  // 1500
    count,    // 1,234,567; in a table that would be too wide 1.23M
    bytes,    // 1.23 MB
    hex,      // 0x1001
    percent,  // 25.0 %
    seconds,  // 1 h 5 min
    yes_no,
    list,     // joined by a comma
};

enum class Empty : std::uint8_t { keep, hide };  // a column without any value

struct Column {
    std::string_view title;
    std::string_view key;  // in the row's object; "by_protocol.tcp" looks inside
    Format format = Format::text;
    Empty empty = Empty::keep;
};

inline constexpr std::size_t kTerminalColumns = 100;

// Header line and one line per row, each ended by a newline and no wider than `width` characters. Numbers stand on the
// right. Counts are shortened first when the width is not enough; then the widest texts are cut, with an ellipsis.
std::string render(std::span<const Column> columns, const nlohmann::json& rows, std::size_t width = kTerminalColumns);

std::string with_thousands(std::uint64_t value);   // 1,234,567
std::string shortened(std::uint64_t value);        // three digits and k, M, G, T: 1.23M
std::string human_bytes(std::uint64_t bytes);      // 1.23 MB; powers of 1000
std::string human_seconds(std::uint64_t seconds);  // the two largest units

}  // namespace twinspan::ctl
