// The real worker loop over a generator port, set up for one path of a site.
#pragma once

#include "bench/site.hpp"
#include "bench/traffic.hpp"
#include "dataplane/graph.hpp"
#include "dataplane/worker.hpp"

#include <rte_cycles.h>

#include <memory>
#include <utility>
#include <vector>

namespace twinspan::bench {

// The same loop, with nothing between receiving from a port and transmitting.
class EmptyGraph : public Graph {
public:
    void from_wire(Context& ctx, Batch& batch) noexcept {
        for (rte_mbuf* m : batch) {
            ctx.transmit[kOutside].push(m);
        }
        batch.clear();
    }
};

// What arrives on a path: plain packets, or for esp_in those that the peer seals.
class Source {
public:
    Source(Site& site, const SizePattern& sizes, rte_mempool* pool, Engine& engine)
        : flows_(pool, site.rx_port(), kOurMac, site.flows(), sizes) {
        if (site.path() == Path::esp_in) {
            sealed_ = std::make_unique<SealedSource>(flows_, site.peer(), engine, site.rx_port());
        }
    }
    RxQueue queue() noexcept { return sealed_ ? sealed_->queue() : flows_.queue(); }

private:
    FlowSource flows_;
    std::unique_ptr<SealedSource> sealed_;
};

inline WorkerSetup setup_of(Site& site, std::vector<RxQueue> queues, WorkerCounters& counters, Engine& engine,
                            std::uint16_t index = 0) {
    WorkerSetup setup;
    setup.index = index;
    setup.rx = std::move(queues);
    setup.tx = {null_tx_queue(), null_tx_queue()};
    setup.snapshots = &site.snapshots();
    setup.counters = &counters;
    setup.crypto = &engine;
    setup.nat = &site.nat();
    setup.nat_ageing_steps = nat_ageing_steps(setup.nat->capacity(), 1);
    return setup;
}

inline WorkerSetup setup_of(Site& site, Source& source, WorkerCounters& counters, Engine& engine) {
    return setup_of(site, std::vector{source.queue()}, counters, engine);
}

// Fails, with what became of them, unless the worker sent as many packets as it was to.
Result<void> check_all_sent(const WorkerCounters& counters, std::uint64_t packets, std::string_view of);

// TSC cycles per packet of so many loops.
template <class G>
double sample(Worker<G>& worker, unsigned loops) {
    const std::uint64_t begin = rte_rdtsc();
    for (unsigned i = 0; i < loops; ++i) {
        worker.loop();
    }
    return static_cast<double>(rte_rdtsc() - begin) / (static_cast<double>(loops) * kBurst);
}

}  // namespace twinspan::bench
