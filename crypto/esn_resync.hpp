// Finds an SA with extended sequence numbers again after more than 2^32 packets were lost (RFC 4303 appendix A3): the
// high half that the receiver infers is then wrong, and no packet verifies any more.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

namespace twinspan {

class Engine;
struct OpenJob;

// The state of one inbound SA. Thread: workers.
class EsnResync {
public:
    // Packets that fail in a row, none of them authentic, before the high half comes under suspicion; and again before
    // each further try. So a flood of forgeries costs at most kHalves / kFailuresPerTry more than it costs anyway.
    static constexpr std::uint64_t kFailuresPerTry = 64;
    // How many high halves after the inferred one are tried on one packet: 2^34 packets lost are half an hour at ten
    // million a second.
    static constexpr std::uint32_t kHalves = 4;

    bool due() const noexcept { return failures_.load(std::memory_order_relaxed) >= kFailuresPerTry * (1 + tries()); }
    // Since the last authentic packet.
    std::uint64_t tries() const noexcept { return tries_.load(std::memory_order_relaxed); }

    void failed(std::uint64_t packets) noexcept { failures_.fetch_add(packets, std::memory_order_relaxed); }
    void tried() noexcept { tries_.fetch_add(1, std::memory_order_relaxed); }
    void succeeded() noexcept {
        if (failures_.load(std::memory_order_relaxed) != 0) [[unlikely]] {
            failures_.store(0, std::memory_order_relaxed);
            tries_.store(0, std::memory_order_relaxed);
        }
    }

private:
    std::atomic<std::uint64_t> failures_{0};
    std::atomic<std::uint64_t> tries_{0};
};

// Worker. As open_burst; but of the packets of an SA under suspicion at most one is also tried with the next high
// halves. Where that succeeds, the job's `seq` is the number that verified, for the replay window to move to.
void open_burst_and_resync(Engine& engine, std::span<OpenJob> jobs) noexcept;

}  // namespace twinspan
