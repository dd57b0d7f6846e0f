#include "dataplane/state/reassembly.hpp"

#include <nmmintrin.h>

#include <algorithm>
#include <cstring>
#include <mutex>

namespace twinspan {
namespace {

constexpr unsigned kUnit = 8;  // bytes that an offset counts by
constexpr std::uint8_t kNotEct = 0, kCongestion = 3;
constexpr std::uint8_t bit(std::uint8_t ecn) noexcept { return static_cast<std::uint8_t>(1u << ecn); }

std::uint32_t tag_of(const FragmentKey& key) noexcept {
    std::uint64_t crc = key.id | std::uint64_t{key.protocol} << 32;
    for (const Ipv6Address* address : {&key.src, &key.dst}) {
        for (unsigned i = 0; i < sizeof(Ipv6Address); i += 8) {
            std::uint64_t word;
            std::memcpy(&word, address->data() + i, 8);
            crc = _mm_crc32_u64(crc, word);
        }
        crc = _mm_crc32_u64(crc, key.id);
    }
    return static_cast<std::uint32_t>(crc) | 1u;
}

void dropped(WorkerCounters& counters, Drop reason, std::uint64_t fragments) noexcept {
    counters[reason].add(fragments);
    counters.held.add(-fragments);
}

}  // namespace

Reassembly::Reassembly(const ReassemblyOptions& options)
    : timeout_tsc_(options.timeout_tsc),
      tags_(options.datagrams),
      datagrams_(options.datagrams),
      payloads_(std::size_t{options.datagrams} * kMostPayload) {}

std::size_t Reassembly::memory_bytes() const noexcept {
    return payloads_.size() + datagrams_.size() * (sizeof(Datagram) + sizeof(tags_[0]));
}

void Reassembly::close(std::size_t i) noexcept {
    tags_[i] = 0;
    open_.store(open_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
}

// The fragments that it holds end for `reason`.
void Reassembly::abandon(std::size_t i, Drop reason, WorkerCounters& counters) noexcept {
    dropped(counters, reason, datagrams_[i].fragments);
    datagrams_[i].fragments = 0;
}

// So do they, this one, and all that is still to come until it has timed out.
Gathering Reassembly::refuse(std::size_t i, Drop reason, WorkerCounters& counters) noexcept {
    abandon(i, reason, counters);
    counters[reason].add(1);
    datagrams_[i].refused = true;
    datagrams_[i].reason = reason;
    return {.state = Gathered::dropped};
}

std::size_t Reassembly::find_or_open(const FragmentKey& key, std::uint32_t tag, std::uint64_t now,
                                     WorkerCounters& counters) noexcept {
    std::size_t place = tags_.size();
    std::size_t oldest = 0;
    for (std::size_t i = 0; i < tags_.size(); ++i) {
        if (tags_[i] == tag && datagrams_[i].key == key) {
            if (!timed_out(datagrams_[i], now)) {
                return i;
            }
            abandon(i, Drop::fragment_timeout, counters);
            close(i);
        }
        if (tags_[i] == 0) {
            place = i;
        } else if (datagrams_[i].started < datagrams_[oldest].started) {
            oldest = i;
        }
    }
    if (place == tags_.size()) {
        abandon(oldest, Drop::fragment_table_full, counters);
        close(oldest);
        place = oldest;
    }
    Datagram& d = datagrams_[place];
    d.key = key;
    d.started = now;
    d.have = d.total = 0;
    d.fragments = d.header_bytes = 0;
    d.ecns = 0;
    d.refused = false;
    tags_[place] = tag;
    open_.store(open_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    return place;
}

// What may follow the fragments that are there. RFC 8200 section 4.5 refuses overlaps, and lets an exact duplicate pass
// for lost; where the packet ends, its fragments must agree.
Verdict Reassembly::check(const Datagram& d, const FragmentView& fragment) noexcept {
    const std::uint64_t end = std::uint64_t{fragment.offset} + fragment.payload.size();
    if (end > kMostPayload) {
        return Drop::too_long;
    }
    const bool ends_elsewhere = d.total != 0 && (end > d.total || (!fragment.more && end != d.total));
    if (ends_elsewhere) {
        return Drop::fragment_overlap;
    }
    bool overlaps = false;
    for (const Range& r : std::span{d.ranges.data(), d.fragments}) {
        if (r.begin == fragment.offset && r.end == end) {
            return Drop::fragment_duplicate;
        }
        overlaps |= (fragment.offset < r.end && r.begin < end) || (!fragment.more && r.end > end);
    }
    if (overlaps) {
        return Drop::fragment_overlap;
    }
    return d.fragments == kMostFragments ? Verdict{Drop::fragment_too_many} : Verdict::keep();
}

void Reassembly::store(std::size_t i, const FragmentView& fragment) noexcept {
    Datagram& d = datagrams_[i];
    const auto end = static_cast<std::uint16_t>(fragment.offset + fragment.payload.size());
    std::ranges::copy(fragment.payload, payload_of(i) + fragment.offset);
    if (fragment.offset == 0) {
        std::ranges::copy(fragment.headers, d.headers.begin());
        d.header_bytes = static_cast<std::uint16_t>(fragment.headers.size());
    }
    d.ranges[d.fragments++] = {static_cast<std::uint16_t>(fragment.offset), end};
    d.have += static_cast<std::uint32_t>(fragment.payload.size());
    d.ecns |= bit(fragment.ecn);
    if (!fragment.more) {
        d.total = end;
    }
}

Gathering Reassembly::complete(std::size_t i, WorkerCounters& counters, const BufferSource& buffers) noexcept {
    Datagram& d = datagrams_[i];
    close(i);
    // RFC 3168 section 5.3: congestion that one has met, the packet has met; unless another could not have said so.
    const bool congested = (d.ecns & bit(kCongestion)) != 0;
    const bool contradicts = congested && (d.ecns & bit(kNotEct)) != 0;
    rte_mbuf* out = nullptr;
    if (contradicts || !buffers(&out, 1)) {
        dropped(counters, contradicts ? Drop::fragment_overlap : Drop::no_mbuf, d.fragments);
        return {.state = Gathered::dropped};
    }
    char* to = rte_pktmbuf_append(out, static_cast<std::uint16_t>(d.header_bytes + d.total));
    std::memcpy(to, d.headers.data(), d.header_bytes);
    std::memcpy(to + d.header_bytes, payload_of(i), d.total);
    counters.held.add(-std::uint64_t{d.fragments});
    counters.merged.add(d.fragments - 1u);
    return {.state = Gathered::whole, .packet = out, .congested = congested};
}

Gathering Reassembly::add(const FragmentView& fragment, std::uint64_t now_tsc, WorkerCounters& counters,
                          const BufferSource& buffers) noexcept {
    const bool malformed = fragment.payload.empty() || fragment.headers.size() > kMostHeaders ||
                           (fragment.more && fragment.payload.size() % kUnit != 0);
    if (malformed) {
        counters[Drop::malformed_frame].add(1);
        return {.state = Gathered::dropped};
    }
    const std::uint32_t tag = tag_of(fragment.key);
    const std::lock_guard guard{lock_};
    const std::size_t i = find_or_open(fragment.key, tag, now_tsc, counters);
    Datagram& d = datagrams_[i];
    if (d.refused) {
        counters[d.reason].add(1);
        return {.state = Gathered::dropped};
    }
    if (const Verdict verdict = check(d, fragment); !verdict.kept()) {
        if (verdict.reason() != Drop::fragment_duplicate) {
            return refuse(i, verdict.reason(), counters);
        }
        counters[Drop::fragment_duplicate].add(1);
        return {.state = Gathered::dropped};
    }
    store(i, fragment);
    counters.held.add(1);
    return d.have == d.total ? complete(i, counters, buffers) : Gathering{};
}

void Reassembly::expire(std::uint64_t now_tsc, WorkerCounters& counters) noexcept {
    if (open_.load(std::memory_order_relaxed) == 0) [[likely]] {
        return;
    }
    const std::lock_guard guard{lock_};
    for (std::size_t i = 0; i < tags_.size(); ++i) {
        if (tags_[i] != 0 && timed_out(datagrams_[i], now_tsc)) {
            abandon(i, Drop::fragment_timeout, counters);
            close(i);
        }
    }
}

}  // namespace twinspan
