// How full the pools are, looked at once a second: water marks, and when a pool will be full if it grows as it does.
// Control thread only.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace twinspan {

// Of one pool. Marks in sessions.
struct NatWater {
    std::uint64_t high = 0;  // at or above: high water
    std::uint64_t low = 0;   // at or below: it is over
    std::uint64_t peak = 0;  // the most that was seen
    std::uint64_t times = 0;  // how often it rose to high water
    bool is_high = false;
};

struct NatForecast {
    double growth = 0;  // sessions a second, by least squares over the last minutes
    std::optional<std::uint64_t> full_in_s;  // none: not at this rate
};

class NatWatch {
public:
    using Time = std::chrono::steady_clock::time_point;
    enum class Change : std::uint8_t { none, rose, fell };

    static constexpr std::chrono::seconds kInterval{1};
    static constexpr std::size_t kSamples = 300;        // five minutes
    static constexpr std::size_t kFewestSamples = 10;
    static constexpr std::uint64_t kHorizon = 30 * 86400;  // seconds; what is further away is not at this rate

    // `limit`: sessions. Marks in percent of it.
    NatWatch(std::uint64_t limit, unsigned high_percent, unsigned low_percent);
    // What was seen so far stays.
    void set_marks(std::uint64_t limit, unsigned high_percent, unsigned low_percent);

    // Once each kInterval.
    Change sample(std::uint64_t sessions);

    const NatWater& water() const noexcept { return water_; }
    std::uint64_t limit() const noexcept { return limit_; }
    NatForecast forecast() const;

private:
    std::uint64_t limit_ = 0;
    NatWater water_;
    std::array<std::uint64_t, kSamples> samples_{};
    std::uint64_t taken_ = 0;
};

}  // namespace twinspan
