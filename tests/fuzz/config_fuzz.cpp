// Any text as a configuration: no crash, and every refusal says where and why.
#include "control/config/load.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto config = twinspan::parse_config({reinterpret_cast<const char*>(data), size}, "f");
    if (config) {
        for (const twinspan::TunnelConfig& tunnel : config->tunnels) {
            if (tunnel.leg >= config->legs.size()) {
                std::abort();
            }
        }
        return 0;
    }
    if (config.error().empty() || config.error().size() > twinspan::kMaxConfigErrors) {
        std::abort();
    }
    for (const twinspan::ConfigError& error : config.error()) {
        if (error.message.empty()) {
            std::abort();
        }
    }
    return 0;
}
