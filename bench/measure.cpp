#include "bench/measure.hpp"

#include "bench/loop.hpp"
#include "bench/statistics.hpp"
#include "dataplane/graph.hpp"

#include <numeric>

namespace twinspan::bench {
namespace {

std::string label(const SizePattern& sizes) { return sizes.size() == 1 ? std::to_string(sizes[0]) : "imix"; }

double mean(const SizePattern& sizes) {
    return static_cast<double>(std::accumulate(sizes.begin(), sizes.end(), 0u)) / static_cast<double>(sizes.size());
}

}  // namespace

// Of all packets, none may be lost: a benchmark of drops would be fast, and wrong.
Result<void> check_all_sent(const WorkerCounters& counters, std::uint64_t packets, std::string_view of) {
    if (counters.tx.read() == packets && counters.rx.read() == packets) {
        return {};
    }
    std::string what = std::string{of} + ": " + std::to_string(packets) + " packets, " +
                       std::to_string(counters.tx.read()) + " transmitted";
    for (const DropInfo& d : kDropInfo) {
        if (counters[d.id].read() != 0) {
            what += ", " + std::string{d.name} + " " + std::to_string(counters[d.id].read());
        }
    }
    return std::unexpected(Error{what});
}

Result<Row> measure(Site& site, const SizePattern& sizes, rte_mempool* pool, Engine& engine, const Effort& effort) {
    Row row{.size = label(sizes), .frame_bytes = mean(sizes)};
    Source source{site, sizes, pool, engine};
    auto counters = std::make_unique<WorkerCounters>();
    auto empty_counters = std::make_unique<WorkerCounters>();
    auto full = std::make_unique<Worker<Graph>>(setup_of(site, source, *counters, engine));
    auto empty = std::make_unique<Worker<EmptyGraph>>(setup_of(site, source, *empty_counters, engine));

    full->join();
    const unsigned warm_up = std::max(static_cast<unsigned>(site.flows().size()) / kBurst + 1, effort.loops_per_sample);
    sample(*full, warm_up);
    std::vector<double> loop, base;
    for (unsigned i = 0; i < effort.samples; ++i) {
        loop.push_back(sample(*full, effort.loops_per_sample));
        base.push_back(sample(*empty, effort.loops_per_sample));
    }
    full->leave();
    row.loop_cycles_per_packet = first_quartile(loop);
    row.empty_cycles_per_packet = first_quartile(base);
    row.cycles_per_packet = row.loop_cycles_per_packet - row.empty_cycles_per_packet;
    row.spread = spread(loop);
    const std::uint64_t packets =
        (std::uint64_t{warm_up} + std::uint64_t{effort.samples} * effort.loops_per_sample) * kBurst;
    if (const Result<void> ok = check_all_sent(*counters, packets, site.name() + "/" + row.size); !ok) {
        return std::unexpected(ok.error());
    }
    return row;
}

}  // namespace twinspan::bench
