#include "bench/mirror.hpp"

#include "bench/mirror_kernel.hpp"
#include "bench/mirror_watch.hpp"
#include "control/kernel_routes.hpp"
#include "control/netlink/mirror.hpp"
#include "dataplane/io/eal.hpp"

#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <thread>

namespace twinspan::bench {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::json;

constexpr std::chrono::milliseconds kTick{10};  // as the daemon's

double seconds_since(Clock::time_point t) { return std::chrono::duration<double>(Clock::now() - t).count(); }

double cpu_seconds() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& t) {
        return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double resident_mib() {
    std::ifstream file{"/proc/self/statm"};
    double total = 0, resident = 0;
    file >> total >> resident;
    return resident * 4096 / (1 << 20);
}

Config config_of_bench() {
    Config config;
    config.name = "bench";
    for (const BenchLeg& leg : kBenchLegs) {
        config.ports.push_back({leg.port, "net_null"});
        LegConfig l;
        l.netdev = leg.netdev;
        l.port = leg.port;
        l.zone = Zone::private_peering;
        const IpPrefix address = IpPrefix::parse(leg.address).value();
        l.addresses4 = {{address.address.v4(), address.length}};
        config.legs.push_back(l);
    }
    return config;
}

// The daemon's parts, joined as the daemon joins them.
class Control {
public:
    explicit Control(Fib4 fib) : tables_(std::move(fib)) {
        world_.config = config_of_bench();
        for (std::size_t i = 0; i < kBenchLegs.size(); ++i) {
            world_.ports.push_back({MacAddress{2, 0, 0, 0, 1, static_cast<std::uint8_t>(i)}, true});
        }
    }
    // From nothing to a full table.
    Result<void> start() {
        auto mirror = netlink::Mirror::open(
            {}, {.on_changes = [this](const netlink::KernelState&, const netlink::Changes& changes) {
            on_changes(changes);
        }, .on_problem = [this](std::string_view what) {
            problems_.emplace_back(what);
        }, .on_audit = [this](const netlink::AuditReport& report) { audits_.push_back(report); }});
        if (!mirror) {
            return std::unexpected(mirror.error());
        }
        mirror_ = std::move(*mirror);
        for (const BenchLeg& leg : kBenchLegs) {
            mirror_->watch(leg.netdev);
        }
        if (const auto synced = mirror_->resync(std::chrono::minutes(2)); !synced) {
            return synced;
        }
        dumped_ = Clock::now();
        routes_ = std::make_unique<KernelRoutes>(mirror_->state());
        world_.routes = routes_.get();
        world_.kernel = read_kernel(mirror_->state());
        feed_.clear();
        failover_ = std::make_unique<Failover>(world_, tables_, metrics_);
        auto first = failover_->first();
        if (!first) {
            return std::unexpected(first.error());
        }
        tables_.publish(std::move(*first));
        return {};
    }
    // The daemon's loop, until `done` says so.
    Result<void> run(const std::function<bool()>& done) {
        auto next_tick = Clock::now() + kTick;
        while (!done()) {
            const auto wait = std::chrono::ceil<std::chrono::milliseconds>(next_tick - Clock::now());
            pollfd ready{mirror_->fd(), POLLIN, 0};
            if (::poll(&ready, 1, static_cast<int>(std::max<std::int64_t>(wait.count(), 0))) > 0) {
                const Stopwatch watch;
                if (const auto read = mirror_->on_readable(); !read) {
                    return read;
                }
                reading_.take(watch);
            }
            if (Clock::now() >= next_tick) {
                next_tick = Clock::now() + kTick;
                const Stopwatch watch;
                tick();
                ticking_.take(watch);
            }
        }
        return {};
    }
    bool settled() const { return mirror_->in_sync() && feed_.waiting() == 0 && !stale_ && !mirror_->auditing(); }

    netlink::Mirror& mirror() { return *mirror_; }
    Failover& failover() { return *failover_; }
    const World& world() const { return world_; }
    WatchedTables& tables() { return tables_; }
    RouteFeed& feed() { return feed_; }
    Clock::time_point dumped() const { return dumped_; }
    const std::vector<netlink::AuditReport>& audits() const { return audits_; }
    const std::vector<std::string>& problems() const { return problems_; }
    // While one runs, everything else of the control thread waits.
    json longest_steps() const {
        return {{"reading_ms", reading_.wall_ms},
                {"reading_cpu_ms", reading_.cpu_ms},
                {"tick_ms", ticking_.wall_ms},
                {"tick_cpu_ms", ticking_.cpu_ms}};
    }

private:
    void on_changes(const netlink::Changes& changes) {
        if (changes.all_prefixes) {
            return;  // start() looks at all
        }
        stale_ = stale_ || !changes.links.empty() || !changes.addresses.empty() || !changes.neighbours.empty();
        feed_.add(changes.prefixes, mirror_->batch_began());
    }
    struct Stopwatch {
        Clock::time_point began = Clock::now();
        double cpu_began_ms = cpu_ms();
        static double cpu_ms() {
            timespec now{};
            ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
            return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
        }
    };
    struct Longest {
        double wall_ms = 0;
        double cpu_ms = 0;
        void take(const Stopwatch& watch) {
            wall_ms = std::max(wall_ms, seconds_since(watch.began) * 1e3);
            cpu_ms = std::max(cpu_ms, Stopwatch::cpu_ms() - watch.cpu_began_ms);
        }
    };

    void tick() {
        if (std::exchange(stale_, false)) {
            world_.kernel = read_kernel(mirror_->state());
            failover_->refresh();
        }
        feed_.step(*failover_);
    }

    World world_;
    WatchedTables tables_;
    Metrics metrics_;
    std::unique_ptr<netlink::Mirror> mirror_;
    std::unique_ptr<KernelRoutes> routes_;
    std::unique_ptr<Failover> failover_;
    RouteFeed feed_;
    bool stale_ = false;
    Clock::time_point dumped_{};
    std::vector<netlink::AuditReport> audits_;
    std::vector<std::string> problems_;
    Longest reading_;
    Longest ticking_;
};

BenchHop any_hop(std::mt19937& random, std::uint8_t leg) {
    return {leg, static_cast<std::uint8_t>(random() % kGateways)};
}

// One in five over both legs, as a site with two links has them.
void add_first(KernelWriter& writer, const std::vector<BenchPrefix>& prefixes, std::mt19937& random) {
    for (const BenchPrefix& prefix : prefixes) {
        const bool both = prefix.leg != 2 && random() % 5 == 0;
        const BenchHop hops[] = {any_hop(random, prefix.leg), any_hop(random, prefix.leg == 0 ? 1 : 0)};
        writer.add(prefix, std::span(hops).first(both ? 2 : 1));
    }
    writer.flush();
}

json quantiles(std::vector<double> values) {
    if (values.empty()) {
        return {{"count", 0}};
    }
    std::ranges::sort(values);
    const auto at = [&](double q) {
        return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1))];
    };
    return {{"count", values.size()}, {"p50_ms", at(0.5)}, {"p99_ms", at(0.99)}, {"max_ms", values.back()}};
}

class Bench {
public:
    explicit Bench(const MirrorBench& options) : options_(options) {}
    Result<json> run();

private:
    Result<void> load();
    Result<void> sustained();
    Result<void> churn();
    Result<void> verify(const char* when);
    Result<void> settle();
    void flap(KernelWriter& writer, std::size_t leg);
    void random_change(KernelWriter& writer, std::size_t step);

    MirrorBench options_;
    std::mt19937 random_{20261120};
    std::optional<BenchNamespace> space_;
    std::vector<BenchPrefix> prefixes_;
    std::unique_ptr<Control> control_;
    json report_;
};

Result<json> Bench::run() {
    auto space = BenchNamespace::enter();
    if (!space) {
        return std::unexpected(space.error());
    }
    space_.emplace(std::move(*space));
    prefixes_ = internet_prefixes(options_.routes, random_);
    auto loaded = load();
    if (loaded) {
        loaded = verify("after the start");
    }
    std::vector<BenchPrefix> unaffected;
    std::ranges::copy_if(prefixes_, std::back_inserter(unaffected), [](const BenchPrefix& p) { return p.leg == 2; });
    UnaffectedFlows flows{control_->tables(), unaffected};
    for (const auto step : {&Bench::sustained, &Bench::churn}) {
        loaded = loaded ? (this->*step)() : loaded;
    }
    flows.stop();
    if (!loaded) {
        return std::unexpected(loaded.error());
    }
    report_["unaffected"] = {{"prefixes", flows.prefixes()}, {"lookups", flows.lookups()}, {"lost", flows.lost()}};
    if (flows.lost() != 0) {
        return std::unexpected(Error{std::to_string(flows.lost()) + " lookups of unaffected flows failed"});
    }
    return report_;
}

Result<void> Bench::load() {
    auto writer = KernelWriter::open(*space_);
    if (!writer) {
        return std::unexpected(writer.error());
    }
    auto began = Clock::now();
    add_first(*writer, prefixes_, random_);
    report_["kernel_load_s"] = seconds_since(began);
    const double before_mib = resident_mib();
    auto fib = Fib4::create("bench", static_cast<std::uint32_t>(options_.routes * 2));
    if (!fib) {
        return std::unexpected(fib.error());
    }
    control_ = std::make_unique<Control>(std::move(*fib));
    const double cpu = cpu_seconds();
    began = Clock::now();
    if (const auto started = control_->start(); !started) {
        return started;
    }
    report_["routes"] = options_.routes;
    report_["start"] = {{"wall_s", seconds_since(began)},
                        {"dump_s", std::chrono::duration<double>(control_->dumped() - began).count()},
                        {"cpu_s", cpu_seconds() - cpu}};
    report_["memory_mib"] = resident_mib() - before_mib;
    report_["fib_routes"] = control_->failover().current_plan().fib.size();
    report_["groups"] = control_->failover().current_plan().groups.groups().size();
    std::printf("start: %zu routes in %.2f s (dump %.2f s), %.2f s of CPU; %.0f MiB in all tables\n", options_.routes,
                report_["start"]["wall_s"].get<double>(), report_["start"]["dump_s"].get<double>(),
                report_["start"]["cpu_s"].get<double>(), report_["memory_mib"].get<double>());
    return {};
}

// A second hand replaces routes at a steady rate; the time at which it did is compared with the FIB's change.
Result<void> Bench::sustained() {
    std::vector<BenchPrefix> affected;
    std::ranges::copy_if(prefixes_, std::back_inserter(affected), [](const BenchPrefix& p) { return p.leg != 2; });
    const std::size_t changes = std::size_t{options_.seconds} * options_.changes_per_second;
    std::ranges::shuffle(affected, random_);
    affected.resize(std::min(affected.size(), std::min<std::size_t>(changes, 1u << 20)));
    LagWatch lags{affected};
    control_->tables().watch(&lags);
    std::atomic<bool> done = false;
    Error failed;
    std::thread hand([&] {
        auto writer = KernelWriter::open(*space_);
        if (!writer) {
            failed = writer.error();
        }
        std::mt19937 random{1};
        const auto began = Clock::now();
        for (std::size_t i = 0; i < changes && writer; ++i) {
            const std::size_t which = i % affected.size();
            const BenchHop hop = {affected[which].leg, static_cast<std::uint8_t>(i % kGateways)};
            lags.sent(which);
            writer->add(affected[which], std::span(&hop, 1));
            if (i % 10 == 9) {
                writer->flush();
                std::this_thread::sleep_until(began + std::chrono::nanoseconds(1'000'000'000) *
                                                          static_cast<std::int64_t>(i) / options_.changes_per_second);
            }
        }
        if (writer) {
            writer->flush();
        }
        done = true;
    });
    const auto began = Clock::now();
    const double cpu = cpu_seconds();
    auto ran = control_->run([&] { return done.load(); });
    const double took = seconds_since(began);
    hand.join();
    ran = ran ? settle() : ran;
    control_->tables().watch(nullptr);
    if (!ran || !failed.what.empty()) {
        return ran ? std::unexpected(failed) : ran;
    }
    report_["sustained"] = {{"changes_per_second", static_cast<double>(changes) / took},
                            {"lag", quantiles(lags.milliseconds())},
                            {"cpu_share", (cpu_seconds() - cpu) / took},
                            {"overruns", control_->mirror().metrics().overruns},
                            {"mirror_median_lag_us", control_->feed().median_lag().count()}};
    std::printf("sustained: %s\n", report_["sustained"].dump().c_str());
    return verify("after sustained changes");
}

void Bench::random_change(KernelWriter& writer, std::size_t step) {
    const BenchPrefix& prefix = prefixes_[random_() % prefixes_.size()];
    if (prefix.leg == 2) {
        return;
    }
    const std::uint8_t other = prefix.leg == 0 ? 1 : 0;
    const BenchHop hops[] = {any_hop(random_, prefix.leg), any_hop(random_, other)};
    const std::uint32_t object = 100 + static_cast<std::uint32_t>(random_() % 8);
    switch (random_() % 16) {
        case 0:
        case 1:
        case 2:
            writer.remove(prefix);
            return;
        case 3:
        case 4:
            writer.add(prefix, hops);
            return;
        case 5:
            writer.add(prefix, std::span(hops).first(1), 50);
            return;
        case 6:
            writer.add_through(prefix, object);
            return;
        case 7:
            writer.add_blackhole(prefix);
            return;
        default:
            break;
    }
    if (step % 5000 == 0) {
        const std::uint32_t members[] = {object, 100 + (object + 1) % 8};
        step % 10000 == 0 ? writer.put_nexthop(object, hops[0]) : writer.put_group(200 + object, members);
    } else if (step % 7001 == 0) {
        writer.remove_nexthop(object);
    } else {
        writer.add(prefix, std::span(hops).first(1));
    }
}

// Linux removes the routes over a link that goes down, without a message; BGP brings them back.
void Bench::flap(KernelWriter& writer, std::size_t leg) {
    writer.set_up(leg, false);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    writer.set_up(leg, true);
    for (const BenchPrefix& prefix : prefixes_) {
        if (prefix.leg == leg) {
            const BenchHop hop = any_hop(random_, prefix.leg);
            writer.add(prefix, std::span(&hop, 1));
        }
    }
}

// Everything at once, faster than the mirror can follow: it is held up now and then until the kernel drops messages.
Result<void> Bench::churn() {
    std::atomic<bool> done = false;
    Error failed;
    unsigned flaps = 0;
    std::uint64_t sent = 0;
    std::thread hand([&] {
        auto writer = KernelWriter::open(*space_);
        if (!writer) {
            failed = writer.error();
        }
        for (std::size_t step = 0; step < options_.churn && writer; ++step) {
            random_change(*writer, step);
            if (step % (options_.churn / 2) == options_.churn / 4) {
                flap(*writer, flaps++ % 2);
            }
        }
        if (writer) {
            writer->flush();
            sent = writer->sent();
        }
        done = true;
    });
    const auto before = control_->mirror().metrics();
    const auto began = Clock::now();
    auto next_pause = began + std::chrono::milliseconds(500);
    auto ran = control_->run([&] {
        if (!done && Clock::now() > next_pause) {  // held up
            std::this_thread::sleep_for(std::chrono::milliseconds(700));
            next_pause = Clock::now() + std::chrono::milliseconds(1500);
        }
        return done.load();
    });
    hand.join();
    ran = ran ? settle() : ran;
    if (!ran || !failed.what.empty()) {
        return ran ? std::unexpected(failed) : ran;
    }
    const double took = seconds_since(began);
    control_->mirror().request_audit();
    ran = settle();
    if (!ran || control_->audits().empty()) {
        return ran ? std::unexpected(Error{"the audit has not ended"}) : ran;
    }
    const netlink::AuditReport& audit = control_->audits().back();
    const auto& after = control_->mirror().metrics();
    report_["churn"] = {{"changes", sent},
                        {"link_flaps", flaps},
                        {"seconds", took},
                        {"overruns", after.overruns - before.overruns},
                        {"resyncs", after.resyncs - before.resyncs},
                        {"interruptions", after.interruptions - before.interruptions},
                        {"errors", after.errors - before.errors},
                        {"longest_steps", control_->longest_steps()},
                        {"audit_difference", audit.difference},
                        {"audit_s", static_cast<double>(audit.took.count()) / 1e3},
                        {"routes_after", audit.routes}};
    std::printf("churn: %s\n", report_["churn"].dump().c_str());
    if (audit.difference != 0) {
        return std::unexpected(Error{"the audit found " + std::to_string(audit.difference) + " differences, " +
                                     audit.example->text() + " one of them"});
    }
    return verify("after churn");
}

// Until nothing is left to do, and two ticks more.
Result<void> Bench::settle() {
    const auto deadline = Clock::now() + std::chrono::minutes(2);
    Clock::time_point quiet_since = Clock::now();
    auto ran = control_->run([&] {
        pollfd ready{control_->mirror().fd(), POLLIN, 0};
        if (::poll(&ready, 1, 0) > 0 || !control_->settled()) {
            quiet_since = Clock::now();
        }
        return Clock::now() > deadline || Clock::now() - quiet_since > std::chrono::milliseconds(300);
    });
    return !ran || Clock::now() <= deadline ? ran : std::unexpected(Error{"the mirror does not come to rest"});
}

// A second mirror reads the kernel anew; planned from it, every prefix must mean what the FIB in use says.
Result<void> Bench::verify(const char* when) {
    auto mirror = netlink::Mirror::open({}, {.on_changes = {}, .on_problem = {}, .on_audit = {}});
    if (!mirror) {
        return std::unexpected(mirror.error());
    }
    for (const BenchLeg& leg : kBenchLegs) {
        (*mirror)->watch(leg.netdev);
    }
    if (const auto synced = (*mirror)->resync(std::chrono::minutes(2)); !synced) {
        return synced;
    }
    World world;
    world.config = control_->world().config;
    world.ports = control_->world().ports;
    world.kernel = read_kernel((*mirror)->state());
    const KernelRoutes routes{(*mirror)->state()};
    world.routes = &routes;
    Planner planner{world};
    planner.compile();
    const std::size_t wrong = control_->tables().differences(control_->failover().current_plan(), planner.plan());
    report_["wrong_entries"][when] = wrong;
    return wrong == 0 ? Result<void>{}
                      : std::unexpected(Error{std::to_string(wrong) + " FIB entries are wrong " + when});
}

}  // namespace

Result<json> run_mirror(const MirrorBench& bench) {
    spdlog::set_level(spdlog::level::err);
    Result<Eal> eal =
        Eal::start({.name = "twinspan-bench-mirror", .hugepages = false, .memory_mib = 128, .args = {"--no-pci"}});
    if (!eal) {
        return std::unexpected(eal.error());
    }
    return Bench{bench}.run();
}

}  // namespace twinspan::bench
