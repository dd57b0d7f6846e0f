#include "dataplane/dataplane.hpp"

#include "crypto/ipsec_mb.hpp"
#include "dataplane/config/fib.hpp"
#include "dataplane/config/snapshot_slot.hpp"
#include "dataplane/graph.hpp"
#include "dataplane/io/buffers.hpp"
#include "dataplane/io/eal.hpp"
#include "dataplane/io/eal_memory.hpp"
#include "dataplane/io/nat_keeper.hpp"
#include "dataplane/io/port.hpp"
#include "dataplane/io/punt_thread.hpp"
#include "dataplane/nat_restart.hpp"
#include "dataplane/state/nat_table.hpp"
#include "dataplane/state/reassembly.hpp"
#include "dataplane/worker.hpp"

#include <rte_cycles.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>

namespace twinspan {
namespace {

// Room for what all others receive while the owner sleeps at its longest (200 us at 20 million packets a second).
constexpr unsigned kOwnerRing = 4096;

constexpr unsigned kOffers = 1024;

// Of one worker: 60 ms of opening and ending 250,000 sessions a second, 1.5 MiB.
constexpr std::size_t kNatEvents = 32768;

// Of one packet's fragments those that come at all come together, and at 10 Gbit/s an ID is used again within a second
// (RFC 4963).
constexpr std::uint64_t kReassemblySeconds = 2;

struct WorkerThread {
    std::unique_ptr<Engine> crypto;
    std::unique_ptr<WorkerCounters> counters = std::make_unique<WorkerCounters>();
    std::unique_ptr<Worker<Graph>> worker;
    std::thread thread;
};

constexpr std::uint32_t kLeastMib = 64;  // for EAL, when most of its share of huge pages has gone to what is kept

std::optional<NatKeeper> open_keeper(const DataplaneOptions& options) {
    if (!options.keep_nat) {
        return std::nullopt;
    }
    return NatKeeper::open({.name = options.name,
                            .sessions = options.nat_sessions,
                            .hugepages = options.hugepages,
                            .saved = options.nat_saved});
}

Error mtu_error(const std::string& what, std::uint16_t mtu, std::uint16_t most) {
    return {what + ": MTU " + std::to_string(mtu) + " is more than the " + std::to_string(most) +
            " that buffers are made for"};
}

}  // namespace

// Declared in the order of need: what comes later uses what comes before, and ends first.
struct Dataplane::Impl {
    Impl(const DataplaneOptions& o, Eal e, std::optional<NatKeeper> k)
        : options(o), eal(std::move(e)), keeper(std::move(k)) {}
    ~Impl() {
        stop();
        for (const auto& ring : owners) {
            while (rte_mbuf* m = ring->take()) {
                rte_pktmbuf_free(m);
            }
        }
    }

    Result<void> make_tables();
    Result<void> make_workers();
    void deal_queues(std::vector<WorkerSetup>& setups) const;
    std::vector<SharedRing<rte_mbuf>*> owner_rings() const;
    void stop();

    DataplaneOptions options;
    Eal eal;
    std::optional<NatKeeper> keeper;  // under the lock that `eal` holds
    NatKept kept;
    BufferPool buffers;
    BufferPool large_buffers;
    std::unique_ptr<Reassembly> reassembly;
    std::unique_ptr<SnapshotSlot> snapshots;
    std::unique_ptr<Fib4> fib4;
    std::unique_ptr<Fib6> fib6;
    std::unique_ptr<NatTable> nat;
    std::unique_ptr<NatEventRings> nat_events;  // null: nobody wants any
    std::unique_ptr<PuntThread> punt;
    std::vector<std::unique_ptr<SharedRing<rte_mbuf>>>
        owners;  // by worker: packets for the tunnels that it alone encrypts; none for a single one
    std::unique_ptr<BurstOffers> offers;  // bursts of ESP that any worker may decrypt; none for a single one
    std::vector<Port> ports;
    std::vector<WorkerThread> workers;
    std::atomic<bool> stopping{false};  // control: writes, worker: reads
    bool started = false;
};

Result<void> Dataplane::Impl::make_tables() {
    auto pool = make_buffer_pool("buffers", options.buffers, options.max_mtu);
    if (!pool) {
        return std::unexpected(pool.error());
    }
    buffers = std::move(*pool);
    pool = make_buffer_pool("large", options.large_buffers, kLargePacket);
    if (!pool) {
        return std::unexpected(pool.error());
    }
    large_buffers = std::move(*pool);
    reassembly = std::make_unique<Reassembly>(
        ReassemblyOptions{.datagrams = options.reassembled, .timeout_tsc = kReassemblySeconds * rte_get_tsc_hz()});
    snapshots = std::make_unique<SnapshotSlot>(options.workers, std::make_unique<const Snapshot>());
    auto v4 = Fib4::create("fib4", options.max_routes4);
    auto v6 = Fib6::create("fib6", options.max_routes6);
    if (!v4 || !v6) {
        return std::unexpected(!v4 ? v4.error() : v6.error());
    }
    fib4 = std::make_unique<Fib4>(std::move(*v4));
    fib6 = std::make_unique<Fib6>(std::move(*v6));
    const GracePeriod::Synchronize synchronize = [this] { snapshots->synchronize(); };
    fib4->synchronize_with(synchronize);
    fib6->synchronize_with(synchronize);
    nat =
        std::make_unique<NatTable>(NatTableOptions{.sessions = options.nat_sessions,
                                                   .workers = options.workers,
                                                   .seed = keeper ? keeper->seed() : 0,
                                                   .memory = options.hugepages ? eal_memory() : NatMemory::anonymous(),
                                                   .records = keeper ? keeper->records() : nullptr},
                                   snapshots->readers());
    if (options.nat_events != 0) {
        nat_events = std::make_unique<NatEventRings>(options.workers, options.nat_events, kNatEvents, rte_get_tsc_hz());
        for (std::uint16_t w = 0; w < options.workers; ++w) {
            nat->tell(w, nat_events->of(w));
        }
    }
    auto punt_thread = PuntThread::create("punt", options.workers, buffers.get());
    if (!punt_thread) {
        return std::unexpected(punt_thread.error());
    }
    punt = std::move(*punt_thread);
    return {};
}

Result<void> Dataplane::Impl::make_workers() {
    for (std::uint16_t w = 0; w < options.workers; ++w) {
        auto engine = Engine::create();
        if (!engine) {
            return std::unexpected(Error{"IPsec-MB: " + engine.error()});
        }
        workers.emplace_back().crypto = std::make_unique<Engine>(std::move(*engine));
    }
    if (options.workers > 1) {
        for (std::uint16_t w = 0; w < options.workers; ++w) {
            owners.push_back(std::make_unique<SharedRing<rte_mbuf>>(kOwnerRing));
        }
        offers = std::make_unique<BurstOffers>(kOffers);
    }
    return {};
}

void Dataplane::Impl::deal_queues(std::vector<WorkerSetup>& setups) const {
    for (const Port& port : ports) {
        for (std::uint16_t q = 0; q < port.rx_queues(); ++q) {
            // Beginning with another worker at each port, so that single-queue ports spread.
            setups[(port.info().index + q) % setups.size()].rx.push_back(port.rx_queue(q));
        }
        for (WorkerSetup& setup : setups) {
            setup.tx.push_back(port.tx_queue(setup.index));
        }
    }
}

std::vector<SharedRing<rte_mbuf>*> Dataplane::Impl::owner_rings() const {
    std::vector<SharedRing<rte_mbuf>*> rings;
    for (const auto& ring : owners) {
        rings.push_back(ring.get());
    }
    return rings;
}

void Dataplane::Impl::stop() {
    stopping.store(true, std::memory_order_relaxed);
    for (WorkerThread& w : workers) {
        if (w.thread.joinable()) {
            w.thread.join();
        }
    }
    if (punt != nullptr) {
        punt->stop();
    }
}

Dataplane::Dataplane(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Dataplane::~Dataplane() = default;

Result<std::unique_ptr<Dataplane>> Dataplane::create(const DataplaneOptions& options) {
    if (options.workers == 0 || (!options.cpus.empty() && options.cpus.size() != options.workers)) {
        return std::unexpected(Error{"workers: " + std::to_string(options.workers) + " workers on " +
                                     std::to_string(options.cpus.size()) +
                                     " CPUs: at least one worker, and a CPU for each or for none"});
    }
    auto lock = InstanceLock::take(options.runtime_directory, options.name);
    if (!lock) {
        return std::unexpected(lock.error());
    }
    std::optional<NatKeeper> keeper = open_keeper(options);
    const auto kept_mib = static_cast<std::uint32_t>(keeper ? keeper->huge_bytes() >> 20 : 0);
    auto eal = Eal::start({.name = options.name,
                           .runtime_directory = options.runtime_directory,
                           .hugepages = options.hugepages,
                           .memory_mib = std::max(options.memory_mib, kept_mib + kLeastMib) - kept_mib,
                           .args = options.eal_args},
                          std::move(*lock));
    if (!eal) {
        return std::unexpected(eal.error());
    }
    auto impl = std::make_unique<Impl>(options, std::move(*eal), std::move(keeper));
    try {
        if (auto made = impl->make_tables(); !made) {
            return std::unexpected(made.error());
        }
        if (auto made = impl->make_workers(); !made) {
            return std::unexpected(made.error());
        }
    } catch (const std::bad_alloc&) {
        return std::unexpected(
            Error{"not enough memory for the tables (" + std::to_string(options.nat_sessions) + " NAT sessions)"});
    }
    return std::unique_ptr<Dataplane>{new Dataplane{std::move(impl)}};
}

Result<PortInfo> Dataplane::add_port(const PortSpec& spec) {
    if (impl_->started) {
        return std::unexpected(Error{"port " + spec.name + ": the workers run already"});
    }
    if (impl_->ports.size() == kMaxPorts) {
        return std::unexpected(
            Error{"port " + spec.name + ": there are " + std::to_string(kMaxPorts) + " already, the most"});
    }
    if (spec.mtu > impl_->options.max_mtu) {
        return std::unexpected(mtu_error("port " + spec.name, spec.mtu, impl_->options.max_mtu));
    }
    auto port =
        Port::open(spec, static_cast<std::uint16_t>(impl_->ports.size()), impl_->options.workers, impl_->buffers.get());
    if (!port) {
        return std::unexpected(port.error());
    }
    impl_->ports.push_back(std::move(*port));
    return impl_->ports.back().info();
}

Result<std::uint16_t> Dataplane::add_netdev(const NetdevSpec& spec) {
    if (impl_->started) {
        return std::unexpected(Error{"netdev " + spec.name + ": the workers run already"});
    }
    if (spec.mtu > impl_->options.max_mtu) {
        return std::unexpected(mtu_error("netdev " + spec.name, spec.mtu, impl_->options.max_mtu));
    }
    return impl_->punt->add(spec);
}

void Dataplane::set_carrier(std::uint16_t netdev, bool up) { impl_->punt->set_carrier(netdev, up); }
IkeHold& Dataplane::ike() { return impl_->punt->ike(); }

Result<void> Dataplane::start(std::unique_ptr<const Snapshot> first) {
    Impl& impl = *impl_;
    if (impl.keeper) {
        impl.kept = restore(*impl.keeper, *impl.nat, first->pools, rte_get_tsc_hz());
    }
    publish(std::move(first));
    reclaim();
    std::vector<WorkerSetup> setups(impl.workers.size());
    for (std::uint16_t w = 0; w < impl.options.workers; ++w) {
        setups[w] = {.index = w,
                     .punt = impl.punt->punt_ring(w),
                     .inject = impl.punt->inject_ring(w),
                     .owners = impl.owner_rings(),
                     .offers = impl.offers.get(),
                     .snapshots = impl.snapshots.get(),
                     .counters = impl.workers[w].counters.get(),
                     .crypto = impl.workers[w].crypto.get(),
                     .nat = impl.nat.get(),
                     .reassembly = impl.reassembly.get(),
                     .buffers = source_of(impl.buffers.get()),
                     .large_buffers = source_of(impl.large_buffers.get()),
                     .nat_ageing_steps = nat_ageing_steps(impl.nat->capacity(), setups.size()),
                     .sleep_when_idle = impl.options.sleep_when_idle,
                     .icmp_errors_per_second = impl.options.icmp_errors_per_second,
                     .punts_per_second = impl.options.punts_per_second};
    }
    impl.deal_queues(setups);
    for (Port& port : impl.ports) {
        if (auto started = port.start(); !started) {
            return started;
        }
    }
    impl.started = true;
    impl.punt->start();
    const SignalsBlocked blocked;
    for (std::uint16_t w = 0; w < impl.options.workers; ++w) {
        WorkerThread& thread = impl.workers[w];
        thread.worker = std::make_unique<Worker<Graph>>(std::move(setups[w]));
        const unsigned cpu = impl.options.cpus.empty() ? RegisteredThread::kAnyCpu : impl.options.cpus[w];
        thread.thread = std::thread{[&impl, &worker = *thread.worker, cpu, w] {
            const RegisteredThread registered{"twinspan-w" + std::to_string(w), cpu};
            worker.run(impl.stopping);
        }};
    }
    return {};
}

void Dataplane::publish(std::unique_ptr<const Snapshot> next) {
    if (impl_->keeper) {  // before a session of such a pool is there
        name_pools(*impl_->keeper, next->pools);
    }
    impl_->snapshots->publish(std::move(next));
}
void Dataplane::synchronize() { impl_->snapshots->synchronize(); }
std::size_t Dataplane::reclaim() { return impl_->snapshots->reclaim(); }

Lookup4 Dataplane::fib4() const { return impl_->fib4->lookup(); }
Lookup6 Dataplane::fib6() const { return impl_->fib6->lookup(); }
Result<void> Dataplane::insert(be32 prefix, unsigned length, RouteResult result) {
    return impl_->fib4->insert(prefix, length, result);
}
Result<void> Dataplane::insert(const Ipv6Address& prefix, unsigned length, RouteResult result) {
    return impl_->fib6->insert(prefix, length, result);
}
void Dataplane::erase(be32 prefix, unsigned length) { impl_->fib4->erase(prefix, length); }
void Dataplane::erase(const Ipv6Address& prefix, unsigned length) { impl_->fib6->erase(prefix, length); }

bool Dataplane::link_up(std::uint16_t port) const { return impl_->ports[port].link_up(); }
PortStats Dataplane::port_stats(std::uint16_t port) const { return impl_->ports[port].stats(); }

Result<void> Dataplane::steer(std::uint16_t port, const Steering& wanted) { return impl_->ports[port].steer(wanted); }
SteeringCounters Dataplane::steered(std::uint16_t port) const { return impl_->ports[port].steered(); }

std::vector<const WorkerCounters*> Dataplane::counters() const {
    std::vector<const WorkerCounters*> all;
    for (const WorkerThread& w : impl_->workers) {
        all.push_back(w.counters.get());
    }
    all.push_back(&impl_->punt->counters());
    return all;
}

const NatTable& Dataplane::nat() const { return *impl_->nat; }
const NatKept& Dataplane::nat_kept() const { return impl_->kept; }
void Dataplane::date_nat() {
    if (impl_->keeper) {
        impl_->keeper->set_moment(moment_now(rte_get_tsc_hz()));
    }
}

std::size_t Dataplane::take_nat_events(std::size_t most, const std::function<void(const NatEvent&)>& fn) {
    return impl_->nat_events != nullptr ? impl_->nat_events->take(most, fn) : 0;
}
std::uint64_t Dataplane::nat_events_lost() const {
    return impl_->nat_events != nullptr ? impl_->nat_events->lost() : 0;
}

}  // namespace twinspan
