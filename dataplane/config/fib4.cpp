// DIR-24-8 (Gupta, Lin, McKeown: Routing Lookups in Hardware at Memory Access Speeds, 1998). Each entry remembers the
// length of its prefix, so a change touches what a longer prefix has not taken, and nothing else.
#include "dataplane/config/fib.hpp"

#include <rte_malloc.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace twinspan {
namespace {

constexpr std::uint32_t kNoRoute = RouteResult::dropped(Drop::no_route).raw();
constexpr std::uint32_t kResultBits = 24;
constexpr std::uint32_t kResultMask = (1u << kResultBits) - 1;
constexpr std::uint32_t kSecondLevel = 1u << 31;  // the other bits: which table
constexpr std::size_t kFirstEntries = std::size_t{1} << 24;
constexpr std::uint32_t kSecondEntries = 256;
constexpr std::uint32_t kFewestSecondLevel = 256;

constexpr std::uint32_t mask4(unsigned length) noexcept { return length == 0 ? 0 : ~std::uint32_t{0} << (32 - length); }
constexpr std::uint32_t entry_of(std::uint32_t raw, unsigned length) noexcept { return raw | length << kResultBits; }
constexpr unsigned length_of(std::uint32_t entry) noexcept { return entry >> kResultBits; }
constexpr bool is_table(std::uint32_t entry) noexcept { return (entry & kSecondLevel) != 0; }
constexpr std::size_t first_of(std::uint32_t entry) noexcept {
    return std::size_t{entry & ~kSecondLevel} * kSecondEntries;
}

std::size_t second_level_bytes(std::uint32_t tables) noexcept {
    return std::size_t{tables} * kSecondEntries * sizeof(std::uint32_t);
}

}  // namespace

// Cycles an address as DPDK's scalar look-up; a second-level table is published by the store of its entry.
void lookup_fib4(const void* table, const std::uint32_t* dst, std::uint64_t* out, unsigned n) noexcept {
    const auto& tables = *static_cast<const Fib4::Tables*>(table);
    for (unsigned i = 0; i < n; ++i) {
        std::uint32_t entry = tables.by_24[dst[i] >> 8].load(std::memory_order_acquire);
        if (is_table(entry)) [[unlikely]] {
            entry = tables.by_8[first_of(entry) + (dst[i] & 0xff)].load(std::memory_order_relaxed);
        }
        out[i] = entry & kResultMask;
    }
}

void Fib4::Free::operator()(Tables* tables) const noexcept {
    rte_free(tables->by_24);
    if (tables->by_8 != nullptr) {
        // Reserved with the count in front of the first table: see create().
        auto* base = reinterpret_cast<std::byte*>(tables->by_8) - kSecondEntries * sizeof(std::uint32_t);
        std::uint32_t count = 0;
        std::memcpy(&count, base, sizeof count);
        munmap(base, second_level_bytes(count + 1));
    }
    delete tables;
}

Result<Fib4> Fib4::create(const std::string& name, std::uint32_t max_routes) {
    const std::uint32_t count = std::max(max_routes / 8, kFewestSecondLevel);
    const std::string what = "IPv4 FIB for " + std::to_string(max_routes) + " routes: ";
    std::unique_ptr<Tables, Free> tables{new Tables};
    tables->by_24 = static_cast<Entry*>(rte_malloc(name.c_str(), kFirstEntries * sizeof(Entry), RTE_CACHE_LINE_SIZE));
    if (tables->by_24 == nullptr) {
        return std::unexpected(Error{what + "no 64 MiB of memory in one piece"});
    }
    // Only what is used takes memory.
    void* reserved = mmap(nullptr, second_level_bytes(count + 1), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved == MAP_FAILED) {
        return std::unexpected(Error{what + std::strerror(errno)});
    }
    madvise(reserved, second_level_bytes(count + 1), MADV_HUGEPAGE);
    std::memcpy(reserved, &count, sizeof count);
    tables->by_8 = static_cast<Entry*>(reserved) + kSecondEntries;
    for (std::size_t i = 0; i < kFirstEntries; ++i) {
        new (&tables->by_24[i]) Entry{entry_of(kNoRoute, 0)};
    }
    return Fib4{std::move(tables), max_routes, count};
}

Result<void> Fib4::insert(be32 prefix, unsigned length, RouteResult result) {
    if (length > 32) {
        return std::unexpected(Error{"IPv4 prefix length " + std::to_string(length) + " is more than 32"});
    }
    const std::uint32_t address = prefix.host() & mask4(length);
    if (routes_.size() >= max_routes_ && routes_.find(address, length) == nullptr) {
        return std::unexpected(Error{"IPv4 route: the table is full"});
    }
    Entry& slot = tables_->by_24[address >> 8];
    if (const std::uint32_t whole = slot.load(std::memory_order_relaxed); length > 24 && !is_table(whole)) {
        const auto table = take_second_level();
        if (!table) {
            return std::unexpected(Error{"IPv4 route: the table is full of prefixes longer than /24"});
        }
        for (std::uint32_t i = 0; i < kSecondEntries; ++i) {
            tables_->by_8[first_of(*table) + i].store(whole, std::memory_order_relaxed);
        }
        slot.store(kSecondLevel | *table, std::memory_order_release);
    }
    routes_.insert_or_assign(address, length, result.raw());
    overwrite_range(address, length, entry_of(result.raw(), length));
    return {};
}

void Fib4::erase(be32 prefix, unsigned length) {
    if (length > 32) {
        return;
    }
    const std::uint32_t address = prefix.host() & mask4(length);
    if (!routes_.erase(address, length)) {
        return;
    }
    const auto around = routes_.longest_match(address, length);
    replace_range(address, length, around ? entry_of(around->second, around->first) : entry_of(kNoRoute, 0));
    if (length <= 24) {
        return;
    }
    Entry& slot = tables_->by_24[address >> 8];
    const std::uint32_t table = slot.load(std::memory_order_relaxed);
    const Entry* entries = &tables_->by_8[first_of(table)];
    const bool has_longer = std::any_of(entries, entries + kSecondEntries, [](const Entry& e) {
        return length_of(e.load(std::memory_order_relaxed)) > 24;
    });
    if (!has_longer) {
        slot.store(entries[0].load(std::memory_order_relaxed), std::memory_order_release);
        give_back(table & ~kSecondLevel);
    }
}

std::optional<std::uint32_t> Fib4::take_second_level() {
    if (free_.empty() && untouched_ < second_level_) {
        return untouched_++;
    }
    if (free_.empty() && !retired_.empty()) {
        synchronize_();
        free_.swap(retired_);
    }
    if (free_.empty()) {
        return std::nullopt;
    }
    const std::uint32_t table = free_.back();
    free_.pop_back();
    return table;
}

void Fib4::give_back(std::uint32_t table) { (synchronize_ ? retired_ : free_).push_back(table); }

namespace {

// Calls f on every entry that a prefix of this length may have, whatever level it is on.
template <class Entry, class F>
void for_range(Entry* by_24, Entry* by_8, std::uint32_t address, unsigned length, F&& f) {
    if (length > 24) {
        Entry* first = &by_8[first_of(by_24[address >> 8].load(std::memory_order_relaxed)) + (address & 0xff)];
        std::for_each(first, first + (std::size_t{1} << (32 - length)), f);
        return;
    }
    Entry* const first = &by_24[address >> 8];
    Entry* const last = first + (std::size_t{1} << (24 - length));
    for (Entry* slot = first; slot != last; ++slot) {
        if (const std::uint32_t entry = slot->load(std::memory_order_relaxed); is_table(entry)) {
            std::for_each(&by_8[first_of(entry)], &by_8[first_of(entry)] + kSecondEntries, f);
        } else {
            f(*slot);
        }
    }
}

}  // namespace

// Where no longer prefix is.
void Fib4::overwrite_range(std::uint32_t address, unsigned length, std::uint32_t entry) {
    for_range(tables_->by_24, tables_->by_8, address, length, [&](Entry& e) {
        if (length_of(e.load(std::memory_order_relaxed)) <= length) {
            e.store(entry, std::memory_order_relaxed);
        }
    });
}

// Where the prefix of this length was.
void Fib4::replace_range(std::uint32_t address, unsigned length, std::uint32_t entry) {
    for_range(tables_->by_24, tables_->by_8, address, length, [&](Entry& e) {
        if (length_of(e.load(std::memory_order_relaxed)) == length) {
            e.store(entry, std::memory_order_relaxed);
        }
    });
}

Lookup4 Fib4::lookup() const noexcept { return {.table = tables_.get(), .bulk = lookup_fib4}; }

}  // namespace twinspan
