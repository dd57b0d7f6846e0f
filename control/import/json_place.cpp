#include "control/import/json_place.hpp"

#include <algorithm>
#include <cctype>
#include <limits>

namespace twinspan::azure {

namespace {

// Never the value of a key that is a secret: those are read by name, and not described.
std::string describe(const nlohmann::json& value) {
    constexpr std::size_t kLongest = 60;
    if (value.is_structured()) {
        return value.is_array() ? "a list" : "an object";
    }
    const std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
    return text.substr(0, kLongest) + (text.size() > kLongest ? "..." : "");
}

bool is_expression(const std::string& text) { return text.starts_with('[') && !text.starts_with("[["); }

}  // namespace

bool same_word(std::string_view a, std::string_view b) {
    return std::ranges::equal(a, b, [](char x, char y) {
        return std::tolower(static_cast<unsigned char>(x)) == std::tolower(static_cast<unsigned char>(y));
    });
}

void Place::error(const std::string& message) const {
    errors_->push_back(*file_ + ": " + (path_.empty() ? "" : path_ + ": ") + message);
}

std::optional<Place> Place::find(std::string_view key) const {
    if (!value_->is_object()) {
        return std::nullopt;
    }
    for (auto it = value_->begin(); it != value_->end(); ++it) {
        if (same_word(it.key(), key) && !it->is_null()) {
            return Place{*this, path_.empty() ? it.key() : path_ + '.' + it.key(), *it};
        }
    }
    return std::nullopt;
}

std::optional<Place> Place::require(std::string_view key, std::string_view expected) const {
    auto found = find(key);
    if (!found) {
        error("found no '" + std::string{key} + "', expected " + std::string{expected});
    }
    return found;
}

std::vector<Place> Place::items() const {
    std::vector<Place> out;
    if (!value_->is_array()) {
        error("found " + describe(*value_) + ", expected a list");
        return out;
    }
    for (std::size_t i = 0; i < value_->size(); ++i) {
        out.push_back(Place{*this, path_ + '[' + std::to_string(i) + ']', (*value_)[i]});
    }
    return out;
}

std::vector<std::pair<std::string, Place>> Place::members() const {
    std::vector<std::pair<std::string, Place>> out;
    if (value_->is_object()) {
        for (auto it = value_->begin(); it != value_->end(); ++it) {
            out.emplace_back(it.key(), Place{*this, path_.empty() ? it.key() : path_ + '.' + it.key(), *it});
        }
    }
    return out;
}

std::optional<std::string> Place::text(std::string_view key) const {
    const auto found = find(key);
    if (!found) {
        return std::nullopt;
    }
    if (!found->value_->is_string()) {
        found->error("found something other than text, expected text");
        return std::nullopt;
    }
    std::string out = found->value_->get<std::string>();
    return out.empty() || is_expression(out) ? std::nullopt : std::optional{std::move(out)};
}

std::optional<std::string> Place::require_text(std::string_view key, std::string_view expected) const {
    return require(key, expected) ? text(key) : std::nullopt;
}

std::optional<std::uint32_t> Place::number(std::string_view key) const {
    const auto found = find(key);
    if (!found || (found->value_->is_string() && is_expression(found->value_->get<std::string>()))) {
        return std::nullopt;
    }
    if (!found->value_->is_number_unsigned() ||
        found->value_->get<std::uint64_t>() > std::numeric_limits<std::uint32_t>::max()) {
        found->error("found " + describe(*found->value_) + ", expected a whole number");
        return std::nullopt;
    }
    return static_cast<std::uint32_t>(found->value_->get<std::uint64_t>());
}

std::optional<be32> Place::address4(std::string_view key) const {
    const auto word = text(key);
    const auto address = word ? parse_address4(*word) : std::nullopt;
    if (word && !address) {
        find(key)->error("found \"" + *word + "\", expected an IPv4 address");
    }
    return address;
}

std::optional<Prefix4> Place::prefix4(std::string_view key) const {
    const auto word = text(key);
    const auto prefix = word ? parse_prefix4(*word) : std::nullopt;
    if (word && !prefix) {
        find(key)->error("found \"" + *word + "\", expected an IPv4 prefix without host bits");
    }
    return prefix;
}

void Place::prefixes(std::string_view key, std::vector<Prefix4>& v4, std::vector<Prefix6>& v6) const {
    const auto list = find(key);
    if (!list || (list->value_->is_string() && is_expression(list->value_->get<std::string>()))) {
        return;
    }
    for (const Place& item : list->items()) {
        const std::string word = item.value_->is_string() ? item.value_->get<std::string>() : "";
        if (const auto prefix4 = parse_prefix4(word)) {
            v4.push_back(*prefix4);
        } else if (const auto prefix6 = parse_prefix6(word)) {
            v6.push_back(*prefix6);
        } else if (!is_expression(word)) {
            item.error("found " + describe(*item.value_) + ", expected a prefix without host bits");
        }
    }
}

}  // namespace twinspan::azure
