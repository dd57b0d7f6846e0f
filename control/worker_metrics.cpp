#include "control/worker_metrics.hpp"

#include <cstdint>

namespace twinspan {
namespace {

struct Summed {
    Metric metric;
    Counter WorkerCounters::* counter;
};
constexpr Summed kSummed[] = {
    {Metric::ecn_dangerous, &WorkerCounters::ecn_dangerous},
    {Metric::ecn_unused, &WorkerCounters::ecn_unused},
    {Metric::packets_fragmented, &WorkerCounters::fragmented},
    {Metric::fragments_merged, &WorkerCounters::merged},
};

std::uint64_t sum(std::span<const WorkerCounters* const> threads, Counter WorkerCounters::* counter) {
    std::uint64_t total = 0;
    for (const WorkerCounters* thread : threads) {
        total += (thread->*counter).read();
    }
    return total;
}

}  // namespace

void set_worker_metrics(Metrics& metrics, std::span<const WorkerCounters* const> threads) {
    for (const Summed& summed : kSummed) {
        metrics.set(summed.metric, sum(threads, summed.counter));
    }
    // Read one after the other while they count, what one put in and another took out may come to less than nothing.
    const std::uint64_t held = sum(threads, &WorkerCounters::held);
    metrics.set(Metric::fragments_held, static_cast<std::int64_t>(held) < 0 ? 0 : held);
}

}  // namespace twinspan
