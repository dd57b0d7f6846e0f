#include "control/ctl/table.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace twinspan::ctl {

namespace {

using nlohmann::json;

constexpr std::string_view kUnknown = "-";
constexpr std::size_t kGap = 2;
constexpr std::size_t kNarrowest = 4;  // a text is not cut below this

bool is_number(Format format) {
    return format == Format::integer || format == Format::count || format == Format::bytes ||
           format == Format::percent || format == Format::seconds;
}

// Characters, not bytes: continuation bytes of UTF-8 take no room.
std::size_t width_of(std::string_view text) {
    return static_cast<std::size_t>(
        std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string cut(std::string_view text, std::size_t width) {
    if (width_of(text) <= width) {
        return std::string{text};
    }
    std::string out;
    std::size_t room = width - 1;
    for (const char c : text) {
        const bool starts = (static_cast<unsigned char>(c) & 0xc0) != 0x80;
        if (starts && room-- == 0) {
            break;
        }
        out += c;
    }
    return out + "…";
}

// Text of others is shown, never obeyed: no escape sequences.
std::string printable(std::string text) {
    std::ranges::replace_if(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
    return text;
}

json find(const json& row, std::string_view key) {
    const std::size_t dot = key.find('.');
    const auto at = row.is_object() ? row.find(std::string{key.substr(0, dot)}) : row.end();
    if (!row.is_object() || at == row.end()) {
        return nullptr;
    }
    return dot == std::string_view::npos ? *at : find(*at, key.substr(dot + 1));
}

std::string text_of(const json& value) {
    return printable(value.is_string() ? value.get<std::string>()
                                       : value.dump(-1, ' ', false, json::error_handler_t::replace));
}

std::string list_of(const json& value) {
    std::string out;
    for (const json& item : value) {
        out += (out.empty() ? "" : ", ") + text_of(item);
    }
    return out;
}

std::string number(const json& value, Format format, bool compact) {
    std::array<char, 32> buffer{};
    const std::uint64_t n = value.is_number_unsigned() ? value.get<std::uint64_t>() : 0;
    switch (format) {
        case Format::percent:
            std::snprintf(buffer.data(), buffer.size(), "%.1f %%", value.get<double>());
            return buffer.data();
        case Format::hex:
            std::snprintf(buffer.data(), buffer.size(), "0x%llx", static_cast<unsigned long long>(n));
            return buffer.data();
        case Format::integer:
            return std::to_string(n);
        case Format::bytes:
            return human_bytes(n);
        case Format::seconds:
            return human_seconds(n);
        default:
            return compact ? shortened(n) : with_thousands(n);
    }
}

std::string cell(const json& row, const Column& column, bool compact) {
    const json value = find(row, column.key);
    if (value.is_null()) {
        return std::string{kUnknown};
    }
    if (column.format == Format::yes_no && value.is_boolean()) {
        return value.get<bool>() ? "yes" : "no";
    }
    if (column.format == Format::list && value.is_array()) {
        return list_of(value);
    }
    const bool counted = value.is_number_unsigned() || (column.format == Format::percent && value.is_number());
    if (counted && column.format != Format::text) {
        return number(value, column.format, compact);
    }
    return text_of(value);
}

struct Grid {
    std::vector<Column> columns;
    std::vector<std::vector<std::string>> rows;  // the header first
    std::vector<std::size_t> widths;

    std::size_t width() const {
        std::size_t sum = columns.empty() ? 0 : kGap * (columns.size() - 1);
        for (const std::size_t w : widths) {
            sum += w;
        }
        return sum;
    }
};

bool has_value(const Column& column, const json& rows) {
    return std::ranges::any_of(rows, [&](const json& row) {
        const std::string text = cell(row, column, false);
        return !text.empty() && text != kUnknown;
    });
}

Grid make_grid(std::span<const Column> columns, const json& rows, bool compact) {
    Grid grid;
    for (const Column& column : columns) {
        if (column.empty == Empty::keep || has_value(column, rows)) {
            grid.columns.push_back(column);
        }
    }
    grid.rows.emplace_back();
    for (const Column& column : grid.columns) {
        grid.rows.back().emplace_back(column.title);
    }
    for (const json& row : rows) {
        grid.rows.emplace_back();
        for (const Column& column : grid.columns) {
            grid.rows.back().push_back(cell(row, column, compact));
        }
    }
    for (std::size_t i = 0; i < grid.columns.size(); ++i) {
        std::size_t widest = 0;
        for (const auto& row : grid.rows) {
            widest = std::max(widest, width_of(row[i]));
        }
        grid.widths.push_back(widest);
    }
    return grid;
}

// Takes from the widest text, one character at a time, until the line fits or nothing is left to take.
void narrow(Grid& grid, std::size_t width) {
    std::size_t excess = grid.width() > width ? grid.width() - width : 0;
    while (excess-- > 0) {
        std::size_t widest = grid.widths.size();
        for (std::size_t i = 0; i < grid.widths.size(); ++i) {
            const bool may_cut = !is_number(grid.columns[i].format) && grid.widths[i] > kNarrowest;
            if (may_cut && (widest == grid.widths.size() || grid.widths[i] > grid.widths[widest])) {
                widest = i;
            }
        }
        if (widest == grid.widths.size()) {
            return;
        }
        --grid.widths[widest];
    }
}

std::string line_of(const Grid& grid, const std::vector<std::string>& row) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
        const std::string text = cut(row[i], grid.widths[i]);
        const std::string pad(grid.widths[i] - width_of(text), ' ');
        line += (i == 0 ? "" : std::string(kGap, ' ')) + (is_number(grid.columns[i].format) ? pad + text : text + pad);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    return line + '\n';
}

// Three significant digits and the name of the power of 1000.
std::string scaled(std::uint64_t value, std::span<const std::string_view> names, std::string_view gap) {
    double shown = static_cast<double>(value);
    std::size_t power = 0;
    while (shown >= 999.5 && power + 1 < names.size()) {
        shown /= 1000;
        ++power;
    }
    const int decimals = power == 0 || shown >= 99.95 ? 0 : shown >= 9.995 ? 1 : 2;
    std::array<char, 32> buffer{};
    std::snprintf(buffer.data(), buffer.size(), "%.*f", decimals, shown);
    return std::string{buffer.data()} + std::string{names[power].empty() ? "" : gap} + std::string{names[power]};
}

}  // namespace

std::string with_thousands(std::uint64_t value) {
    std::string out = std::to_string(value);
    for (std::size_t at = out.size(); at > 3; at -= 3) {
        out.insert(at - 3, ",");
    }
    return out;
}

std::string shortened(std::uint64_t value) {
    static constexpr std::string_view kNames[] = {"", "k", "M", "G", "T", "P", "E"};
    return scaled(value, kNames, "");
}

std::string human_bytes(std::uint64_t bytes) {
    static constexpr std::string_view kNames[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    return scaled(bytes, kNames, " ");
}

std::string human_seconds(std::uint64_t seconds) {
    struct Unit {
        std::uint64_t seconds;
        const char* name;
    };
    static constexpr Unit kUnits[] = {{86400, " d"}, {3600, " h"}, {60, " min"}, {1, " s"}};
    for (std::size_t i = 0; i < std::size(kUnits); ++i) {
        if (seconds >= kUnits[i].seconds) {
            std::string out = std::to_string(seconds / kUnits[i].seconds) + kUnits[i].name;
            const std::uint64_t rest = seconds % kUnits[i].seconds;
            if (i + 1 < std::size(kUnits) && rest >= kUnits[i + 1].seconds) {
                out += ' ' + std::to_string(rest / kUnits[i + 1].seconds) + kUnits[i + 1].name;
            }
            return out;
        }
    }
    return "0 s";
}

std::string render(std::span<const Column> columns, const json& rows, std::size_t width) {
    Grid grid = make_grid(columns, rows, false);
    if (grid.width() > width) {
        grid = make_grid(columns, rows, true);
    }
    narrow(grid, width);
    std::string out;
    for (const auto& row : grid.rows) {
        out += line_of(grid, row);
    }
    return out;
}

}  // namespace twinspan::ctl
