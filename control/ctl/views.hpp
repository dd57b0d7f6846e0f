// What `twinspanctl show` prints for each kind of reply. The replies: docs/control-socket.md.
#pragma once

#include <nlohmann/json.hpp>

#include <span>
#include <string>
#include <string_view>

namespace twinspan::ctl {

std::span<const std::string_view> show_kinds();

// The reply's data as tables of at most kTerminalColumns. Missing keys show as "-"; `kind` is one of show_kinds().
std::string view(std::string_view kind, const nlohmann::json& data);

}  // namespace twinspan::ctl
