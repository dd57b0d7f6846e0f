// Fragments of packets for us, gathered until a packet is whole (RFC 791 section 3.2, RFC 8200 section 4.5). One table
// for all workers, since fragments may come over both links. It holds copies in memory of its own, so what is never
// completed takes no packet buffers, and gives a packet that is whole in one contiguous buffer. Under a lock: fragments
// are rare.
//
// DPDK's ip_frag library is not used: it takes IPv4 datagrams of two protocols for one, joins overlapping fragments,
// gives chains of buffers, and frees what it rejects without saying why.
#pragma once

#include "dataplane/packet/batch.hpp"
#include "dataplane/state/spin_lock.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

namespace twinspan {

// What the fragments of one packet have in common.
struct FragmentKey {
    Ipv6Address src{}, dst{};  // IPv4: the first four bytes
    std::uint32_t id = 0;  // as it lies in the packet
    std::uint8_t protocol = 0;  // IPv6: 0, its fragments may differ in it
    IpVersion ip = IpVersion::none;
    friend bool operator==(const FragmentKey&, const FragmentKey&) = default;
};

struct FragmentView {
    FragmentKey key;
    std::span<const std::uint8_t> headers;  // IP headers before the payload; those of the first one count
    std::span<const std::uint8_t> payload;
    std::uint32_t offset = 0;  // of the payload in the packet's, bytes
    bool more = false;
    std::uint8_t ecn = 0;  // RFC 3168 codepoint
};

enum class Gathered : std::uint8_t { held, whole, dropped };
struct Gathering {
    Gathered state = Gathered::held;
    rte_mbuf* packet = nullptr;  // whole
    bool congested = false;  // whole: a fragment has met congestion (RFC 3168 section 5.3)
};

struct ReassemblyOptions {
    std::uint16_t datagrams = 256;  // at once, kMostPayload bytes each; the oldest makes room for another
    std::uint64_t timeout_tsc = 0;  // from a packet's first fragment on
};

class Reassembly {
public:
    static constexpr unsigned kMostHeaders = 256;  // bytes
    static constexpr unsigned kMostPayload = kLargePacket - kMostHeaders;
    static constexpr unsigned kMostFragments = 32;  // of one packet

    explicit Reassembly(const ReassemblyOptions& options);

    // Copies the fragment. A packet that is whole by it comes in a buffer from `buffers`: the headers of its first
    // fragment, then the payload. Counts held, merged and drops, this one and all that end by it. Thread: worker.
    Gathering add(const FragmentView& fragment, std::uint64_t now_tsc, WorkerCounters& counters,
                  const BufferSource& buffers) noexcept;
    // Drops what was not completed in time. Thread: worker.
    void expire(std::uint64_t now_tsc, WorkerCounters& counters) noexcept;

    std::size_t memory_bytes() const noexcept;

private:
    struct Range {
        std::uint16_t begin, end;
    };
    struct Datagram {
        FragmentKey key;
        std::uint64_t started = 0;
        std::uint32_t have = 0;  // bytes of payload
        std::uint32_t total = 0;  // 0: the last fragment is missing
        std::uint16_t fragments = 0;
        std::uint16_t header_bytes = 0;
        std::uint8_t ecns = 0;  // a bit for each codepoint seen
        bool refused = false;  // for `reason`: what still comes ends the same way (RFC 5722 section 4)
        Drop reason{};
        std::array<Range, kMostFragments> ranges;
        std::array<std::uint8_t, kMostHeaders> headers;
    };

    std::uint8_t* payload_of(std::size_t i) noexcept { return payloads_.data() + i * kMostPayload; }
    std::size_t find_or_open(const FragmentKey& key, std::uint32_t tag, std::uint64_t now, WorkerCounters& c) noexcept;
    void close(std::size_t i) noexcept;
    void abandon(std::size_t i, Drop reason, WorkerCounters& counters) noexcept;
    Gathering refuse(std::size_t i, Drop reason, WorkerCounters& counters) noexcept;
    void store(std::size_t i, const FragmentView& fragment) noexcept;
    Gathering complete(std::size_t i, WorkerCounters& counters, const BufferSource& buffers) noexcept;
    bool timed_out(const Datagram& d, std::uint64_t now) const noexcept {
        // Another worker's loop may have begun a little later than this one's.
        return static_cast<std::int64_t>(now - d.started) >= static_cast<std::int64_t>(timeout_tsc_);
    }
    static Verdict check(const Datagram& d, const FragmentView& fragment) noexcept;

    SpinLock lock_;
    std::uint64_t timeout_tsc_;
    std::atomic<std::uint32_t> open_{0};  // written under the lock
    std::vector<std::uint32_t> tags_;  // of keys, 0: free; looked through in one go
    std::vector<Datagram> datagrams_;
    std::vector<std::uint8_t> payloads_;
};

}  // namespace twinspan
