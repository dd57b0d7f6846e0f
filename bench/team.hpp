// Several workers at once over one site, each on a core of its own.
#pragma once

#include "bench/loop.hpp"
#include "bench/measure.hpp"
#include "bench/statistics.hpp"
#include "dataplane/io/eal.hpp"

#include <algorithm>
#include <barrier>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace twinspan::bench {

// What one worker receives.
class Feed {
public:
    virtual ~Feed() = default;
    virtual std::vector<RxQueue> queues() noexcept = 0;
};
// On the worker's own thread.
using MakeFeed = std::function<std::unique_ptr<Feed>(unsigned worker, Engine& engine)>;

// What one worker found; medians, in TSC cycles per packet.
struct Found {
    double loop = 0, empty = 0;
    std::uint64_t received = 0, sent = 0, replayed = 0;

    double path() const noexcept { return loop - empty; }
};

// All at once: first every worker its real loop, then every one its empty loop.
class Team {
public:
    Team(Site& site, MakeFeed make_feed, const Effort& effort, unsigned workers)
        : site_(site), make_feed_(std::move(make_feed)), effort_(effort), found_(workers), together_(workers) {}

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
    double samples(Worker<G>& worker, std::size_t queues) {
        sample(worker, 64);
        together_.arrive_and_wait();
        std::vector<double> taken;
        for (unsigned i = 0; i < effort_.samples; ++i) {
            taken.push_back(sample(worker, effort_.loops_per_sample) / static_cast<double>(queues));
        }
        together_.arrive_and_wait();
        return median(taken);
    }

    void work(unsigned index) {
        const unsigned cpus = std::max(1u, std::thread::hardware_concurrency());
        const RegisteredThread thread{"bench-" + std::to_string(index), cpus - 1 - index % cpus};
        Engine& engine = *engines_[index];
        const std::unique_ptr<Feed> feed = make_feed_(index, engine);
        auto counters = std::make_unique<WorkerCounters>();
        auto unused = std::make_unique<WorkerCounters>();
        const auto at = static_cast<std::uint16_t>(index);
        const std::vector<RxQueue> queues = feed->queues();
        auto full = std::make_unique<Worker<Graph>>(setup_of(site_, queues, *counters, engine, at));
        auto empty = std::make_unique<Worker<EmptyGraph>>(setup_of(site_, queues, *unused, engine, at));
        full->join();
        Found& found = found_[index];
        found.loop = samples(*full, queues.size());
        found.empty = samples(*empty, queues.size());
        full->leave();
        found.received = counters->rx.read();
        found.sent = counters->tx.read();
        found.replayed = (*counters)[Drop::esp_replayed].read();
    }

    Site& site_;
    MakeFeed make_feed_;
    Effort effort_;
    std::vector<Found> found_;
    std::vector<std::unique_ptr<Engine>> engines_;
    std::barrier<> together_;
};

}  // namespace twinspan::bench
