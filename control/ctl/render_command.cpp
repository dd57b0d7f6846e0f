#include "control/config/load.hpp"
#include "control/ctl/files_commands.hpp"
#include "control/render/render.hpp"

#include <ostream>

namespace twinspan::ctl {

int render_files(const Terminal& terminal, const std::string& what, const std::filesystem::path& config_file,
                 const std::filesystem::path& folder) {
    const auto config = load_config(config_file);
    if (!config) {
        for (const ConfigError& error : config.error()) {
            terminal.err << to_string(error) << '\n';
        }
        return kFailed;
    }
    const auto files = what == "frr"          ? render::frr(*config)
                       : what == "strongswan" ? render::strongswan(*config)
                                              : render::systemd(*config, config_file);
    const auto done = files ? render::write(folder, *files) : std::unexpected(files.error());
    if (!done) {
        terminal.err << "twinspanctl: " << done.error().what << '\n';
        return kFailed;
    }
    for (const render::File& file : *files) {
        terminal.out << (folder / file.path).string() << (file.secret ? " (0600: holds a secret)" : "") << '\n';
    }
    return kDone;
}

}  // namespace twinspan::ctl
