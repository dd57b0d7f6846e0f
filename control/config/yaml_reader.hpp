// Reads YAML nodes into values and says, with positions, what does not fit.
#pragma once

#include "control/config/load.hpp"
#include "control/config/schema.hpp"

#include <yaml-cpp/yaml.h>

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace twinspan {

struct SourcePosition {
    std::size_t line = 0;  // from 1; 0: unknown
    std::size_t column = 0;
};
SourcePosition position_of(const YAML::Node& node);

// Collects what is wrong with one file.
class Diagnostics {
public:
    explicit Diagnostics(std::string file) : file_(std::move(file)) {}

    void add(SourcePosition at, std::string message);
    void add(const YAML::Node& at, std::string message) { add(position_of(at), std::move(message)); }
    // "found <the node>, expected <expected>"
    void unexpected(const YAML::Node& at, std::string_view expected);
    // The same for a name that is none of `candidates`, with the nearest of them.
    void unknown_name(const YAML::Node& at, std::string_view expected, const std::vector<std::string_view>& candidates);

    std::size_t count() const noexcept { return errors_.size(); }
    const std::string& file() const noexcept { return file_; }
    // By position, the first kMaxConfigErrors.
    std::vector<ConfigError> take();

private:
    std::string file_;
    std::vector<ConfigError> errors_;
};

// The document, or nothing and an error with the parser's position. An empty text is an error too.
std::optional<YAML::Node> parse_yaml(Diagnostics& diagnostics, const std::string& text);

std::string join(schema::Keys words);  // "a, b, c"

template <class Parse>
auto read_scalar(Diagnostics& diagnostics, const YAML::Node& node, std::string_view expected, Parse parse)
    -> decltype(parse(std::string_view{})) {
    if (node.IsScalar()) {
        if (auto value = parse(node.Scalar())) {
            return value;
        }
    }
    diagnostics.unexpected(node, expected);
    return std::nullopt;
}

// A mapping with keys of the user's choice: ports, tunnels. Calls `entry(key, value)` for each good one.
void for_each_entry(Diagnostics& diagnostics, const YAML::Node& map, std::string_view expected,
                    const std::function<void(const YAML::Node& key, const YAML::Node& value)>& entry);
void for_each_item(Diagnostics& diagnostics, const YAML::Node& list, std::string_view expected,
                   const std::function<void(const YAML::Node& item)>& item);

// A mapping with known keys.
class MapReader {
public:
    // Reports a node that is no mapping, unknown keys, and keys that are given twice.
    MapReader(Diagnostics& diagnostics, const YAML::Node& node, schema::Keys known);

    SourcePosition position() const { return at_; }
    bool is_map() const noexcept { return is_map_; }
    // The value of a key, or nothing.
    std::optional<YAML::Node> find(std::string_view key) const;
    // The same; a missing key is reported, once, and only when the rest was a mapping.
    std::optional<YAML::Node> require(std::string_view key, std::string_view expected) const;

    // Leaves `out` alone when the key is missing or its value is bad (which is reported).
    template <class T, class Parse>
    void read(std::string_view key, T& out, std::string_view expected, Parse parse) const {
        if (const auto node = find(key)) {
            assign(*node, out, expected, parse);
        }
    }
    // Returns whether `out` was set.
    template <class T, class Parse>
    bool read_required(std::string_view key, T& out, std::string_view expected, Parse parse) const {
        const auto node = require(key, expected);
        return node && assign(*node, out, expected, parse);
    }
    template <class T>
    void read_unsigned(std::string_view key, T& out, std::uint64_t min, std::uint64_t max) const {
        read(key, out, unsigned_text(min, max), unsigned_parser(min, max));
    }

    static std::string unsigned_text(std::uint64_t min, std::uint64_t max);
    static std::function<std::optional<std::uint64_t>(std::string_view)> unsigned_parser(std::uint64_t min,
                                                                                         std::uint64_t max);

private:
    template <class T, class Parse>
    bool assign(const YAML::Node& node, T& out, std::string_view expected, Parse parse) const {
        if (const auto value = read_scalar(*diagnostics_, node, expected, parse)) {
            if constexpr (std::is_same_v<T, std::remove_cvref_t<decltype(value)>>) {
                out = value;  // an optional of what is read
            } else {
                out = static_cast<T>(*value);
            }
            return true;
        }
        return false;
    }

    Diagnostics* diagnostics_;
    SourcePosition at_;
    bool is_map_ = false;
    std::vector<std::pair<std::string, YAML::Node>> entries_;
    std::vector<std::string> empty_;  // keys without a value: reported already
};

}  // namespace twinspan
