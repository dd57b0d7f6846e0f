// twinspan_bench: cycles per packet of the whole path, beside the bare cipher. scripts/bench builds, runs and draws it.
#include "bench/measure.hpp"
#include "bench/mirror.hpp"
#include "dataplane/io/buffers.hpp"
#include "dataplane/io/eal.hpp"

#include <rte_cycles.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
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
    std::string only;  // one path
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

nlohmann::json to_json(const Row& row) {
    const double hz = static_cast<double>(rte_get_tsc_hz());
    nlohmann::json j{{"name", row.name},
                     {"setting", row.setting},
                     {"size", row.size},
                     {"cycles_per_packet", row.cycles_per_packet},
                     {"loop_cycles_per_packet", row.loop_cycles_per_packet},
                     {"empty_loop_cycles_per_packet", row.empty_cycles_per_packet},
                     {"spread", row.spread},
                     {"gbps_per_core", row.frame_bytes * 8 * hz / row.cycles_per_packet / 1e9}};
    if (row.raw_cycles_per_packet > 0) {
        j["raw_cycles_per_packet"] = row.raw_cycles_per_packet;
        j["ratio_to_raw"] = row.cycles_per_packet / row.raw_cycles_per_packet;
    }
    return j;
}

Result<std::vector<Row>> run_path(Path path, const Setting& setting, rte_mempool* pool, Engine& engine,
                                  const Effort& effort) {
    const auto now_seconds = static_cast<std::uint32_t>(rte_rdtsc() / rte_get_tsc_hz());
    auto site = Site::create(path, setting, engine, now_seconds);
    if (!site) {
        return std::unexpected(site.error());
    }
    std::vector<Row> rows;
    for (const SizePattern& sizes : {fixed_size(64), fixed_size(512), fixed_size(1420), imix()}) {
        Result<Row> row = measure(**site, path, setting, sizes, pool, engine, effort);
        if (!row) {
            return std::unexpected(row.error());
        }
        if (is_esp(path)) {
            const Result<double> raw = measure_raw(sizes, path == Path::esp_in, engine, effort);
            if (!raw) {
                return std::unexpected(raw.error());
            }
            row->raw_cycles_per_packet = *raw;
        }
        rows.push_back(*row);
    }
    return rows;
}

Result<nlohmann::json> run(const Options& options) {
    const Effort effort = Effort{.samples = options.quick ? 401u : 2001u, .loops_per_sample = 8};
    Result<Eal> eal =
        Eal::start({.name = "twinspan-bench", .hugepages = true, .memory_mib = kMemoryMib, .args = {"--no-pci"}});
    if (!eal) {
        return std::unexpected(eal.error());
    }
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
        {"quick", options.quick},
        {"results", nlohmann::json::array()}};
    for (const Setting& setting : {kOne, kMany}) {
        for (const Path path : kPaths) {
            if (!options.only.empty() && options.only != name_of(path)) {
                continue;
            }
            const auto rows = run_path(path, setting, pool->get(), *engine, effort);
            if (!rows) {
                return std::unexpected(rows.error());
            }
            for (const Row& row : *rows) {
                report["results"].push_back(to_json(row));
                std::printf("%-8s %-5s %5s  path %7.1f  loop %7.1f  empty %7.1f  spread %4.0f %%", row.name.c_str(),
                            row.setting.c_str(), row.size.c_str(), row.cycles_per_packet, row.loop_cycles_per_packet,
                            row.empty_cycles_per_packet, row.spread * 100);
                if (row.raw_cycles_per_packet > 0) {
                    std::printf("  raw %6.1f  ratio %.2f", row.raw_cycles_per_packet,
                                row.cycles_per_packet / row.raw_cycles_per_packet);
                }
                std::printf("\n");
                std::fflush(stdout);
            }
        }
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
    app.add_option("--only", options.only, "one path: forward, nat_out, nat_in, esp_out, esp_in");
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
