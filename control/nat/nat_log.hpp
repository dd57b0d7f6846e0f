// The NAT's log: events of the workers and of control, as IPFIX to a collector. Nothing here waits, and memory is
// bounded by the workers' rings and the collector's buffer: what finds no room is lost and counted. Control thread
// only.
#pragma once

#include "control/config/nat_log_config.hpp"
#include "control/metrics.hpp"
#include "control/nat/collector.hpp"
#include "control/nat/ipfix.hpp"
#include "dataplane/state/nat_events.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace twinspan {

NatEventMask wanted_events(const NatLogConfig& config) noexcept;

class NatLog {
public:
    using Time = std::chrono::steady_clock::time_point;
    // As Dataplane::take_nat_events().
    using Take = std::function<std::size_t(std::size_t most, const std::function<void(const NatEvent&)>& fn)>;

    static constexpr std::size_t kMostAtOnce = 8192;  // events of one worker in a tick: half a millisecond
    static constexpr std::size_t kMostOwn = 1024;     // of control's own that wait for a collector

    NatLog(const NatLogConfig& config, Take take, Metrics& metrics);

    // What a reload may change: all but which events the workers tell.
    void follow(const NatLogConfig& config);

    // From a timer, some 100 times a second.
    void tick(Time now, std::chrono::system_clock::time_point wall);
    // control's own; `time` in milliseconds since 1970.
    void add(const NatEvent& event);
    const Collector& collector() const noexcept { return collector_; }

private:
    void log(const NatEvent& event);
    void begin_message();
    void send();
    void refill(Time now);

    NatLogConfig config_;
    Take take_;
    Metrics& metrics_;
    Collector collector_;
    ipfix::Message message_{ipfix::kLeastMessage};
    std::vector<NatEvent> own_;
    std::uint64_t tokens_;
    Time refilled_{};
    Time now_{};
    std::uint32_t export_seconds_ = 0;
    std::uint32_t sequence_ = 0;
    std::uint64_t epoch_ = 0;  // of the collector, when templates were sent last
    Time templates_at_{};
    std::uint32_t since_templates_ = 0;  // messages
    std::uint64_t unsent_ = 0;
};

}  // namespace twinspan
