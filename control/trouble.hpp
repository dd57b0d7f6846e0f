// What goes wrong many times a second is said when it begins, every ten seconds while it lasts, and when it is over.
#pragma once

#include <chrono>
#include <utility>

namespace twinspan {

class Trouble {
public:
    using Clock = std::chrono::steady_clock;
    static constexpr std::chrono::seconds kRepeat{10};

    // It has gone wrong: is it to be said?
    bool begins_or_lasts(Clock::time_point now) noexcept {
        if (lasts_ && now < say_again_) {
            return false;
        }
        lasts_ = true;
        say_again_ = now + kRepeat;
        return true;
    }
    // It has gone well: was it not so before?
    bool ends() noexcept { return std::exchange(lasts_, false); }

private:
    bool lasts_ = false;
    Clock::time_point say_again_{};
};

}  // namespace twinspan
