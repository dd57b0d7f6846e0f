// What the NAT's pools are like over time: water marks with their log lines and events, forecasts, and the survey that
// `show nat` asks for. Control thread only.
#pragma once

#include "control/config/config.hpp"
#include "control/nat/nat_survey.hpp"
#include "control/nat/nat_watch.hpp"
#include "dataplane/state/nat_events.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace twinspan {

struct NatUsage;

class NatStatus {
public:
    using Time = std::chrono::steady_clock::time_point;
    using Tell = std::function<void(const NatEvent&)>;  // `time` is in milliseconds since 1970

    static constexpr std::chrono::seconds kBetweenLines{60};  // of one kind about one pool

    // `tell` gets high and low water.
    NatStatus(const std::vector<PoolConfig>& pools, const NatTable& table, Tell tell);

    // The pools as a reload has left them: the same numbers, and perhaps more of them.
    void follow(const std::vector<PoolConfig>& pools);

    // From a timer, some 100 times a second.
    void tick(Time now);

    NatSurvey& survey() noexcept { return survey_; }
    std::size_t pools() const noexcept { return pools_.size(); }
    const NatWatch& watch(std::size_t pool) const noexcept { return pools_[pool].watch; }

private:
    struct Pool {
        std::string name;
        NatWatch watch;
        Time water_line{};      // when the log had it last
        Time exhausted_line{};  // the same
        std::uint64_t refused = 0;  // as the log had it last
    };
    void look(std::uint16_t index, Time now);
    void tell_water(std::uint16_t index, const NatUsage& usage, bool rose, Time now);

    const NatTable& table_;
    Tell tell_;
    NatSurvey survey_;
    std::vector<Pool> pools_;
    Time looked_{};
};

}  // namespace twinspan
