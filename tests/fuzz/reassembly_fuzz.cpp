// Sequences of fragments against a model that keeps every byte by its place. Each step is five bytes: which packet
// (bits 0 and 1), whether more follow (2), whether time passes before it (3) and how much, ECN (4 and 5), no buffers
// (6); the offset, high byte first, in units of 8; the length, as it is or (bit 7 of the first byte) times 40; what it
// is filled with. The table is smaller than the number of packets when bit 0 of the first input byte is set: then only
// the books and the bytes of what comes out are looked at.
#include "dataplane/state/reassembly.hpp"
#include "tests/support/exact_packet.hpp"

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace twinspan {
namespace {

constexpr std::uint64_t kTimeout = 100;
constexpr std::size_t kStep = 5;

void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

// What RFC 791, 3168, 5722 and 8200 say of one packet's fragments, in the plainest way.
class Model {
public:
    struct Answer {
        Gathered state;
        Drop reason;
    };
    Answer add(unsigned offset, const std::vector<std::uint8_t>& payload, bool more, std::uint8_t ecn,
               std::uint64_t now, bool buffers) {
        if (payload.empty() || (more && payload.size() % 8 != 0)) {
            return {Gathered::dropped, Drop::malformed_frame};
        }
        if (!open || now - started >= kTimeout) {
            *this = {};
            open = true;
            started = now;
        }
        if (refused) {
            return {Gathered::dropped, *refused};
        }
        const std::size_t last = offset + payload.size();
        if (last > Reassembly::kMostPayload) {
            return refuse(Drop::too_long);
        }
        if (end && (last > *end || (!more && last != *end))) {
            return refuse(Drop::fragment_overlap);
        }
        if (ranges.contains({offset, last})) {
            return {Gathered::dropped, Drop::fragment_duplicate};
        }
        const bool overlaps =
            std::ranges::any_of(bytes, [&](const auto& b) { return b.first >= offset && b.first < last; });
        if (overlaps || (!more && !bytes.empty() && bytes.rbegin()->first >= last)) {
            return refuse(Drop::fragment_overlap);
        }
        if (ranges.size() == Reassembly::kMostFragments) {
            return refuse(Drop::fragment_too_many);
        }
        ranges.insert({offset, last});
        for (std::size_t i = 0; i < payload.size(); ++i) {
            bytes[offset + i] = payload[i];
        }
        ecns.insert(ecn);
        end = more ? end : last;
        if (end != bytes.size()) {
            return {Gathered::held, {}};
        }
        open = false;
        congested = ecns.contains(3);
        if (congested && ecns.contains(0)) {
            return {Gathered::dropped, Drop::fragment_overlap};
        }
        return buffers ? Answer{Gathered::whole, {}} : Answer{Gathered::dropped, Drop::no_mbuf};
    }
    std::map<std::size_t, std::uint8_t> bytes;
    bool congested = false;

private:
    Answer refuse(Drop reason) {
        refused = reason;
        return {Gathered::dropped, reason};
    }
    bool open = false;
    std::uint64_t started = 0;
    std::optional<Drop> refused;
    std::optional<std::size_t> end;
    std::set<std::pair<std::size_t, std::size_t>> ranges;
    std::set<std::uint8_t> ecns;
};

class Walk {
public:
    explicit Walk(bool small)
        : small_(small), table_({.datagrams = small ? std::uint16_t{2} : std::uint16_t{4}, .timeout_tsc = kTimeout}) {}

    void step(std::span<const std::uint8_t, kStep> op) {
        const std::uint32_t id = op[0] & 3u;
        const bool more = (op[0] & 4) != 0;
        now_ += (op[0] & 8) != 0 ? op[4] : 0u;
        const auto ecn = static_cast<std::uint8_t>(op[0] >> 4 & 3);
        buffers_ = (op[0] & 64) == 0;
        const unsigned offset = (unsigned{op[1]} << 8 | op[2]) % 0x2000u * 8u;
        const std::vector<std::uint8_t> payload(op[3] * ((op[0] & 128) != 0 ? 40u : 1u), op[4]);
        const std::array<std::uint8_t, 4> header{0x45, op[0], op[1], op[2]};
        const Model::Answer expected = models_[id].add(offset, payload, more, ecn, now_, buffers_);
        const std::uint64_t before = counters_[expected.reason].read();
        if (offset == 0 && expected.state != Gathered::dropped) {
            headers_[id] = header;
        }
        counters_.rx.add(1);
        const Gathering got = table_.add({.key = {.id = id, .ip = IpVersion::v4},
                                          .headers = header,
                                          .payload = payload,
                                          .offset = offset,
                                          .more = more,
                                          .ecn = ecn},
                                         now_, counters_, {.take = take, .arg = this, .room = kLargePacket});
        require((got.state == Gathered::whole) == (got.packet != nullptr));
        counters_.tx.add(got.packet != nullptr);
        if (!small_) {
            require(got.state == expected.state);
            require(got.state != Gathered::dropped || counters_[expected.reason].read() > before);
            check_whole(got, models_[id], headers_[id]);
        }
        table_.expire(now_, counters_);
        require(made_.empty() || got.packet == &made_.back().mbuf);
        made_.clear();
        check_books();
    }
    void finish() {
        table_.expire(now_ + kTimeout, counters_);
        check_books();
        require(counters_.held.read() == 0);
    }

private:
    static bool take(void* arg, rte_mbuf** out, std::uint16_t n) noexcept {
        auto& self = *static_cast<Walk*>(arg);
        require(n == 1);
        if (self.buffers_) {
            *out = &self.made_.emplace_back(std::span<const std::uint8_t>{}, std::size_t{kLargePacket}).mbuf;
        }
        return self.buffers_;
    }
    static void check_whole(const Gathering& got, const Model& model, const std::array<std::uint8_t, 4>& header) {
        if (got.packet == nullptr) {
            return;
        }
        const auto* p = rte_pktmbuf_mtod(got.packet, const std::uint8_t*);
        require(got.packet->data_len == header.size() + model.bytes.size());
        require(std::equal(header.begin(), header.end(), p));
        for (const auto& [at, byte] : model.bytes) {
            require(p[header.size() + at] == byte);
        }
        require(got.congested == model.congested);
    }
    void check_books() const {
        std::uint64_t drops = 0;
        for (const DropInfo& d : kDropInfo) {
            drops += counters_[d.id].read();
        }
        require(counters_.rx.read() == counters_.tx.read() + counters_.merged.read() + counters_.held.read() + drops);
        require(counters_.held.read() <= 4 * Reassembly::kMostFragments);
    }

    bool small_;
    bool buffers_ = true;
    std::uint64_t now_ = 1000;
    Reassembly table_;
    static inline WorkerCounters counters_;  // large; they go on counting
    std::deque<test::ExactPacket> made_;
    std::array<Model, 4> models_;
    std::array<std::array<std::uint8_t, 4>, 4> headers_{};
};

}  // namespace
}  // namespace twinspan

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    twinspan::Walk walk{(data[0] & 1) != 0};
    for (std::size_t at = 1; at + twinspan::kStep <= size; at += twinspan::kStep) {
        walk.step(std::span<const std::uint8_t, twinspan::kStep>{data + at, twinspan::kStep});
    }
    walk.finish();
    return 0;
}
