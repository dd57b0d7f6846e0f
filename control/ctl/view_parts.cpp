#include "control/ctl/view_parts.hpp"

namespace twinspan::ctl {

using nlohmann::json;

json list_at(const json& object, const char* key) {
    const auto at = object.is_object() ? object.find(key) : object.end();
    return object.is_object() && at != object.end() && at->is_array() ? *at : json::array();
}

double number_at(const json& object, const char* key) {
    const auto at = object.is_object() ? object.find(key) : object.end();
    return object.is_object() && at != object.end() && at->is_number() ? at->get<double>() : 0;
}

std::uint64_t count_at(const json& object, const char* key) {
    const auto at = object.is_object() ? object.find(key) : object.end();
    return object.is_object() && at != object.end() && at->is_number_unsigned() ? at->get<std::uint64_t>() : 0;
}

std::string table(std::span<const Column> columns, const json& rows, std::string_view none) {
    return rows.is_array() && !rows.empty() ? render(columns, rows) : std::string{none} + '\n';
}

std::string two_tables(std::span<const Column> what, std::span<const Column> counters, const json& rows,
                       std::string_view none) {
    return rows.empty() ? std::string{none} + '\n' : render(what, rows) + '\n' + render(counters, rows);
}

std::string text_at(const json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

}  // namespace twinspan::ctl
