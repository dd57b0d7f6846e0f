#include "bench/measure.hpp"

#include "crypto/esp_format.hpp"
#include "dataplane/graph.hpp"
#include "dataplane/worker.hpp"

#include <rte_cycles.h>

#include <algorithm>
#include <numeric>

namespace twinspan::bench {
namespace {

// The same loop, with nothing between receiving and transmitting.
class EmptyGraph {
public:
    void from_wire(Context& ctx, Batch& batch) noexcept {
        for (rte_mbuf* m : batch) {
            ctx.transmit[kOutside].push(m);
        }
        batch.clear();
    }
    void from_linux(Context&, Batch&) noexcept {}
    void from_self(Context&, Batch&) noexcept {}
    void from_worker(Context&, Batch&) noexcept {}
};

// What else runs on the machine only adds to a sample, and on a busy one it adds to many.
double first_quartile(std::vector<double> v) {
    std::ranges::sort(v);
    return v[v.size() / 4];
}

double spread(std::vector<double> v) {
    std::ranges::sort(v);
    return (v[v.size() * 3 / 4] - v[v.size() / 4]) / v[v.size() / 2];
}

class Source {
public:
    Source(Site& site, Path path, const SizePattern& sizes, rte_mempool* pool, Engine& engine)
        : flows_(pool, site.rx_port(), kOurMac, site.flows(), sizes) {
        if (path == Path::esp_in) {
            sealed_ = std::make_unique<SealedSource>(flows_, site.peer(), engine, site.rx_port());
        }
    }
    RxQueue queue() noexcept { return sealed_ ? sealed_->queue() : flows_.queue(); }

private:
    FlowSource flows_;
    std::unique_ptr<SealedSource> sealed_;
};

WorkerSetup setup_of(Site& site, Source& source, WorkerCounters& counters, Engine& engine) {
    WorkerSetup setup;
    setup.rx = {source.queue()};
    setup.tx = {null_tx_queue(), null_tx_queue()};
    setup.snapshots = &site.snapshots();
    setup.counters = &counters;
    setup.crypto = &engine;
    setup.nat = &site.nat();
    return setup;
}

template <class G>
double sample(Worker<G>& worker, unsigned loops) {
    const std::uint64_t begin = rte_rdtsc();
    for (unsigned i = 0; i < loops; ++i) {
        worker.loop();
    }
    return static_cast<double>(rte_rdtsc() - begin) / (static_cast<double>(loops) * kBurst);
}

// Of all packets, none may be lost: a benchmark of drops would be fast, and wrong.
Result<void> check(const WorkerCounters& counters, std::uint64_t packets, const Row& row) {
    if (counters.tx.read() == packets && counters.rx.read() == packets) {
        return {};
    }
    std::string what = row.name + "/" + row.setting + "/" + row.size + ": " + std::to_string(packets) + " packets, " +
                       std::to_string(counters.tx.read()) + " transmitted";
    for (const DropInfo& d : kDropInfo) {
        if (counters[d.id].read() != 0) {
            what += ", " + std::string{d.name} + " " + std::to_string(counters[d.id].read());
        }
    }
    return std::unexpected(Error{what});
}

std::string label(const SizePattern& sizes) { return sizes.size() == 1 ? std::to_string(sizes[0]) : "imix"; }

double mean(const SizePattern& sizes) {
    return static_cast<double>(std::accumulate(sizes.begin(), sizes.end(), 0u)) / static_cast<double>(sizes.size());
}

// What ESP seals of a frame: the IP packet, padding and the rest of the trailer (RFC 4303 section 2.4).
std::size_t sealed_bytes(std::size_t frame) {
    const std::size_t packet = frame - sizeof(EthernetHeader);
    return packet + pad_len(layout_of(Suite::aes_256_gcm), packet) + kEspTrailerMinLen;
}

}  // namespace

Result<Row> measure(Site& site, Path path, const Setting& setting, const SizePattern& sizes, rte_mempool* pool,
                    Engine& engine, const Effort& effort) {
    Row row{.name = std::string{name_of(path)},
            .setting = std::string{setting.name},
            .size = label(sizes),
            .frame_bytes = mean(sizes),
            .cycles_per_packet = 0,
            .loop_cycles_per_packet = 0,
            .empty_cycles_per_packet = 0,
            .spread = 0};
    Source source{site, path, sizes, pool, engine};
    auto counters = std::make_unique<WorkerCounters>();
    auto empty_counters = std::make_unique<WorkerCounters>();
    auto full = std::make_unique<Worker<Graph>>(setup_of(site, source, *counters, engine));
    auto empty = std::make_unique<Worker<EmptyGraph>>(setup_of(site, source, *empty_counters, engine));

    full->join();
    const unsigned warm_up = std::max(setting.sessions / kBurst + 1, effort.loops_per_sample);
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
    if (const Result<void> ok = check(*counters, packets, row); !ok) {
        return std::unexpected(ok.error());
    }
    return row;
}

Result<double> measure_raw(const SizePattern& sizes, bool open, Engine& engine, const Effort& effort) {
    const std::vector<std::uint8_t> key(key_len(Suite::aes_256_gcm), 0x5a);
    auto expanded = engine.expand(Suite::aes_256_gcm, key);
    if (!expanded) {
        return std::unexpected(Error{expanded.error()});
    }
    alignas(64) std::array<std::uint8_t, 2048> buffer{};
    alignas(16) std::array<std::uint8_t, 16> nonce{}, icv{};
    const std::array<std::uint8_t, 8> aad{};
    const unsigned calls = effort.loops_per_sample * kBurst;
    std::vector<double> samples;
    for (unsigned s = 0; s <= effort.samples; ++s) {
        std::size_t next = 0;
        const std::uint64_t begin = rte_rdtsc();
        for (unsigned i = 0; i < calls; ++i) {
            ++nonce[4];
            const std::size_t bytes = sealed_bytes(sizes[next]);
            if (open) {
                engine.open(*expanded, buffer.data(), bytes, nonce.data(), aad.data(), aad.size(), icv.data());
            } else {
                engine.seal(*expanded, buffer.data(), bytes, nonce.data(), aad.data(), aad.size(), icv.data());
            }
            next = next + 1 == sizes.size() ? 0 : next + 1;
        }
        if (s != 0) {  // the first warms up
            samples.push_back(static_cast<double>(rte_rdtsc() - begin) / calls);
        }
    }
    return first_quartile(samples);
}

}  // namespace twinspan::bench
