#include "control/config/load.hpp"
#include "control/config/sa_file.hpp"

#include <ostream>

namespace twinspan {

namespace {

int refuse(const std::vector<ConfigError>& errors, std::ostream& out) {
    for (const ConfigError& error : errors) {
        out << to_string(error) << '\n';
    }
    return 2;  // as `twinspand --config` with such a file
}

}  // namespace

int check_command(const std::filesystem::path& path, std::ostream& out) {
    const auto config = load_config(path);
    if (!config) {
        return refuse(config.error(), out);
    }
    if (const auto files = load_sa_files(*config); !files) {
        return refuse(files.error(), out);
    }
    out << path.string() << ": valid: " << config->ports.size() << " ports, " << config->legs.size() << " legs, "
        << config->pools.size() << " pools, " << config->tunnels.size() << " tunnels\n";
    return 0;
}

}  // namespace twinspan
