// A daemon's control socket, from the client's side: one request, one reply (docs/control-socket.md).
#pragma once

#include "dataplane/base/error.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>

namespace twinspan::ctl {

// The socket of the daemon called `name`; without a name, the only one in `folder`. Errors name those that are there.
Result<std::filesystem::path> find_socket(const std::filesystem::path& folder, const std::optional<std::string>& name);

// Sends one request and returns the reply's `data`. Errors: what the daemon answered, or why there is no answer.
Result<nlohmann::json> call(const std::filesystem::path& socket, const nlohmann::json& request,
                            std::chrono::seconds timeout = std::chrono::seconds{10});

}  // namespace twinspan::ctl
