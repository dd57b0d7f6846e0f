// twinspand: the daemon. Exit status: 0 an orderly end, 1 it could not start or go on, 2 the configuration was refused.
#include "control/config/load.hpp"
#include "control/config/sa_file.hpp"
#include "control/daemon.hpp"
#include "control/log.hpp"

#include <CLI/CLI.hpp>

#include <csignal>
#include <exception>
#include <iostream>
#include <string>

namespace {

constexpr int kFailed = 1;
constexpr int kRefused = 2;

int refuse(const std::vector<twinspan::ConfigError>& errors) {
    for (const twinspan::ConfigError& error : errors) {
        std::cerr << to_string(error) << '\n';
    }
    return kRefused;
}

// Before any thread exists, so that only the loop's signalfd sees those that are for us. A log that nobody reads any
// more must not stop traffic. SIGHUP reloads: a terminal that closes does no harm, and an ignored signal would be lost.
void prepare_signals() {
    std::signal(SIGHUP, SIG_DFL);
    std::signal(SIGPIPE, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

int run(const std::string& file) {
    auto config = twinspan::load_config_file(file);
    if (!config) {
        return refuse(config.error());
    }
    auto sa_files = twinspan::load_sa_files(config->config);
    if (!sa_files) {
        return refuse(sa_files.error());
    }
    prepare_signals();
    twinspan::start_log();
    auto daemon = twinspan::Daemon::start(std::move(*config), std::move(*sa_files));
    if (!daemon) {
        spdlog::critical("{}", daemon.error().what);
        return kFailed;
    }
    if (const auto ended = (*daemon)->run(); !ended) {
        spdlog::critical("{}", ended.error().what);
        return kFailed;
    }
    return 0;
}

int parse_and_run(int argc, char** argv) {
    CLI::App app{"Data plane for both links of an ExpressRoute circuit.", "twinspand"};
    std::string config_file;
    std::string check_file;
    auto* config = app.add_option("--config", config_file, "Run with this configuration file");
    auto* check =
        app.add_option("--check", check_file, "Say whether this configuration file is right, and change nothing");
    app.set_version_flag("--version", "twinspand " TWINSPAN_VERSION);
    config->excludes(check);
    try {
        app.parse(argc, argv);
        if (config->count() + check->count() == 0) {
            throw CLI::RequiredError("--config FILE or --check FILE");
        }
    } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? 0 : kRefused;
    }
    return check->count() != 0 ? twinspan::check_command(check_file, std::cout) : run(config_file);
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return parse_and_run(argc, argv);
    } catch (const std::exception& e) {
        std::cerr << "twinspand: " << e.what() << '\n';
        return kFailed;
    }
}
