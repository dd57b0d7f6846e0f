// The routing tables: longest-prefix match over DPDK's FIB libraries, updated in place under the workers' feet.
// Thread: control changes, workers look up.
#pragma once

#include "dataplane/base/error.hpp"
#include "dataplane/config/route_result.hpp"
#include "dataplane/config/snapshot.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

struct rte_fib;
struct rte_fib6;

namespace twinspan {

// The libraries hand a freed second-level table out again at once, while a worker may stand between its two loads.
// So a change that may have freed one is followed by a grace period before the next change that may take one.
class GracePeriod {
public:
    using Synchronize = std::function<void()>;
    void on(Synchronize synchronize) { synchronize_ = std::move(synchronize); }
    void freed() noexcept { due_ = true; }
    void before_taking() {
        if (std::exchange(due_, false) && synchronize_) {
            synchronize_();
        }
    }

private:
    Synchronize synchronize_;
    bool due_ = false;
};

// IPv4, DIR-24-8: one load for prefixes up to /24, two for longer ones. 64 MiB, and 1 KiB per /24 that has longer ones.
class Fib4 {
public:
    static Result<Fib4> create(const std::string& name, std::uint32_t max_routes);

    // `synchronize` returns when every worker has passed a quiescent point. Without it, nobody looks up yet.
    void synchronize_with(GracePeriod::Synchronize synchronize) { grace_.on(std::move(synchronize)); }
    // Adds or replaces. `length` in bits; host bits of the prefix are ignored. Fails when a table is full.
    Result<void> insert(be32 prefix, unsigned length, RouteResult result);
    void erase(be32 prefix, unsigned length);  // an unknown prefix is no error
    Lookup4 lookup() const noexcept;  // good for the life of this table

private:
    struct Free {
        void operator()(rte_fib* fib) const noexcept;
    };
    explicit Fib4(rte_fib* fib) noexcept : fib_(fib) {}

    std::unique_ptr<rte_fib, Free> fib_;
    GracePeriod grace_;
    bool has_long_prefixes_ = false;  // longer than /24: only these have second-level tables
};

// IPv6: a trie with strides of 24, 8, 8, ... bits. 64 MiB, and 1 KiB per node; a lone /128 takes 13 of them. There is
// room for two nodes a route.
class Fib6 {
public:
    static Result<Fib6> create(const std::string& name, std::uint32_t max_routes);

    void synchronize_with(GracePeriod::Synchronize synchronize) { grace_.on(std::move(synchronize)); }
    Result<void> insert(const Ipv6Address& prefix, unsigned length, RouteResult result);
    void erase(const Ipv6Address& prefix, unsigned length);
    Lookup6 lookup() const noexcept;

private:
    struct Free {
        void operator()(rte_fib6* fib) const noexcept;
    };
    explicit Fib6(rte_fib6* fib) noexcept : fib_(fib) {}

    std::unique_ptr<rte_fib6, Free> fib_;
    GracePeriod grace_;
};

}  // namespace twinspan
