// What the views of single kinds are made of, and those of them that have a file of their own.
#pragma once

#include "control/ctl/table.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace twinspan::ctl {

// What a reply does not have, or has in another shape, is empty or 0.
nlohmann::json list_at(const nlohmann::json& object, const char* key);
double number_at(const nlohmann::json& object, const char* key);
std::uint64_t count_at(const nlohmann::json& object, const char* key);
std::string text_at(const nlohmann::json& object, const char* key);

// `none` stands where there are no rows.
std::string table(std::span<const Column> columns, const nlohmann::json& rows, std::string_view none);
// What the things are, then what they counted.
std::string two_tables(std::span<const Column> what, std::span<const Column> counters, const nlohmann::json& rows,
                       std::string_view none);

std::string tunnels_view(const nlohmann::json& data);
std::string sas_view(const nlohmann::json& data);
std::string nat_view(const nlohmann::json& data);
std::string drops_view(const nlohmann::json& data);
std::string metrics_view(const nlohmann::json& data);
std::string workers_view(nlohmann::json data);
std::string accounting_view(const nlohmann::json& data);

}  // namespace twinspan::ctl
