// The configurations of the daemons beside us, from ours: FRR speaks BGP and BFD, strongSwan IKE, systemd starts all.
// Pure but for the secrets, which are read from their files; the same configuration gives the same text.
#pragma once

#include "control/config/config.hpp"
#include "dataplane/base/error.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace twinspan::render {

struct File {
    std::filesystem::path path;  // below the folder that is written to
    std::string text;
    bool secret = false;         // mode 0600
};
using Files = std::vector<File>;

// frr.conf, daemons, vtysh.conf: for /etc/frr.
Result<Files> frr(const Config& config);
// swanctl.conf with its secrets and certificates for /etc/swanctl, twinspan.conf for /etc/strongswan.d.
Result<Files> strongswan(const Config& config);
// A unit, drop-ins and sysctls, by their places below /etc. `config_file` is what the unit runs with.
Result<Files> systemd(const Config& config, const std::filesystem::path& config_file);

// Creates what is missing of `folder`, and replaces each file in one step.
Result<void> write(const std::filesystem::path& folder, const Files& files);

// The first line of a file that only its owner may read, without its end. Printable text without spaces at its ends.
Result<std::string> secret_line(const std::filesystem::path& path, std::size_t longest);
Result<std::string> plain_text(const std::filesystem::path& path);
// The whole of a file that only its owner may read.
Result<std::string> secret_text(const std::filesystem::path& path);

}  // namespace twinspan::render
