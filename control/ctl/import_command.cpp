#include "control/ctl/files_commands.hpp"
#include "control/import/azure.hpp"
#include "control/render/render.hpp"

#include <ostream>
#include <system_error>

namespace twinspan::ctl {

namespace {

// What an engineer has written since must not be lost to a second import.
std::string what_exists(const std::filesystem::path& folder, const render::Files& files) {
    for (const render::File& file : files) {
        std::error_code error;
        if (std::filesystem::exists(folder / file.path, error)) {
            return (folder / file.path).string();
        }
    }
    return {};
}

int write_out(const Terminal& terminal, const azure::Start& start, const std::filesystem::path& out) {
    render::Files files{{out.filename(), start.yaml, false}};
    for (const azure::Secret& secret : start.secrets) {
        files.push_back({secret.file, secret.text, true});
    }
    const std::filesystem::path folder = out.has_parent_path() ? out.parent_path() : ".";
    if (const std::string there = what_exists(folder, files); !there.empty()) {
        terminal.err << "twinspanctl: found " << there << ", expected no such file: import replaces nothing\n";
        return kFailed;
    }
    if (const auto done = render::write(folder, files); !done) {
        terminal.err << "twinspanctl: " << done.error().what << '\n';
        return kFailed;
    }
    for (const render::File& file : files) {
        terminal.out << (folder / file.path).string() << (file.secret ? " (0600: holds a secret)" : "") << '\n';
    }
    return kDone;
}

}  // namespace

int import_azure(const Terminal& terminal, const std::filesystem::path& folder, const std::filesystem::path& out) {
    const auto inventory = azure::read_folder(folder);
    if (!inventory) {
        for (const std::string& error : inventory.error()) {
            terminal.err << error << '\n';
        }
        return kFailed;
    }
    const azure::Start start = azure::starting_configuration(*inventory);
    for (const std::string& unknown : start.unknown) {
        terminal.err << "UNKNOWN: " << unknown << '\n';
    }
    if (!out.empty()) {
        return write_out(terminal, start, out);
    }
    for (const azure::Secret& secret : start.secrets) {
        terminal.err << "UNKNOWN: " << secret.file << ": not written, since keys are not printed: use --out\n";
    }
    terminal.out << start.yaml;
    return kDone;
}

}  // namespace twinspan::ctl
