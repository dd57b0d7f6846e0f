// What the mirror benchmark sees of the tables while they change: when entries are in place, and that unaffected flows
// find theirs.
#pragma once

#include "bench/mirror_kernel.hpp"
#include "control/failover.hpp"
#include "dataplane/config/fib.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

namespace twinspan::bench {

// From the kernel's change, told by who made it, to the FIB's.
class LagWatch {
public:
    explicit LagWatch(const std::vector<BenchPrefix>& prefixes);
    void sent(std::size_t which) noexcept;                // any one thread: now
    void installed(const IpPrefix& prefix) noexcept;      // control thread: now
    const std::vector<double>& milliseconds() const noexcept { return lags_; }

private:
    PrefixMap4 index_;
    std::vector<std::atomic<std::int64_t>> sent_ns_;
    std::vector<double> lags_;
};

// The FIB and the newest snapshot, with one reader at most that says when it is between look-ups.
class WatchedTables : public Tables {
public:
    explicit WatchedTables(Fib4 fib);
    ~WatchedTables() override;
    void publish(std::unique_ptr<const Snapshot> next) override;
    void synchronize() override;
    Result<void> insert(const IpPrefix& prefix, RouteResult result) override;
    void erase(const IpPrefix& prefix) override;
    void set_carrier(std::uint16_t, bool) override {}

    void watch(LagWatch* lags) noexcept { lags_ = lags; }
    // How many entries of the FIB itself, its planned one, do not mean what `wanted` means.
    std::size_t differences(const Plan& used, const Plan& wanted) const;

    // The reader: registers with its first call.
    void quiescent() noexcept { passed_.fetch_add(1, std::memory_order_release); }
    void reading(bool reads) noexcept { reads_ = reads; }
    const Snapshot* snapshot() const noexcept { return snapshot_.load(std::memory_order_acquire); }
    Lookup4 lookup() const noexcept { return fib_.lookup(); }

private:
    Fib4 fib_;
    LagWatch* lags_ = nullptr;
    std::atomic<const Snapshot*> snapshot_ = nullptr;
    std::vector<std::unique_ptr<const Snapshot>> snapshots_;  // all that may be read
    std::atomic<std::uint64_t> passed_ = 0;
    std::atomic<bool> reads_ = false;
};

// A thread that looks up addresses of prefixes which nobody changes, as a worker does: FIB, group, bucket, egress.
class UnaffectedFlows {
public:
    UnaffectedFlows(WatchedTables& tables, const std::vector<BenchPrefix>& prefixes);
    ~UnaffectedFlows() { stop(); }
    void stop();
    std::size_t prefixes() const noexcept { return addresses_.size(); }
    std::uint64_t lookups() const noexcept { return lookups_; }
    std::uint64_t lost() const noexcept { return lost_; }

private:
    void run();
    bool reaches_third_leg(const Snapshot& snapshot, RouteResult result, std::uint32_t address) const noexcept;

    WatchedTables& tables_;
    std::vector<std::uint32_t> addresses_;
    std::atomic<bool> stop_ = false;
    std::uint64_t lookups_ = 0;
    std::uint64_t lost_ = 0;
    std::thread thread_;
};

}  // namespace twinspan::bench
