#include "control/ctl/cli.hpp"

#include "control/ctl/client.hpp"
#include "control/ctl/files_commands.hpp"
#include "control/ctl/table.hpp"
#include "control/ctl/views.hpp"
#include "dataplane/io/nat_file.hpp"

#include <CLI/CLI.hpp>

#include <chrono>
#include <optional>
#include <ostream>
#include <thread>

namespace twinspan::ctl {

namespace {

using nlohmann::json;

struct Request {
    std::optional<std::string> name;
    std::string what;
    std::string link;
    bool as_json = false;
    bool only_check = false;
    std::string config_file;
    std::string folder;
    std::string out;
};

Result<json> ask(const Terminal& terminal, const Request& request, const json& command) {
    const auto socket = find_socket(terminal.socket_folder, request.name);
    if (!socket) {
        return std::unexpected(socket.error());
    }
    return call(*socket, command);
}

// The daemon walks a large NAT table in steps, and says so while it has seen a part only.
bool is_partial(const json& data) {
    const json::json_pointer complete{"/survey/complete"};
    return data.is_object() && data.contains(complete) && data[complete] == false;
}

Result<json> ask_to_show(const Terminal& terminal, const Request& request) {
    constexpr std::chrono::milliseconds kBetween{50};
    constexpr int kMostTimes = 200;
    const json command{{"command", "show"}, {"what", request.what}};
    auto data = ask(terminal, request, command);
    for (int i = 0; i < kMostTimes && data && is_partial(*data); ++i) {
        std::this_thread::sleep_for(kBetween);
        data = ask(terminal, request, command);
    }
    return data;
}

int show(const Terminal& terminal, const Request& request) {
    const auto data = ask_to_show(terminal, request);
    if (!data) {
        terminal.err << "twinspanctl: " << data.error().what << '\n';
        return kFailed;
    }
    terminal.out << (request.as_json ? data->dump(-1, ' ', false, json::error_handler_t::replace) + '\n'
                                     : view(request.what, *data));
    return kDone;
}

int change_link(const Terminal& terminal, const Request& request, const std::string& command) {
    const auto data = ask(terminal, request, {{"command", command}, {"link", request.link}});
    if (!data) {
        terminal.err << "twinspanctl: " << data.error().what << '\n';
        return kFailed;
    }
    const json state = data->is_object() ? data->value("state", json{}) : json{};
    terminal.out << request.link << " link: " << (state.is_string() ? state.get<std::string>() : "done") << '\n';
    return kDone;
}

int reload(const Terminal& terminal, const Request& request) {
    const auto data = ask(terminal, request, {{"command", "reload"}, {"check", request.only_check}});
    if (!data) {
        terminal.err << "twinspanctl: not reloaded, the running configuration stays:\n" << data.error().what << '\n';
        return kFailed;
    }
    const json changes = data->is_object() ? data->value("changes", json::array()) : json::array();
    if (changes.empty()) {
        terminal.out << "nothing has changed\n";
        return kDone;
    }
    terminal.out << (request.only_check ? "would change:\n" : "changed:\n");
    for (const json& change : changes) {
        terminal.out << "  " << (change.is_string() ? change.get<std::string>() : change.dump()) << '\n';
    }
    return kDone;
}

// Our own version is told whether a daemon runs or not.
int version(const Terminal& terminal, const Request& request) {
    terminal.out << "twinspanctl " TWINSPAN_VERSION "\n";
    const auto data = ask(terminal, request, {{"command", "ping"}});
    if (!data || !data->is_object()) {
        terminal.out << "twinspand: " << (data ? "gave no version" : data.error().what) << '\n';
        return request.name ? kFailed : kDone;
    }
    const json uptime = data->value("uptime_s", json{});
    terminal.out << "twinspand " << data->value("version", "?") << ", " << data->value("name", "?") << ", up "
                 << (uptime.is_number_unsigned() ? human_seconds(uptime.get<std::uint64_t>()) : "?") << '\n';
    return kDone;
}

// The daemon goes on meanwhile, and has nothing to do with it: its sessions lie in a file that is memory.
Result<std::string> save_state(const Terminal& terminal, const Request& request) {
    const auto data = ask(terminal, request, {{"command", "ping"}});
    if (!data) {
        return std::unexpected(data.error());
    }
    const json::json_pointer kept{"/nat_sessions/kept"};
    const json::json_pointer saved{"/nat_sessions/saved"};
    if (!data->contains(kept) || !data->contains(saved)) {
        return std::unexpected(Error{"twinspand keeps no NAT sessions: it has no pool, or no memory for them"});
    }
    const std::filesystem::path standing = (*data)[saved].get<std::string>();
    const std::filesystem::path to = request.out.empty() ? standing : std::filesystem::path{request.out};
    if (request.out.empty()) {
        std::error_code ignored;  // what writes says what is wrong
        std::filesystem::create_directories(to.parent_path(), ignored);
    }
    const auto count = save_nat_sessions((*data)[kept].get<std::string>(), to);
    if (!count) {
        return std::unexpected(count.error());
    }
    return std::to_string(*count) + " NAT sessions saved to " + to.string() +
           (to == standing ? ", which the next start takes" : "; a start takes " + standing.string());
}

int save(const Terminal& terminal, const Request& request) {
    const auto text = save_state(terminal, request);
    if (!text) {
        terminal.err << "twinspanctl: " << text.error().what << '\n';
        return kFailed;
    }
    terminal.out << *text << '\n';
    return kDone;
}

CLI::App* add_render(CLI::App& app, Request& request) {
    auto* render = app.add_subcommand("render", "Write the configuration of a daemon beside us, from ours");
    render->add_option("what", request.what, "frr, strongswan or systemd")
        ->required()
        ->check(CLI::IsMember{std::vector<std::string>{"frr", "strongswan", "systemd"}});
    render->add_option("--config", request.config_file, "Our configuration file")->required();
    render->add_option("--out", request.out, "The folder to write to")->required();
    return render;
}

CLI::App* add_import(CLI::App& app, Request& request) {
    auto* import = app.add_subcommand("import", "Write a starting configuration from what another system knows");
    import->add_option("source", request.what, "azure: ARM template and parameter files")
        ->required()
        ->check(CLI::IsMember{std::vector<std::string>{"azure"}});
    import->add_option("folder", request.folder, "Where the files are")->required();
    import->add_option("--out", request.out, "The file to write (default: print it)");
    return import;
}

}  // namespace

int run(const std::vector<std::string>& arguments, const Terminal& terminal) {
    CLI::App app{"Shows and steers a running twinspand.", "twinspanctl"};
    Request request;
    std::string name;
    auto* name_option = app.add_option("--name", name, "Instance to talk to (default: the only one that runs)");
    app.require_subcommand(1);
    app.fallthrough();

    auto* show_command = app.add_subcommand("show", "Print a table of what the daemon knows");
    std::vector<std::string> kinds{show_kinds().begin(), show_kinds().end()};
    show_command->add_option("what", request.what, "What to show")->required()->check(CLI::IsMember{kinds});
    show_command->add_flag("--json", request.as_json, "Print the daemon's reply as it is");

    auto* drain = app.add_subcommand("drain", "Move all flows off a link or tunnel, without loss");
    drain->add_option("link", request.link, "primary, secondary or the name of a tunnel")->required();
    auto* undrain = app.add_subcommand("undrain", "Use a link or tunnel again");
    undrain->add_option("link", request.link, "primary, secondary or the name of a tunnel")->required();
    auto* reload_command = app.add_subcommand("reload", "Read the configuration again and follow it, without loss");
    reload_command->add_flag("--check", request.only_check, "Only say what would change, or why it cannot");
    auto* version_command = app.add_subcommand("version", "Print the versions of this program and of the daemon");
    auto* save_command = app.add_subcommand("save-state", "Write the NAT sessions to a file, to outlive a reboot");
    save_command->add_option("file", request.out, "The file to write (default: the one that the next start takes)");
    auto* render_command = add_render(app, request);
    auto* import_command = add_import(app, request);

    try {
        app.parse(std::vector<std::string>{arguments.rbegin(), arguments.rend()});
    } catch (const CLI::ParseError& e) {
        return app.exit(e, terminal.out, terminal.err) == 0 ? kDone : kWrongUsage;
    }
    request.name = name_option->count() != 0 ? std::optional{name} : std::nullopt;
    if (show_command->parsed()) {
        return show(terminal, request);
    }
    if (save_command->parsed()) {
        return save(terminal, request);
    }
    if (render_command->parsed()) {
        return render_files(terminal, request.what, request.config_file, request.out);
    }
    if (import_command->parsed()) {
        return import_azure(terminal, request.folder, request.out);
    }
    if (reload_command->parsed()) {
        return reload(terminal, request);
    }
    if (version_command->parsed()) {
        return version(terminal, request);
    }
    return change_link(terminal, request, drain->parsed() ? "drain" : "undrain");
}

}  // namespace twinspan::ctl
