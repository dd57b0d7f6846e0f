// The file with the static keys of one tunnel. Its bytes are never copied into memory that is not wiped, nor into a
// message.
#pragma once

#include "control/config/config.hpp"
#include "control/config/load.hpp"
#include "crypto/sa.hpp"

#include <cstdint>
#include <expected>
#include <filesystem>
#include <vector>

namespace twinspan {

struct SaFile {
    SaConfig outbound;
    SaConfig inbound;
    std::uint32_t replay_window_bits = 1024;
};

// Refuses a file that is not root's (or the user's who runs this), that group or others may touch, or that is a
// symbolic link.
std::expected<SaFile, std::vector<ConfigError>> load_sa_file(const std::filesystem::path& path);

// Those of all tunnels, in their order. Refuses an inbound SPI, or key material, that two of them share.
std::expected<std::vector<SaFile>, std::vector<ConfigError>> load_sa_files(const Config& config);

}  // namespace twinspan
