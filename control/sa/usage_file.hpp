// What a static key has carried, over restarts: a small file beside the reserved sequence numbers, named after the key.
// It is not synced to the disk, and after a crash what passed since the last write is not in it.
#pragma once

#include "crypto/sa.hpp"

#include <cstdint>
#include <expected>
#include <filesystem>
#include <string>

namespace twinspan {

struct KeyUsage {
    std::uint64_t since_s = 0;  // when the key came into use, since 1970
    SaUsage used;
    std::uint64_t highest = 0;  // sequence number received; 0: none, and with a key to send with
    friend bool operator==(const KeyUsage&, const KeyUsage&) = default;
};

// No file: nothing used, since `now_s`.
std::expected<KeyUsage, std::string> read_usage(const std::filesystem::path& file, std::uint64_t now_s);
std::expected<void, std::string> write_usage(const std::filesystem::path& file, const KeyUsage& usage);

}  // namespace twinspan
