// One tunnel on one worker and on two.
#include "bench/parts.hpp"

#include "bench/loop.hpp"
#include "bench/statistics.hpp"
#include "dataplane/graph.hpp"
#include "dataplane/io/eal.hpp"

#include <barrier>
#include <cstdio>
#include <memory>
#include <optional>
#include <thread>

namespace twinspan::bench {
namespace {

// What one worker found, in TSC cycles per packet.
struct Found {
    double loop = 0, empty = 0;
    std::uint64_t received = 0, sent = 0, replayed = 0;
};

// All at once: first every worker its real loop, then every one its empty loop.
class Team {
public:
    Team(Site& site, const SizePattern& sizes, rte_mempool* pool, const Effort& effort, unsigned workers)
        : site_(site), sizes_(sizes), pool_(pool), effort_(effort), found_(workers), together_(workers) {}

    Result<std::vector<Found>> run() {
        std::vector<std::thread> threads;
        for (unsigned i = 0; i < found_.size(); ++i) {
            auto engine = Engine::create();
            if (!engine) {
                return std::unexpected(Error{engine.error()});
            }
            engines_.push_back(std::make_unique<Engine>(std::move(*engine)));
        }
        for (unsigned i = 0; i < found_.size(); ++i) {
            threads.emplace_back([this, i] { work(i); });
        }
        for (std::thread& thread : threads) {
            thread.join();
        }
        return found_;
    }

private:
    template <class G>
    double samples(Worker<G>& worker) {
        sample(worker, 64);
        together_.arrive_and_wait();
        std::vector<double> taken;
        for (unsigned i = 0; i < effort_.samples; ++i) {
            taken.push_back(sample(worker, effort_.loops_per_sample));
        }
        together_.arrive_and_wait();
        return median(taken);
    }

    void work(unsigned index) {
        const unsigned cpus = std::max(1u, std::thread::hardware_concurrency());
        const RegisteredThread thread{"bench-" + std::to_string(index), cpus - 1 - index % cpus};
        Engine& engine = *engines_[index];
        Source source{site_, sizes_, pool_, engine};
        auto counters = std::make_unique<WorkerCounters>();
        auto unused = std::make_unique<WorkerCounters>();
        const auto at = static_cast<std::uint16_t>(index);
        auto full = std::make_unique<Worker<Graph>>(setup_of(site_, source, *counters, engine, at));
        auto empty = std::make_unique<Worker<EmptyGraph>>(setup_of(site_, source, *unused, engine, at));
        full->join();
        Found& found = found_[index];
        found.loop = samples(*full);
        found.empty = samples(*empty);
        full->leave();
        found.received = counters->rx.read();
        found.sent = counters->tx.read();
        found.replayed = (*counters)[Drop::esp_replayed].read();
    }

    Site& site_;
    SizePattern sizes_;
    rte_mempool* pool_;
    Effort effort_;
    std::vector<Found> found_;
    std::vector<std::unique_ptr<Engine>> engines_;
    std::barrier<> together_;
};

}  // namespace

Result<nlohmann::json> Bench::workers() {
    nlohmann::json list = nlohmann::json::array();
    for (const Path path : {Path::esp_out, Path::esp_in}) {
        for (const SizePattern& sizes : {fixed_size(64), fixed_size(1420)}) {
            for (const unsigned workers : {1u, 2u}) {
                Setting setting = one();
                setting.window = 65'536;  // a worker that loses its CPU for a while must not lose its packets
                auto site = Site::create(path, setting, engine_, now_seconds());
                if (!site) {
                    return std::unexpected(site.error());
                }
                auto found = Team{**site, sizes, pool_, effort_, workers}.run();
                if (!found) {
                    return std::unexpected(found.error());
                }
                double packets_per_cycle = 0, path_cycles = 0;
                std::uint64_t late = 0;
                for (const Found& f : *found) {
                    if (f.received != f.sent + f.replayed) {
                        return std::unexpected(Error{(*site)->name() + " on " + std::to_string(workers) + " workers: " +
                                                     std::to_string(f.received - f.sent) + " packets lost"});
                    }
                    packets_per_cycle += 1 / (f.loop - f.empty);
                    path_cycles += (f.loop - f.empty) / workers;
                    late += f.replayed;
                }
                const double mpps = packets_per_cycle * static_cast<double>(rte_get_tsc_hz()) / 1e6;
                std::printf("%-8s %5u B on %u workers: path %.1f cycles each, %.1f Mpps together, %llu too late\n",
                            std::string{name_of(path)}.c_str(), sizes[0], workers, path_cycles, mpps,
                            static_cast<unsigned long long>(late));
                list.push_back({{"name", name_of(path)},
                                {"size", std::to_string(sizes[0])},
                                {"workers", workers},
                                {"cycles_per_packet", path_cycles},
                                {"mpps", mpps},
                                {"behind_the_window", late}});
            }
        }
    }
    return list;
}

}  // namespace twinspan::bench
