// The file with the static keys of one tunnel. Its bytes are never copied into memory that is not wiped, nor into a
// message.
#pragma once

#include "control/config/config.hpp"
#include "control/config/load.hpp"
#include "crypto/sa.hpp"
#include "dataplane/config/snapshot.hpp"

#include <cstdint>
#include <expected>
#include <filesystem>
#include <vector>

namespace twinspan {

struct SaFile {
    SaConfig outbound;
    SaConfig inbound;
    std::uint32_t replay_window_bits = 1024;
    std::uint16_t udp_port = 0;  // ESP in UDP from and to this port (RFC 3948); 0: bare ESP

    Encapsulation encapsulation() const noexcept { return {to_be16(udp_port), to_be16(udp_port)}; }
};

// Refuses a file that is not root's (or the user's who runs this), that group or others may touch, or that is a
// symbolic link.
std::expected<SaFile, std::vector<ConfigError>> load_sa_file(const std::filesystem::path& path);

// One for each tunnel, in their order; without an SPI and a key for a tunnel with `ike`. Refuses an inbound SPI, or key
// material, that two of them share.
std::expected<std::vector<SaFile>, std::vector<ConfigError>> load_sa_files(const Config& config);

}  // namespace twinspan
