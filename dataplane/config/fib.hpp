// The routing tables: longest-prefix match, updated in place under the workers' feet.
// Thread: control changes, workers look up.
#pragma once

#include "dataplane/base/error.hpp"
#include "dataplane/base/prefix_map.hpp"
#include "dataplane/config/route_result.hpp"
#include "dataplane/config/snapshot.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

struct rte_fib6;

namespace twinspan {

// DPDK's library hands a freed second-level table out again at once, while a worker may stand between its two loads.
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

// IPv4, DIR-24-8: one load for prefixes up to /24, two for longer ones. 64 MiB, 1 KiB per /24 that has longer ones, and
// 15 to 23 bytes a route for control's record. Our own, because the record of DPDK's FIB library (rte_rib) takes 400
// bytes a route at any fill, and because it frees and reuses second-level tables without asking.
class Fib4 {
public:
    static Result<Fib4> create(const std::string& name, std::uint32_t max_routes);

    // `synchronize` returns when every worker has passed a quiescent point. Without it, nobody looks up yet.
    void synchronize_with(std::function<void()> synchronize) { synchronize_ = std::move(synchronize); }
    // Adds or replaces. `length` in bits; host bits of the prefix are ignored. Fails when a table is full.
    Result<void> insert(be32 prefix, unsigned length, RouteResult result);
    void erase(be32 prefix, unsigned length);  // an unknown prefix is no error
    Lookup4 lookup() const noexcept;  // good for the life of this table
    std::size_t routes() const noexcept { return routes_.size(); }

private:
    // What workers read. An entry is a RouteResult, the length of the prefix it comes from, or a second-level table.
    using Entry = std::atomic<std::uint32_t>;
    struct Tables {
        Entry* by_24 = nullptr;
        Entry* by_8 = nullptr;  // 256 entries each
    };
    struct Free {
        void operator()(Tables* tables) const noexcept;
    };
    friend void lookup_fib4(const void* table, const std::uint32_t* dst, std::uint64_t* out, unsigned n) noexcept;

    Fib4(std::unique_ptr<Tables, Free> tables, std::uint32_t max_routes, std::uint32_t second_level)
        : tables_(std::move(tables)), max_routes_(max_routes), second_level_(second_level) {}
    std::optional<std::uint32_t> take_second_level();
    void give_back(std::uint32_t table);
    void overwrite_range(std::uint32_t address, unsigned length, std::uint32_t entry);
    void replace_range(std::uint32_t address, unsigned length, std::uint32_t entry);

    std::unique_ptr<Tables, Free> tables_;
    std::function<void()> synchronize_;
    PrefixMap4 routes_;
    std::size_t max_routes_;
    std::uint32_t second_level_;  // how many tables there is room for
    std::uint32_t untouched_ = 0;  // tables from here on were never used
    std::vector<std::uint32_t> free_;  // nobody reads these
    std::vector<std::uint32_t> retired_;  // a worker may stand in one until the next grace period
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
