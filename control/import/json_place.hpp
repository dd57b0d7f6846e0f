// A place in a JSON document: reads values, and says where one is not what was expected.
#pragma once

#include "control/config/prefix.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace twinspan::azure {

class Place {
public:
    Place(const std::string& file, std::vector<std::string>& errors, const nlohmann::json& value)
        : file_(&file), errors_(&errors), value_(&value) {}

    const nlohmann::json& value() const noexcept { return *value_; }
    void error(const std::string& message) const;

    // The member of that name, whatever its case, when it is there and not null.
    std::optional<Place> find(std::string_view key) const;
    std::optional<Place> require(std::string_view key, std::string_view expected) const;
    // The elements of a list; none, and an error, when it is something else.
    std::vector<Place> items() const;
    std::vector<std::pair<std::string, Place>> members() const;

    // Text that is not a template's expression ("[parameters('x')]"): that one counts as not there.
    std::optional<std::string> text(std::string_view key) const;
    std::optional<std::string> require_text(std::string_view key, std::string_view expected) const;
    std::optional<std::uint32_t> number(std::string_view key) const;
    std::optional<be32> address4(std::string_view key) const;
    std::optional<Prefix4> prefix4(std::string_view key) const;
    // A list of prefixes of both versions.
    void prefixes(std::string_view key, std::vector<Prefix4>& v4, std::vector<Prefix6>& v6) const;

private:
    Place(const Place& parent, std::string path, const nlohmann::json& value)
        : file_(parent.file_), errors_(parent.errors_), value_(&value), path_(std::move(path)) {}

    const std::string* file_;
    std::vector<std::string>* errors_;
    const nlohmann::json* value_;
    std::string path_;
};

struct Connection;
void read_policy(const Place& policy, Connection& out);

bool same_word(std::string_view a, std::string_view b);  // ASCII case does not count: Azure's does not

}  // namespace twinspan::azure
