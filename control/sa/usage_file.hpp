// What static keys have carried, over restarts: a small file beside their sequence numbers. The packets sent follow
// from those. After a crash, what passed since the last write is not counted.
#pragma once

#include "crypto/sa.hpp"

#include <cstdint>
#include <expected>
#include <filesystem>
#include <string>

namespace twinspan {

struct KeyUsage {
    std::uint64_t since_s = 0;  // when the keys came into use, since 1970
    SaUsage sent;
    SaUsage received;
    friend bool operator==(const KeyUsage&, const KeyUsage&) = default;
};

// No file: nothing used, since `now_s`.
std::expected<KeyUsage, std::string> read_usage(const std::filesystem::path& file, std::uint64_t now_s);
std::expected<void, std::string> write_usage(const std::filesystem::path& file, const KeyUsage& usage);

}  // namespace twinspan
