// Generator ports: what feeds the worker loop in a benchmark, through the same RxQueue as a driver's.
#pragma once

#include "dataplane/io/queue.hpp"
#include "dataplane/packet/batch.hpp"
#include "dataplane/stages/esp_out.hpp"
#include "dataplane/stages/l2_rewrite.hpp"

#include <rte_mempool.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace twinspan::bench {

// What differs between the packets of a run. The rest comes from one template per size.
struct Flow {
    be32 src;
    be32 dst;
    be16 src_port;
    be16 dst_port;
    std::uint16_t tunnel = 0;  // esp_in: the peer's tunnel that seals it
};

// Frame sizes in the order they are sent, without FCS; repeated for ever.
using SizePattern = std::vector<std::uint16_t>;
SizePattern fixed_size(std::uint16_t bytes);
SizePattern imix();  // 7 : 4 : 1 of 64, 570 and 1420 bytes

// UDP over IPv4 in an untagged frame: one flow after the other, in the order given. Costs a buffer, a 64-byte copy and
// a patch.
class FlowSource {
public:
    FlowSource(rte_mempool* pool, std::uint16_t port, const MacAddress& to, const std::vector<Flow>& flows,
               const SizePattern& sizes);
    RxQueue queue() noexcept { return {.burst = &burst, .arg = this}; }
    std::uint16_t take(rte_mbuf** out, std::uint16_t n) noexcept;
    std::size_t flows() const noexcept { return records_.size(); }
    const Flow& flow(std::size_t i) const noexcept { return records_[i].flow; }
    std::size_t next_flow() const noexcept { return next_flow_; }

private:
    struct alignas(32) Record {
        Flow flow;
        std::uint32_t header_sum;  // of the IP header without its length
    };
    struct Template {
        alignas(64) std::array<std::uint8_t, 64> head;  // all that a packet of the least size has
        std::uint16_t bytes;
    };
    static std::uint16_t burst(void* self, rte_mbuf** out, std::uint16_t n) noexcept {
        return static_cast<FlowSource*>(self)->take(out, n);
    }
    void write(rte_mbuf& m, const Template& shape, const Record& record) const noexcept;

    rte_mempool* pool_;
    std::uint16_t port_;
    std::vector<Record> records_;
    std::vector<Template> templates_;
    std::size_t next_flow_ = 0;
    std::size_t next_size_ = 0;
};

// The peer of our tunnels: the same flows, sealed afresh by its own stages, so that every sequence number is new and
// the replay window does all its work.
class SealedSource {
public:
    // `peer`: the far end's snapshot. Its tunnels leave by egresses whose frames come in at `port` here.
    SealedSource(FlowSource flows, const Snapshot& peer, Engine& engine, std::uint16_t port);
    RxQueue queue() noexcept { return {.burst = &burst, .arg = this}; }

private:
    static std::uint16_t burst(void* self, rte_mbuf** out, std::uint16_t n) noexcept {
        return static_cast<SealedSource*>(self)->take(out, n);
    }
    std::uint16_t take(rte_mbuf** out, std::uint16_t n) noexcept;

    FlowSource flows_;
    std::uint16_t port_;
    WorkerCounters counters_;
    std::unique_ptr<Context> ctx_;
    Batch batch_;
    EspOut esp_out_;
    L2Rewrite l2_rewrite_;
};

}  // namespace twinspan::bench
