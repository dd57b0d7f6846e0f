#include "bench/stages.hpp"

#include "bench/loop.hpp"
#include "bench/statistics.hpp"
#include "dataplane/graph.hpp"

#include <algorithm>

namespace twinspan::bench {
namespace {

// What one stage of the graph took since it was last asked.
struct Clock {
    std::string_view name;
    std::uint64_t cycles = 0;
    std::uint64_t packets = 0;
    std::vector<double> samples;
};

// In the order of first use, which is the path's.
std::vector<Clock*>& clocks() {
    static std::vector<Clock*> list;
    return list;
}

template <Stage S>
class Timed {
public:
    static constexpr std::string_view kName = S::kName;
    void process(Context& ctx, Batch& batch) noexcept {
        if (clock_.name.empty()) {
            clock_.name = kName;
            clocks().push_back(&clock_);
        }
        const std::uint16_t packets = batch.size();
        const std::uint64_t begin = rte_rdtsc();
        stage_.process(ctx, batch);
        clock_.cycles += rte_rdtsc() - begin;
        clock_.packets += packets;
    }

private:
    S stage_;
    Clock clock_;
};

// The graph's own type, with every stage in it timed.
template <class S>
struct WithClocks {
    using type = Timed<S>;
};
template <class... S>
struct WithClocks<Pipeline<S...>> {
    using type = Pipeline<typename WithClocks<S>::type...>;
};
template <class Sorter, class... S>
struct WithClocks<Split<Sorter, S...>> {
    using type = Split<Sorter, typename WithClocks<S>::type...>;
};

class TimedGraph : public Graph {
public:
    TimedGraph() : wire_(std::make_unique<Wire>()) {}
    void from_wire(Context& ctx, Batch& batch) noexcept { wire_->process(ctx, batch); }
    void from_aside(Context&, Batch&) noexcept {}
    void from_oversize(Context&, Batch&) noexcept {}
    void from_fragments(Context&, Batch&) noexcept {}

private:
    using Wire = WithClocks<graph::FromWire>::type;
    std::unique_ptr<Wire> wire_;  // the clocks stay where they are when a worker takes the graph
};

}  // namespace

std::vector<StageCost> measure_stages(Site& site, const SizePattern& sizes, rte_mempool* pool, Engine& engine,
                                      const Effort& effort) {
    clocks().clear();
    Source source{site, sizes, pool, engine};
    auto counters = std::make_unique<WorkerCounters>();
    auto worker = std::make_unique<Worker<TimedGraph>>(setup_of(site, source, *counters, engine));
    worker->join();
    sample(*worker, static_cast<unsigned>(site.flows().size()) / kBurst + 1);
    for (unsigned i = 0; i < effort.samples; ++i) {
        for (Clock* clock : clocks()) {
            clock->cycles = clock->packets = 0;
        }
        sample(*worker, effort.loops_per_sample);
        for (Clock* clock : clocks()) {
            if (clock->packets != 0) {
                clock->samples.push_back(static_cast<double>(clock->cycles) / static_cast<double>(clock->packets));
            }
        }
    }
    worker->leave();
    std::vector<StageCost> costs;
    for (const Clock* clock : clocks()) {
        if (!clock->samples.empty()) {
            costs.push_back({std::string{clock->name}, first_quartile(clock->samples)});
        }
    }
    return costs;
}

}  // namespace twinspan::bench
