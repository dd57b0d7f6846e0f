// What goes wrong many times a second is said when it begins, every ten seconds while it lasts, and when it is over.
#pragma once

#include <chrono>
#include <cstddef>
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

// The same of what fails for thousands at once and for one reason, a disk for one: said once for all of them. Each has
// a flag, false at first.
class SharedTrouble {
public:
    bool begins_or_lasts(bool& failing, Trouble::Clock::time_point now) noexcept {
        failing_ += std::exchange(failing, true) ? 0 : 1;
        return trouble_.begins_or_lasts(now);
    }
    // The last of them does well again.
    bool ends(bool& failing) noexcept { return std::exchange(failing, false) && --failing_ == 0 && trouble_.ends(); }
    std::size_t failing() const noexcept { return failing_; }

private:
    Trouble trouble_;
    std::size_t failing_ = 0;
};

}  // namespace twinspan
