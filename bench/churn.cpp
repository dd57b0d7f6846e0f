// SAs that come and go while others carry traffic.
#include "bench/parts.hpp"

#include "bench/loop.hpp"
#include "bench/statistics.hpp"
#include "dataplane/graph.hpp"
#include "dataplane/io/eal.hpp"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <deque>
#include <memory>
#include <thread>

namespace twinspan::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr unsigned kBusy = 64;        // tunnels with traffic
constexpr unsigned kChanging = 1'000; // tunnels whose SAs change
constexpr unsigned kPerSecond = 10'000;
constexpr std::chrono::milliseconds kTick{10};
constexpr unsigned kPerRekey = 4;  // changes: an SA of each direction comes, and one goes

Setting churn_setting() {
    Setting setting = scale(kBusy + kChanging);
    setting.busy_routes = kBusy;
    return setting;
}

// The worker's own thread.
class Traffic {
public:
    Traffic(Site& site, rte_mempool* pool, Engine& engine)
        : source_(site, imix(), pool, engine),
          worker_(std::make_unique<Worker<Graph>>(setup_of(site, source_, *counters_, engine))),
          thread_([this] {
              const RegisteredThread registered{"churn", std::max(1u, std::thread::hardware_concurrency()) - 1};
              worker_->join();
              do {
                  samples_.push_back(sample(*worker_, 8));
              } while (!stop_.load(std::memory_order_relaxed));
              worker_->leave();
          }) {}

    // Ends it: what the loop cost, generator included.
    double end() {
        stop_ = true;
        thread_.join();
        return first_quartile(samples_);
    }
    const WorkerCounters& counters() const noexcept { return *counters_; }

private:
    std::unique_ptr<WorkerCounters> counters_ = std::make_unique<WorkerCounters>();
    Source source_;
    std::unique_ptr<Worker<Graph>> worker_;
    std::atomic<bool> stop_{false};
    std::vector<double> samples_;
    std::thread thread_;
};

}  // namespace

Result<nlohmann::json> Bench::churn() {
    nlohmann::json list = nlohmann::json::array();
    const auto seconds = std::chrono::milliseconds{quick_ ? 1'000 : 5'000};
    for (const Path path : {Path::esp_out, Path::esp_in}) {
        auto engine = Engine::create();  // control's
        auto site = Site::create(path, churn_setting(), engine_, now_seconds());
        if (!engine || !site) {
            return std::unexpected(!site ? site.error() : Error{engine.error()});
        }
        double alone = 0;
        {
            Traffic traffic{**site, pool_, engine_};
            std::this_thread::sleep_for(seconds / 4);
            alone = traffic.end();
        }
        Traffic traffic{**site, pool_, engine_};
        const Clock::time_point begin = Clock::now();
        std::uint64_t changes = 0;
        unsigned next = 0;
        Clock::duration busy{};
        for (Clock::time_point tick = begin; tick < begin + seconds; tick += kTick) {
            std::this_thread::sleep_until(tick);
            const Clock::time_point from = Clock::now();
            // What is due by now: a tick that came late catches up.
            const auto due =
                static_cast<std::uint64_t>(std::chrono::duration<double>(from - begin).count() * kPerSecond);
            std::vector<unsigned> rekeyed;
            for (; changes + kPerRekey <= due; changes += kPerRekey) {
                rekeyed.push_back(kBusy + next);
                next = (next + 1) % kChanging;
            }
            if (const auto done = (*site)->rekey(rekeyed, *engine); !done) {
                traffic.end();
                return std::unexpected(done.error());
            }
            busy += Clock::now() - from;
        }
        const double rate = static_cast<double>(changes) / std::chrono::duration<double>(Clock::now() - begin).count();
        const double during = traffic.end();
        const std::uint64_t lost = traffic.counters().rx.read() - traffic.counters().tx.read();
        const double us = std::chrono::duration<double, std::micro>(busy).count() / static_cast<double>(changes);
        std::printf(
            "%-8s %.0f changes of SAs a second among %u: %.2f us each, %llu of %llu packets lost, "
            "loop %.1f cycles, %.1f without\n",
            std::string{name_of(path)}.c_str(), rate, 2 * (kBusy + kChanging), us,
            static_cast<unsigned long long>(lost), static_cast<unsigned long long>(traffic.counters().rx.read()),
            during, alone);
        list.push_back({{"name", name_of(path)},
                        {"changes_per_second", rate},
                        {"control_us_per_change", us},
                        {"packets", traffic.counters().rx.read()},
                        {"lost", lost},
                        {"loop_cycles_per_packet", during},
                        {"loop_cycles_per_packet_without", alone}});
    }
    return list;
}

}  // namespace twinspan::bench
