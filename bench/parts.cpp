#include "bench/parts.hpp"

#include "bench/bare_cipher.hpp"
#include "bench/stages.hpp"

#include <rte_cycles.h>

#include <cstdio>

namespace twinspan::bench {
namespace {

using nlohmann::json;

json to_json(const Row& row) {
    const double hz = static_cast<double>(rte_get_tsc_hz());
    json j{{"size", row.size},
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

void print(const json& row, const Row& r) {
    std::string what = row["name"];
    for (const auto& [key, value] : row.items()) {
        if (key == "setting" || key == "suite" || key == "outer" || key == "tunnels" || key == "sessions") {
            what += " " + (value.is_string() ? value.get<std::string>() : value.dump());
        }
    }
    std::printf("%-40s %5s  path %7.1f  loop %7.1f  empty %7.1f  spread %4.0f %%", what.c_str(), r.size.c_str(),
                r.cycles_per_packet, r.loop_cycles_per_packet, r.empty_cycles_per_packet, r.spread * 100);
    if (r.raw_cycles_per_packet > 0) {
        std::printf("  bare %6.1f  ratio %.2f", r.raw_cycles_per_packet, r.cycles_per_packet / r.raw_cycles_per_packet);
    }
    std::printf("\n");
    std::fflush(stdout);
}

using Sizes = std::vector<SizePattern>;
Sizes fixed_sizes() { return {fixed_size(64), fixed_size(512), fixed_size(1420)}; }

}  // namespace

void append(json& list, const json& label, const Row& row) {
    json j = to_json(row);
    j.update(label);
    print(j, row);
    list.push_back(std::move(j));
}

Bench::Bench(rte_mempool* pool, Engine& engine, bool quick)
    : pool_(pool), engine_(engine), quick_(quick), effort_{.samples = quick ? 401u : 2001u, .loops_per_sample = 8} {}

std::uint32_t Bench::now_seconds() const noexcept { return static_cast<std::uint32_t>(rte_rdtsc() / rte_get_tsc_hz()); }

Result<double> Bench::bare(Suite suite, const SizePattern& sizes, Path path) {
    Result<BareCipher> cipher = BareCipher::create(suite);
    if (!cipher) {
        return std::unexpected(cipher.error());
    }
    return cipher->cycles(sizes, path == Path::esp_in ? Direction::open : Direction::seal, effort_.samples);
}

Result<std::vector<Row>> Bench::rows(Path path, const Setting& setting, const std::vector<SizePattern>& sizes) {
    auto site = Site::create(path, setting, engine_, now_seconds());
    if (!site) {
        return std::unexpected(site.error());
    }
    std::vector<Row> rows;
    for (const SizePattern& size : sizes) {
        Result<Row> row = measure(**site, size, pool_, engine_, effort_);
        if (!row) {
            return std::unexpected(row.error());
        }
        if (is_esp(path)) {
            const Result<double> bare_call = bare(setting.suite, size, path);
            if (!bare_call) {
                return std::unexpected(bare_call.error());
            }
            row->raw_cycles_per_packet = *bare_call;
        }
        rows.push_back(*row);
    }
    return rows;
}

Result<json> Bench::paths() {
    std::vector<SizePattern> sizes = fixed_sizes();
    sizes.push_back(imix());
    json list = json::array();
    for (const Setting& setting : {one(), many()}) {
        for (const Path path : kPaths) {
            const auto measured = rows(path, setting, sizes);
            if (!measured) {
                return std::unexpected(measured.error());
            }
            for (const Row& row : *measured) {
                append(list, {{"name", name_of(path)}, {"setting", setting.name}}, row);
            }
        }
    }
    return list;
}

Result<json> Bench::both_ways(const Setting& setting, const std::vector<SizePattern>& sizes, const json& label) {
    json list = json::array();
    for (const Path path : {Path::esp_out, Path::esp_in}) {
        const auto measured = rows(path, setting, sizes);
        if (!measured) {
            return std::unexpected(measured.error());
        }
        for (const Row& row : *measured) {
            json named = label;
            named["name"] = name_of(path);
            append(list, named, row);
        }
    }
    return list;
}

Result<json> Bench::suites() {
    json list = json::array();
    for (const Suite suite : {Suite::aes_128_gcm, Suite::chacha20_poly1305, Suite::aes_256_cbc_hmac_sha256}) {
        Setting setting = one();
        setting.suite = suite;
        const auto measured =
            both_ways(setting, quick_ ? Sizes{fixed_size(1420)} : fixed_sizes(), {{"suite", name(suite)}});
        if (!measured) {
            return measured;
        }
        list.insert(list.end(), measured->begin(), measured->end());
    }
    return list;
}

Result<json> Bench::outers() {
    json list = json::array();
    for (const auto& [outer, label] : {std::pair{Outer::udp, "IPv4, UDP 4500"}, std::pair{Outer::ipv6, "IPv6"}}) {
        Setting setting = one();
        setting.outer = outer;
        const auto measured = both_ways(setting, quick_ ? Sizes{fixed_size(64)} : fixed_sizes(), {{"outer", label}});
        if (!measured) {
            return measured;
        }
        list.insert(list.end(), measured->begin(), measured->end());
    }
    return list;
}

Result<json> Bench::scale() {
    json list = json::array();
    const std::vector<unsigned> counts =
        quick_ ? std::vector<unsigned>{1, 1'000} : std::vector<unsigned>{1, 64, 1'000, 10'000};
    for (const unsigned tunnels : counts) {
        const auto measured =
            both_ways(bench::scale(tunnels), {fixed_size(64), fixed_size(1420)}, {{"tunnels", tunnels}});
        if (!measured) {
            return measured;
        }
        list.insert(list.end(), measured->begin(), measured->end());
    }
    return list;
}

Result<json> Bench::stages() {
    json list = json::array();
    for (const Path path : {Path::forward, Path::esp_out, Path::esp_in}) {
        auto site = Site::create(path, one(), engine_, now_seconds());
        if (!site) {
            return std::unexpected(site.error());
        }
        for (const SizePattern& size : {fixed_size(64), fixed_size(1420)}) {
            json costs = json::array();
            std::printf("%-8s %5u ", std::string{name_of(path)}.c_str(), size[0]);
            for (const StageCost& cost : measure_stages(**site, size, pool_, engine_, effort_)) {
                costs.push_back({{"stage", cost.name}, {"cycles_per_packet", cost.cycles_per_packet}});
                std::printf(" %s %.1f", cost.name.c_str(), cost.cycles_per_packet);
            }
            std::printf("\n");
            list.push_back({{"name", name_of(path)}, {"size", std::to_string(size[0])}, {"stages", std::move(costs)}});
        }
    }
    return list;
}

}  // namespace twinspan::bench
