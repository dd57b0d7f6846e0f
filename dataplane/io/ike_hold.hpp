// IKE packets of Linux wait here until the workers have every SA that Linux had when they were sent: a peer may use a
// new SA from the moment that it has the answer (RFC 7296 section 2.8). They leave in their order.
#pragma once

#include "dataplane/base/counter.hpp"
#include "dataplane/base/descriptor.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

struct rte_mbuf;

namespace twinspan {

class IkeHold {
public:
    using Clock = std::chrono::steady_clock;
    static constexpr std::size_t kMost = 1024;
    // A key daemon repeats itself after 2 s at the earliest.
    static constexpr std::chrono::milliseconds kLongest{500};

    // control: before the punt thread starts. Until then nothing is held. False: there is no eventfd to be had.
    bool open() noexcept;
    // control: readable when packets wait.
    int fd() const noexcept { return wake_.get(); }
    // control: how many have come so far. All that Linux told anybody before they were sent can be read by now.
    std::uint64_t asked() noexcept;
    // control: so many may leave.
    void release(std::uint64_t asked) noexcept { released_.store(asked, std::memory_order_release); }

    // punt thread: what is for the hold. `frame`: from its Ethernet header on.
    bool wants(std::span<const std::uint8_t> frame) const noexcept { return fd() >= 0 && is_ike(frame); }
    static bool is_ike(std::span<const std::uint8_t> frame) noexcept;
    bool empty() const noexcept { return taken_ == held_so_far(); }
    bool full() const noexcept { return held_so_far() - taken_ == kMost; }
    // punt thread: not when full.
    void hold(rte_mbuf& m, Clock::time_point now) noexcept;
    // punt thread: the next that may leave, or null.
    rte_mbuf* take(Clock::time_point now) noexcept;
    // punt thread: the next, whatever control has said. Not when empty.
    rte_mbuf* take_unreleased() noexcept;

    // any thread: those that left before control said so.
    const Counter& overdue() const noexcept { return overdue_; }

private:
    struct Held {
        rte_mbuf* packet;
        Clock::time_point until;
    };
    std::uint64_t held_so_far() const noexcept { return asked_.load(std::memory_order_relaxed); }

    Descriptor wake_{-1};
    std::array<Held, kMost> ring_{};          // punt thread; packet number n (from 0) is at n % kMost
    std::uint64_t taken_ = 0;                 // punt thread
    std::atomic<std::uint64_t> asked_{0};     // punt thread: writes
    std::atomic<std::uint64_t> released_{0};  // control: writes
    Counter overdue_;
};

}  // namespace twinspan
