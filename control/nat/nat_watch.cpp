#include "control/nat/nat_watch.hpp"

#include <algorithm>

namespace twinspan {

NatWatch::NatWatch(std::uint64_t limit, unsigned high_percent, unsigned low_percent) {
    set_marks(limit, high_percent, low_percent);
}

void NatWatch::set_marks(std::uint64_t limit, unsigned high_percent, unsigned low_percent) {
    limit_ = limit;
    water_.high = std::max<std::uint64_t>((limit * high_percent + 99) / 100, 1);
    water_.low = limit * low_percent / 100;
}

NatWatch::Change NatWatch::sample(std::uint64_t sessions) {
    samples_[taken_++ % kSamples] = sessions;
    water_.peak = std::max(water_.peak, sessions);
    if (!water_.is_high && sessions >= water_.high) {
        water_.is_high = true;
        ++water_.times;
        return Change::rose;
    }
    if (water_.is_high && sessions <= water_.low) {
        water_.is_high = false;
        return Change::fell;
    }
    return Change::none;
}

// The slope of the line with the least squares through the samples, which are a second apart.
NatForecast NatWatch::forecast() const {
    NatForecast result;
    const std::uint64_t n = std::min<std::uint64_t>(taken_, kSamples);
    if (n < kFewestSamples) {
        return result;
    }
    const auto count = static_cast<double>(n);
    const double middle = (count - 1) / 2;
    double products = 0;
    for (std::uint64_t i = 0; i < n; ++i) {
        const auto sessions = static_cast<double>(samples_[(taken_ - n + i) % kSamples]);
        products += (static_cast<double>(i) - middle) * sessions;
    }
    const double squares = count * (count * count - 1) / 12;
    result.growth = products / squares;
    const std::uint64_t last = samples_[(taken_ - 1) % kSamples];
    if (last >= limit_) {
        result.full_in_s = 0;
    } else if (result.growth > 0) {
        const double seconds = static_cast<double>(limit_ - last) / result.growth;
        if (seconds <= static_cast<double>(kHorizon)) {
            result.full_in_s = static_cast<std::uint64_t>(seconds);
        }
    }
    return result;
}

}  // namespace twinspan
