#include "control/config/key_path.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

namespace twinspan {

namespace {

std::optional<std::size_t> index_of(const std::string& part) {
    std::size_t index = 0;
    if (!part.starts_with('[')) {
        return std::nullopt;
    }
    std::from_chars(part.data() + 1, part.data() + part.size(), index);
    return index;
}

// Undefined when there is no such thing.
YAML::Node child(const YAML::Node& node, const std::string& part) {
    const auto index = index_of(part);
    if (index && node.IsSequence()) {
        return *index < node.size() ? node[*index] : YAML::Node{YAML::NodeType::Undefined};
    }
    return !index && node.IsMap() ? node[part] : YAML::Node{YAML::NodeType::Undefined};
}

}  // namespace

std::string to_string(const KeyPath& path) {
    std::string out;
    for (const std::string& part : path) {
        out += (out.empty() || part.starts_with('[') ? "" : ".") + part;
    }
    return out;
}

KeyFinder::KeyFinder(const std::string& text) {
    Diagnostics diagnostics{""};
    if (auto root = parse_yaml(diagnostics, text)) {
        root_.reset(*root);
    }
}

SourcePosition KeyFinder::position(const KeyPath& path) const {
    SourcePosition best = position_of(root_);
    YAML::Node node;
    node.reset(root_);
    for (const std::string& part : path) {
        const YAML::Node next = child(node, part);
        if (!next.IsDefined()) {
            break;
        }
        node.reset(next);
        const SourcePosition at = position_of(node);
        best = at.line != 0 ? at : best;
    }
    return best;
}

std::string KeyFinder::text(const KeyPath& path) const {
    YAML::Node node;
    node.reset(root_);
    for (const std::string& part : path) {
        const YAML::Node next = child(node, part);
        if (!next.IsDefined()) {
            return "default";
        }
        node.reset(next);
    }
    YAML::Emitter out;
    out.SetMapFormat(YAML::Flow);
    out.SetSeqFormat(YAML::Flow);
    out << node;
    std::string text = out.c_str();
    std::ranges::replace(text, '\n', ' ');
    return text;
}

std::string KeyFinder::brief(const KeyPath& path) const {
    constexpr std::size_t kLongest = 60;
    std::string whole = text(path);
    return whole.size() > kLongest ? whole.substr(0, kLongest - 3) + "..." : whole;
}

}  // namespace twinspan
