// The commands of twinspanctl that need no daemon: they read files and write files.
#pragma once

#include "control/ctl/cli.hpp"

#include <filesystem>
#include <string>

namespace twinspan::ctl {

// Writes the configuration of "frr", "strongswan" or "systemd" into a folder. Returns an ExitStatus.
int render_files(const Terminal& terminal, const std::string& what, const std::filesystem::path& config_file,
                 const std::filesystem::path& folder);

// Reads Azure's templates and parameter files in a folder; writes a starting configuration to `out`, or to the terminal
// when that is empty. Returns an ExitStatus.
int import_azure(const Terminal& terminal, const std::filesystem::path& folder, const std::filesystem::path& out);

}  // namespace twinspan::ctl
