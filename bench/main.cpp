// twinspan_bench: cycles per packet of the whole path, beside the bare cipher. scripts/bench builds, runs and draws it.
#include "bench/mirror.hpp"
#include "bench/parts.hpp"
#include "crypto/usage.hpp"
#include "dataplane/io/buffers.hpp"
#include "dataplane/io/eal.hpp"

#include <rte_cycles.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <thread>

namespace twinspan::bench {
namespace {

constexpr std::uint32_t kMemoryMib = 512;
constexpr std::uint32_t kBuffers = 8191;

struct Options {
    bool quick = false;
    std::string output;
    std::vector<std::string> parts;  // of the report; none: all
};

long free_hugepages() {
    std::ifstream file{"/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"};
    long n = 0;
    file >> n;
    return n;
}

std::string cpu_name() {
    std::ifstream file{"/proc/cpuinfo"};
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with("model name")) {
            return line.substr(line.find(':') + 2);
        }
    }
    return "unknown";
}

bool enough_hugepages() {
    constexpr long kNeeded = kMemoryMib / 2;
    if (free_hugepages() >= kNeeded) {
        return true;
    }
    std::cerr << "twinspan_bench: " << free_hugepages() << " free 2 MiB hugepages, " << kNeeded
              << " needed. On 4 KiB pages every packet's header falls in "
              << "the same cache set and the figures are wrong. Get them with:\n    echo " << kNeeded
              << " > /proc/sys/vm/nr_hugepages\n";
    return false;
}

// In the order in which they are measured.
struct Part {
    std::string_view name;
    Result<nlohmann::json> (Bench::*measure)();
};
constexpr std::array kParts{
    Part{"results", &Bench::paths},
    Part{"stages", &Bench::stages},
    Part{"suites", &Bench::suites},
    Part{"outers", &Bench::outers},
    Part{"scale", &Bench::scale},
    Part{"memory", &Bench::memory},
    Part{"workers", &Bench::workers},
    Part{"churn", &Bench::churn},
    Part{"nat", &Bench::nat},
    Part{"nat_memory", &Bench::nat_memory},
    Part{"nat_opening", &Bench::nat_opening},
    Part{"nat_ageing", &Bench::nat_ageing},
    Part{"nat_workers", &Bench::nat_workers},
};

std::vector<std::string> part_names() {
    std::vector<std::string> names;
    for (const Part& part : kParts) {
        names.emplace_back(part.name);
    }
    return names;
}

Result<nlohmann::json> run(const Options& options) {
    Result<Eal> eal =
        Eal::start({.name = "twinspan-bench", .hugepages = true, .memory_mib = kMemoryMib, .args = {"--no-pci"}});
    if (!eal) {
        return std::unexpected(eal.error());
    }
    UsageCounter::set_workers(kMostWorkers);
    const RegisteredThread thread{"bench", std::max(1u, std::thread::hardware_concurrency()) - 1};
    Result<BufferPool> pool = make_buffer_pool("bench", kBuffers);
    auto engine = Engine::create();
    if (!pool || !engine) {
        return std::unexpected(!pool ? pool.error() : Error{engine.error()});
    }
    nlohmann::json report{
        {"machine", {{"cpu", cpu_name()}, {"tsc_hz", rte_get_tsc_hz()}, {"cipher_code", engine->architecture()}}},
        {"suite", "aes-256-gcm"},
        {"burst", kBurst},
        {"quick", options.quick}};
    Bench bench{pool->get(), *engine, options.quick};
    for (const Part& part : kParts) {
        if (!options.parts.empty() && std::ranges::find(options.parts, part.name) == options.parts.end()) {
            continue;
        }
        Result<nlohmann::json> rows = (bench.*part.measure)();
        if (!rows) {
            return rows;
        }
        report[std::string{part.name}] = std::move(*rows);
    }
    return report;
}

int write(const Result<nlohmann::json>& report, const std::string& output) {
    if (!report) {
        std::cerr << "twinspan_bench: " << report.error().what << '\n';
        return 1;
    }
    if (!output.empty()) {
        std::ofstream{output} << report->dump(2) << '\n';
    }
    return 0;
}

}  // namespace
}  // namespace twinspan::bench

int main(int argc, char** argv) {
    twinspan::bench::Options options;
    CLI::App app{"Cycles per packet of Twinspan's packet path, on one core"};
    app.add_flag("--quick", options.quick, "fewer and shorter samples");
    app.add_option("--output", options.output, "write the report as JSON to this file");
    app.add_option("--part", options.parts, "only this part of the report; may be given again")
        ->check(CLI::IsMember(twinspan::bench::part_names()));
    twinspan::bench::MirrorBench mirror;
    CLI::App& mirror_command = *app.add_subcommand("mirror", "the route mirror at the Internet's size, instead");
    mirror_command.add_option("--routes", mirror.routes, "IPv4 routes in the kernel");
    mirror_command.add_option("--seconds", mirror.seconds, "of sustained changes");
    mirror_command.add_option("--churn", mirror.churn, "random changes");
    mirror_command.fallthrough();
    CLI11_PARSE(app, argc, argv);
    if (mirror_command) {
        if (options.quick) {
            mirror.routes = std::min<std::size_t>(mirror.routes, 100'000);
            mirror.seconds = std::min(mirror.seconds, 3u);
            mirror.churn = std::min<std::size_t>(mirror.churn, 60'000);
        }
        return twinspan::bench::write(twinspan::bench::run_mirror(mirror), options.output);
    }
    if (!twinspan::bench::enough_hugepages()) {
        return 2;
    }
    return twinspan::bench::write(twinspan::bench::run(options), options.output);
}
