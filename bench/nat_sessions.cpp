// How fast NAT sessions begin, and how long a burst takes while many begin or end.
#include "bench/nat_flows.hpp"
#include "bench/parts.hpp"

#include "bench/loop.hpp"
#include "bench/statistics.hpp"
#include "dataplane/graph.hpp"

#include <rte_cycles.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace twinspan::bench {
namespace {

using nlohmann::json;

constexpr unsigned kEmptyLoops = 5;  // take as long as one that translates
constexpr std::uint32_t kLongAgo = 100'000;  // seconds: beyond every timeout

double us(double cycles) { return cycles * 1e6 / static_cast<double>(rte_get_tsc_hz()); }

// What each of many bursts took, in TSC cycles, and when it began.
class Bursts {
public:
    template <class G>
    void time(Worker<G>& worker, unsigned loops = 1) {
        const std::uint64_t begin = rte_rdtsc();
        for (unsigned i = 0; i < loops; ++i) {
            worker.loop();
        }
        add(begin, rte_rdtsc() - begin);
    }
    void add(std::uint64_t begin, std::uint64_t cycles) {
        cycles_.push_back(static_cast<std::uint32_t>(std::min<std::uint64_t>(cycles, 0xffffffff)));
        total_ += static_cast<double>(cycles);
        const std::uint64_t window = begin / (rte_get_tsc_hz() / 100);
        if (windows_.empty() || window != window_) {
            windows_.push_back(0);
            window_ = window;
        }
        windows_.back() = std::max(windows_.back(), static_cast<double>(cycles));
    }
    std::size_t count() const noexcept { return cycles_.size(); }
    double total() const noexcept { return total_; }
    // In microseconds. `typical_longest_us`: the median of the longest of every 10 ms: what recurs is in it, what the
    // machine does now and then is not.
    json summary() const {
        std::vector<std::uint32_t> v = cycles_;
        std::ranges::sort(v);
        const auto at = [&v](double part) {
            return us(v[static_cast<std::size_t>(part * static_cast<double>(v.size() - 1))]);
        };
        return {{"median_us", at(0.5)},
                {"p99_us", at(0.99)},
                {"p999_us", at(0.999)},
                {"longest_us", at(1)},
                {"typical_longest_us", us(median(windows_))}};
    }

private:
    std::vector<std::uint32_t> cycles_;
    std::vector<double> windows_;
    std::uint64_t window_ = 0;
    double total_ = 0;
};

WorkerSetup without_nat(WorkerSetup setup) {
    setup.nat = nullptr;  // and nothing to age
    return setup;
}

// A worker, and beside it one that does nothing: what the machine takes from the one, it takes from the other.
struct Pair {
    Pair(Site& site, rte_mempool* pool, Engine& engine)
        : source(site, fixed_size(64), pool, engine),
          full(std::make_unique<Worker<Graph>>(setup_of(site, source, *counters, engine))),
          empty(std::make_unique<Worker<EmptyGraph>>(without_nat(setup_of(site, source, *unused, engine)))) {
        full->join();
    }
    ~Pair() { full->leave(); }

    std::unique_ptr<WorkerCounters> counters = std::make_unique<WorkerCounters>();
    std::unique_ptr<WorkerCounters> unused = std::make_unique<WorkerCounters>();
    Source source;
    std::unique_ptr<Worker<Graph>> full;
    std::unique_ptr<Worker<EmptyGraph>> empty;
};

void print(const char* what, const json& row) {
    std::printf("%-40s median %.1f, p99 %.1f, p99.9 %.1f, longest %.1f, of 10 ms %.1f us\n", what,
                row["median_us"].get<double>(), row["p99_us"].get<double>(), row["p999_us"].get<double>(),
                row["longest_us"].get<double>(), row["typical_longest_us"].get<double>());
    std::fflush(stdout);
}

}  // namespace

// Every packet opens a session, until the table is full.
Result<json> Bench::nat_opening() {
    json list = json::array();
    std::vector<unsigned> counts{100'000, 1'000'000};
    if (!quick_) {
        counts.push_back(10'000'000);
    }
    for (const unsigned sessions : counts) {
        Setting setting = nat_scale(sessions);
        setting.opened = false;
        try {
            auto site = Site::create(Path::nat_out, setting, engine_, now_seconds());
            if (!site) {
                return std::unexpected(site.error());
            }
            Pair pair{**site, pool_, engine_};
            Bursts bursts;
            const unsigned loops = sessions / kBurst;
            for (unsigned i = 0; i < loops; ++i) {
                bursts.time(*pair.full);
            }
            const std::uint64_t packets = std::uint64_t{loops} * kBurst;
            if (const Result<void> ok = check_all_sent(*pair.counters, packets, "new sessions"); !ok) {
                return std::unexpected(ok.error());
            }
            if (const std::uint64_t opened = (*site)->nat().usage(0).sessions; opened != packets) {
                return std::unexpected(
                    Error{std::to_string(packets) + " packets opened " + std::to_string(opened) + " sessions"});
            }
            json row = bursts.summary();
            row["sessions"] = sessions;
            row["per_second"] = static_cast<double>(packets) * static_cast<double>(rte_get_tsc_hz()) / bursts.total();
            std::printf("%u sessions open: %.2f million a second; bursts of %u of them\n", sessions,
                        row["per_second"].get<double>() / 1e6, kBurst);
            print("  bursts", row);
            list.push_back(std::move(row));
        } catch (const std::bad_alloc&) {
            std::printf("%u sessions open: skipped, too few hugepages for their table\n", sessions);
            list.push_back({{"sessions", sessions}, {"skipped", "too few hugepages for their table"}});
        }
    }
    return list;
}

// A thousand sessions have traffic, while many others end.
Result<json> Bench::nat_ageing() {
    const unsigned sessions = quick_ ? 100'000 : 1'000'000;
    Setting setting = one();
    setting.nat_records = sessions + 4'096;
    setting.nat_workers = 1;
    auto site = Site::create(Path::nat_out, setting, engine_, now_seconds());
    if (!site) {
        return std::unexpected(site.error());
    }
    NatTable& table = (*site)->nat();
    const NatPool& nat_pool = (*site)->snapshots().read().pools[0];
    for (NatFlows flows{4}; table.usage(0).sessions < sessions + setting.sessions;) {
        table.open(0, flows.next(), nat_pool, now_seconds() - kLongAgo);
    }
    Pair pair{**site, pool_, engine_};
    std::uint64_t most = 0;  // sessions that one burst ended
    Bursts full, ending, empty;
    for (std::uint64_t left = table.usage(0).sessions; left > setting.sessions;) {
        const std::uint64_t begin = rte_rdtsc();
        pair.full->loop();
        const std::uint64_t cycles = rte_rdtsc() - begin;
        full.add(begin, cycles);
        const std::uint64_t before = std::exchange(left, table.usage(0).sessions);
        if (left != before) {
            ending.add(begin, cycles);
            most = std::max(most, before - left);
        }
        empty.time(*pair.empty, kEmptyLoops);
    }
    if (const Result<void> ok = check_all_sent(*pair.counters, full.count() * kBurst, "while sessions end"); !ok) {
        return std::unexpected(ok.error());
    }
    json row = full.summary(), enders = ending.summary(), beside = empty.summary();
    row["sessions"] = sessions;
    row["seconds"] = us(full.total() + empty.total()) / 1e6;
    std::printf("%u sessions end in %.1f s\n", sessions, row["seconds"].get<double>());
    print("  bursts meanwhile", row);
    std::printf("  %zu of them end sessions, up to %llu\n", ending.count(), static_cast<unsigned long long>(most));
    print("  those", enders);
    print("  empty loops of that length", beside);
    row["ending"] = std::move(enders);
    row["most_ended"] = most;
    row["empty"] = std::move(beside);
    return json::array({std::move(row)});
}

}  // namespace twinspan::bench
