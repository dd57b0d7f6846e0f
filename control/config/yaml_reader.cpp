#include "control/config/yaml_reader.hpp"

#include "control/config/scalar.hpp"

#include <algorithm>
#include <exception>
#include <map>
#include <tuple>

namespace twinspan {

namespace {

SourcePosition from_mark(const YAML::Mark& mark) {
    if (mark.is_null()) {
        return {};
    }
    return {static_cast<std::size_t>(mark.line) + 1, static_cast<std::size_t>(mark.column) + 1};
}

// Long or unprintable text does not help who reads the message.
std::string quoted(const std::string& text) {
    constexpr std::size_t kLongest = 60;
    std::string out = "'";
    for (const char c : text.substr(0, kLongest)) {
        out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
    }
    return out + (text.size() > kLongest ? "..." : "") + "'";
}

std::string describe(const YAML::Node& node) {
    switch (node.Type()) {
        case YAML::NodeType::Scalar:
            return quoted(node.Scalar());
        case YAML::NodeType::Sequence:
            return "a list";
        case YAML::NodeType::Map:
            return "a mapping";
        default:
            return "nothing";
    }
}

std::string suggestion(std::string_view word, schema::Keys candidates) {
    const std::string_view best = nearest(word, candidates);
    return best.empty() ? "" : "; did you mean '" + std::string{best} + "'?";
}

// Calls `entry` for each pair with a value, whose key is a word that was not there before.
template <class Entry>
void walk_map(Diagnostics& diagnostics, const YAML::Node& map, Entry entry) {
    std::map<std::string, SourcePosition> seen;
    for (const auto& pair : map) {
        if (!pair.first.IsScalar()) {
            diagnostics.unexpected(pair.first, "a word as key");
            continue;
        }
        const auto [before, is_new] = seen.emplace(pair.first.Scalar(), position_of(pair.first));
        if (!is_new) {
            diagnostics.add(pair.first, "found key " + quoted(before->first) +
                                            " again, expected it once (first at line " +
                                            std::to_string(before->second.line) + ")");
            continue;
        }
        if (pair.second.IsNull()) {  // has no position of its own
            diagnostics.add(pair.first, "found nothing behind key " + quoted(before->first) + ", expected a value");
            continue;
        }
        entry(pair.first, pair.second);
    }
}

}  // namespace

SourcePosition position_of(const YAML::Node& node) { return from_mark(node.Mark()); }

void Diagnostics::add(SourcePosition at, std::string message) {
    errors_.push_back({file_, at.line, at.column, std::move(message)});
}

void Diagnostics::unexpected(const YAML::Node& at, std::string_view expected) {
    add(at, "found " + describe(at) + ", expected " + std::string{expected});
}

void Diagnostics::unknown_name(const YAML::Node& at, std::string_view expected,
                               const std::vector<std::string_view>& candidates) {
    add(at, "found " + describe(at) + ", expected " + std::string{expected} + suggestion(at.Scalar(), candidates));
}

std::vector<ConfigError> Diagnostics::take() {
    std::ranges::sort(errors_, {}, [](const ConfigError& e) { return std::tie(e.line, e.column, e.message); });
    errors_.resize(std::min(errors_.size(), kMaxConfigErrors));
    return std::move(errors_);
}

std::string join(schema::Keys words) {
    std::string out;
    for (const std::string_view word : words) {
        out += (out.empty() ? "" : ", ") + std::string{word};
    }
    return out;
}

std::optional<YAML::Node> parse_yaml(Diagnostics& diagnostics, const std::string& text) {
    try {
        YAML::Node root = YAML::Load(text);
        if (root.IsDefined() && !root.IsNull()) {
            return root;
        }
        diagnostics.add(SourcePosition{1, 1}, "found nothing, expected a mapping with the keys of the configuration");
    } catch (const YAML::Exception& e) {
        diagnostics.add(from_mark(e.mark), "found broken YAML (" + e.msg + "), expected a well-formed document");
    } catch (const std::exception& e) {
        diagnostics.add(SourcePosition{},
                        std::string{"found broken YAML ("} + e.what() + "), expected a well-formed document");
    }
    return std::nullopt;
}

void for_each_entry(Diagnostics& diagnostics, const YAML::Node& map, std::string_view expected,
                    const std::function<void(const YAML::Node&, const YAML::Node&)>& entry) {
    if (!map.IsMap()) {
        diagnostics.unexpected(map, expected);
        return;
    }
    walk_map(diagnostics, map, entry);
}

void for_each_item(Diagnostics& diagnostics, const YAML::Node& list, std::string_view expected,
                   const std::function<void(const YAML::Node&)>& item) {
    if (!list.IsSequence()) {
        diagnostics.unexpected(list, expected);
        return;
    }
    for (const auto& node : list) {
        item(node);
    }
}

MapReader::MapReader(Diagnostics& diagnostics, const YAML::Node& node, schema::Keys known)
    : diagnostics_(&diagnostics), at_(position_of(node)), is_map_(node.IsMap()) {
    if (!is_map_) {
        diagnostics.unexpected(node, "a mapping with the keys " + join(known));
        return;
    }
    for (const auto& pair : node) {
        if (pair.first.IsScalar() && pair.second.IsNull()) {
            empty_.push_back(pair.first.Scalar());
        }
    }
    walk_map(diagnostics, node, [&](const YAML::Node& key, const YAML::Node& value) {
        if (std::ranges::find(known, key.Scalar()) == known.end()) {
            diagnostics.add(key, "found unknown key " + quoted(key.Scalar()) + ", expected one of " + join(known) +
                                     suggestion(key.Scalar(), known));
            return;
        }
        entries_.emplace_back(key.Scalar(), value);
    });
}

std::optional<YAML::Node> MapReader::find(std::string_view key) const {
    for (const auto& [name, value] : entries_) {
        if (name == key) {
            return value;
        }
    }
    return std::nullopt;
}

std::optional<YAML::Node> MapReader::require(std::string_view key, std::string_view expected) const {
    auto node = find(key);
    if (!node && is_map_ && std::ranges::find(empty_, key) == empty_.end()) {
        diagnostics_->add(at_, "found no key '" + std::string{key} + "', expected " + std::string{expected});
    }
    return node;
}

std::string MapReader::unsigned_text(std::uint64_t min, std::uint64_t max) {
    return "a whole number from " + std::to_string(min) + " to " + std::to_string(max);
}

std::function<std::optional<std::uint64_t>(std::string_view)> MapReader::unsigned_parser(std::uint64_t min,
                                                                                         std::uint64_t max) {
    return [min, max](std::string_view text) { return parse_unsigned(text, min, max); };
}

}  // namespace twinspan
