// From the mirror to the forwarding table: what the compiler looks up, and the changes that it is told, some at a time.
#pragma once

#include "control/failover.hpp"
#include "control/model/world.hpp"
#include "control/netlink/linkdown.hpp"
#include "control/netlink/mirror_state.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <deque>
#include <vector>

namespace twinspan {

// The mirror's routes as the compiler wants them. Holds nothing itself.
class KernelRoutes : public RouteSource {
public:
    // Without `rules`: as Linux chooses with ignore_routes_with_linkdown set. Both outlive this.
    explicit KernelRoutes(const netlink::KernelState& state, const netlink::LinkdownRules* rules = nullptr)
        : state_(state), rules_(rules) {}
    std::optional<netlink::RouteEvent> route(const IpPrefix& prefix) const override;
    void for_each_prefix(const std::function<void(const IpPrefix&)>& f) const override;

private:
    bool usable(const netlink::NextHop& hop, IpFamily family) const;

    const netlink::KernelState& state_;
    const netlink::LinkdownRules* rules_;
};

// All but the routes.
KernelView read_kernel(const netlink::KernelState& state);

// Prefixes whose routes have changed, on their way to the FIB. However many there are, step() takes a few milliseconds,
// so that links and the control socket are served in between. Control thread.
class RouteFeed {
public:
    using Clock = std::chrono::steady_clock;
    static constexpr std::size_t kPrefixesPerStep = 2048;

    // `began`: when the first message of these changes was read.
    void add(const std::vector<IpPrefix>& prefixes, Clock::time_point began);
    void clear();  // all of them have been seen to
    // The oldest of them. False: there was none.
    bool step(Failover& failover);

    std::size_t waiting() const noexcept { return prefixes_.size() - next_; }
    // From reading an event to the FIB entry: of the last batch of events, and the middle of the last 128.
    std::chrono::microseconds last_lag() const noexcept { return last_; }
    std::chrono::microseconds median_lag() const;

private:
    struct Batch {
        std::size_t end;  // in prefixes_
        Clock::time_point began;
    };
    std::vector<IpPrefix> prefixes_;
    std::size_t next_ = 0;
    std::deque<Batch> batches_;
    std::array<std::chrono::microseconds, 128> lags_{};
    std::size_t lag_count_ = 0;
    std::chrono::microseconds last_{0};
};

}  // namespace twinspan
