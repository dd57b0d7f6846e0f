#include "dataplane/state/nat_table.hpp"

#include "dataplane/packet/batch.hpp"

#include <algorithm>
#include <array>
#include <random>

namespace twinspan {
namespace {

std::uint64_t entropy() {
    std::random_device source;
    return static_cast<std::uint64_t>(source()) << 32 | source();
}

std::uint64_t splitmix(std::uint64_t& state) noexcept {  // Steele, Lea and Flood 2014
    state += 0x9e3779b97f4a7c15u;
    std::uint64_t z = state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

NatHash make_hash(std::uint64_t seed) {
    std::uint64_t state = seed == 0 ? entropy() : seed;
    const std::uint64_t seed0 = splitmix(state);
    return {seed0, splitmix(state)};
}

// A tenth of the memory, and of a small table enough for a small pool.
std::uint32_t metered_addresses(std::uint32_t sessions) {
    constexpr std::uint32_t kFewest = 16;
    constexpr std::uint32_t kSessionsPerAddress = 16384;
    return std::max(kFewest, sessions / kSessionsPerAddress);
}

}  // namespace

NatTable::NatTable(const NatTableOptions& options, rte_rcu_qsbr& readers)
    : capacity_(options.sessions),
      hash_(make_hash(options.seed)),
      readers_(readers),
      sessions_(options.memory, std::size_t{options.sessions} + 1, options.records),
      inside_(options.memory, options.sessions),
      outside_(options.memory, options.sessions),
      numbers_(sessions_.data(), options.sessions),
      meter_(options.memory, metered_addresses(options.sessions)),
      workers_(options.workers) {
    std::uint64_t state = hash_.seed0 ^ hash_.seed1;
    for (Worker& worker : workers_) {
        worker.random = splitmix(state);
    }
}

// Three walks, so that the misses of a burst overlap: the bucket, then the session, then the comparison.
template <auto KeyOf, class IsKey>
void NatTable::find_burst(const NatIndex& index, std::span<const NatKey> keys, NatSession** sessions,
                          IsKey is_key) noexcept {
    std::array<std::uint64_t, kBurst> hashes;
    const std::size_t n = keys.size();
    for (std::size_t i = 0; i < n; ++i) {
        hashes[i] = hash_(keys[i]);
        index.prefetch(hashes[i]);
    }
    for (std::size_t i = 0; i < n; ++i) {
        sessions[i] = &sessions_[index.guess(hashes[i])];
        __builtin_prefetch(sessions[i]);
    }
    for (std::size_t i = 0; i < n; ++i) {
        if ((sessions[i]->*KeyOf)() != keys[i] || keys[i].rest == 0) [[unlikely]] {
            const std::uint32_t number = keys[i].rest == 0 ? 0 : index.find(hashes[i], is_key(keys[i]));
            sessions[i] = number == 0 ? nullptr : &sessions_[number];
        }
    }
}

void NatTable::find_inside(std::span<const NatKey> keys, NatSession** sessions) noexcept {
    find_burst<&NatSession::inside>(inside_, keys, sessions,
                                    [this](const NatKey& key) noexcept { return inside_is(key); });
}

void NatTable::find_outside(std::span<const NatKey> keys, NatSession** sessions) noexcept {
    find_burst<&NatSession::outside>(outside_, keys, sessions,
                                     [this](const NatKey& key) noexcept { return outside_is(key); });
}

NatSession* NatTable::find_inside(const NatKey& key) noexcept {
    const std::uint32_t number = inside_.find(hash_(key), inside_is(key));
    return number == 0 ? nullptr : &sessions_[number];
}

NatSession* NatTable::find_outside(const NatKey& key) noexcept {
    const std::uint32_t number = outside_.find(hash_(key), outside_is(key));
    return number == 0 ? nullptr : &sessions_[number];
}

std::size_t NatTable::memory_bytes() const noexcept {
    return sessions_.bytes() + inside_.memory_bytes() + outside_.memory_bytes() + meter_.memory_bytes() +
           workers_.size() * sizeof(Worker) + sizeof(*this);
}

}  // namespace twinspan
