#include "bench/mirror_watch.hpp"

#include <algorithm>
#include <array>

namespace twinspan::bench {
namespace {

constexpr std::size_t kBurst = 64;
constexpr std::uint16_t kThirdLeg = 2;

std::int64_t now_ns() noexcept { return std::chrono::steady_clock::now().time_since_epoch().count(); }

}  // namespace

LagWatch::LagWatch(const std::vector<BenchPrefix>& prefixes) : sent_ns_(prefixes.size()) {
    for (std::size_t i = 0; i < prefixes.size(); ++i) {
        index_.insert_or_assign(prefixes[i].address, prefixes[i].length, static_cast<std::uint32_t>(i));
    }
    lags_.reserve(prefixes.size());
}

// The first of several changes that one FIB entry answers counts.
void LagWatch::sent(std::size_t which) noexcept {
    std::int64_t none = 0;
    sent_ns_[which].compare_exchange_strong(none, now_ns());
}

void LagWatch::installed(const IpPrefix& prefix) noexcept {
    const std::uint32_t* which = index_.find(prefix.address.v4().host(), prefix.length);
    const std::int64_t sent = which == nullptr ? 0 : sent_ns_[*which].exchange(0);
    if (sent != 0) {
        lags_.push_back(static_cast<double>(now_ns() - sent) / 1e6);
    }
}

WatchedTables::WatchedTables(Fib4 fib) : fib_(std::move(fib)) {
    fib_.synchronize_with([this] { synchronize(); });
}

WatchedTables::~WatchedTables() = default;

void WatchedTables::publish(std::unique_ptr<const Snapshot> next) {
    snapshot_.store(next.get(), std::memory_order_release);
    snapshots_.push_back(std::move(next));
    if (snapshots_.size() > 16) {
        synchronize();
        snapshots_.erase(snapshots_.begin(), snapshots_.end() - 1);
    }
}

void WatchedTables::synchronize() {
    const std::uint64_t before = passed_.load(std::memory_order_acquire);
    while (reads_ && passed_.load(std::memory_order_acquire) < before + 2) {
        std::this_thread::yield();
    }
}

Result<void> WatchedTables::insert(const IpPrefix& prefix, RouteResult result) {
    if (prefix.family() == IpFamily::v6) {
        return {};
    }
    const Result<void> done = fib_.insert(prefix.address.v4(), prefix.length, result);
    if (done && lags_ != nullptr) {
        lags_->installed(prefix);
    }
    return done;
}

void WatchedTables::erase(const IpPrefix& prefix) {
    if (prefix.family() == IpFamily::v4) {
        fib_.erase(prefix.address.v4(), prefix.length);
    }
}

std::size_t WatchedTables::differences(const Plan& used, const Plan& wanted) const {
    const Lookup4 fib = fib_.lookup();
    std::size_t wrong = used.fib.size() > wanted.fib.size() ? used.fib.size() - wanted.fib.size() : 0;
    wanted.fib.for_each([&](const IpPrefix& prefix, RouteResult right) {
        const std::optional<RouteResult> planned = used.fib.find(prefix);
        if (!planned || planned->kind() != right.kind()) {
            ++wrong;
            return;
        }
        if (right.kind() == RouteKind::forward) {
            const GroupKey* a = used.groups.key_of(planned->index());
            const GroupKey* b = wanted.groups.key_of(right.index());
            wrong += a == nullptr || b == nullptr || *a != *b ? 1 : 0;
        }
        if (prefix.family() == IpFamily::v4) {
            // Longer prefixes may cover the first address: what the plan says of it is what the FIB must say.
            const std::uint32_t first = prefix.address.v4().host();
            std::uint64_t raw = 0;
            fib.bulk(fib.table, &first, &raw, 1);
            const auto match = longest_match(used.fib, IpPrefix::host(prefix.address));
            wrong += !match || match->second.raw() != raw ? 1 : 0;
        }
    });
    return wrong;
}

UnaffectedFlows::UnaffectedFlows(WatchedTables& tables, const std::vector<BenchPrefix>& prefixes) : tables_(tables) {
    // Only prefixes that no longer one lies in: what comes and goes there would take their place.
    const Lookup4 fib = tables.lookup();
    for (const BenchPrefix& prefix : prefixes) {
        std::uint64_t raw = 0;
        fib.bulk(fib.table, &prefix.address, &raw, 1);
        const RouteResult result = RouteResult::from_raw(static_cast<std::uint32_t>(raw));
        if (prefix.length >= 24 && reaches_third_leg(*tables.snapshot(), result, prefix.address)) {
            addresses_.push_back(prefix.address);
        }
    }
    tables.reading(true);
    thread_ = std::thread([this] { run(); });
}

void UnaffectedFlows::stop() {
    if (thread_.joinable()) {
        stop_ = true;
        thread_.join();
    }
}

bool UnaffectedFlows::reaches_third_leg(const Snapshot& snapshot, RouteResult result,
                                        std::uint32_t address) const noexcept {
    if (result.kind() != RouteKind::forward || result.index() >= snapshot.groups.size()) {
        return false;
    }
    const Group group = snapshot.groups[result.index()];
    const std::size_t bucket = group.first_bucket + (address * 0x9e3779b1u >> 16 & group.bucket_mask);
    const Egress& egress = snapshot.egresses[snapshot.buckets[bucket]];
    return egress.kind == EgressKind::leg && egress.leg == kThirdLeg;
}

void UnaffectedFlows::run() {
    const Lookup4 fib = tables_.lookup();
    std::array<std::uint64_t, kBurst> found;
    for (std::size_t at = 0; !stop_ && addresses_.size() >= kBurst;
         at = (at + kBurst) % (addresses_.size() - kBurst + 1)) {
        const Snapshot& snapshot = *tables_.snapshot();
        fib.bulk(fib.table, &addresses_[at], found.data(), kBurst);
        for (std::size_t i = 0; i < kBurst; ++i) {
            const RouteResult result = RouteResult::from_raw(static_cast<std::uint32_t>(found[i]));
            lost_ += reaches_third_leg(snapshot, result, addresses_[at + i]) ? 0 : 1;
        }
        lookups_ += kBurst;
        tables_.quiescent();
        // A worker that sleeps when idle; the machine has other things to do.
        if (lookups_ % (kBurst * 64) == 0) {
            std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
    }
    tables_.reading(false);
}

}  // namespace twinspan::bench
