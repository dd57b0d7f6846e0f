#include "control/kernel_routes.hpp"

#include <algorithm>
#include <span>
#include <utility>

namespace twinspan {

std::optional<netlink::RouteEvent> KernelRoutes::route(const IpPrefix& prefix) const {
    auto best = state_.best_route(prefix, [&](const netlink::NextHop& hop) { return usable(hop, prefix.family()); });
    if (!best || best->table != netlink::kTableMain) {
        return std::nullopt;
    }
    netlink::RouteEvent route;
    route.prefix = prefix;
    route.metric = best->metric;
    route.type = best->type;
    route.protocol = best->protocol;
    route.nexthops = std::move(best->nexthops);
    return route;
}

bool KernelRoutes::usable(const netlink::NextHop& hop, IpFamily family) const {
    const netlink::LinkEvent* link = state_.link(hop.ifindex);
    return link != nullptr && link->up &&
           (rules_ == nullptr ? link->carrier : rules_->usable(hop.ifindex, family, link->carrier));
}

void KernelRoutes::for_each_prefix(const std::function<void(const IpPrefix&)>& f) const { state_.for_each_prefix(f); }

KernelView read_kernel(const netlink::KernelState& state) {
    KernelView view;
    state.for_each_link([&](const netlink::LinkEvent& link) { view.links.push_back(link); });
    state.for_each_address([&](const netlink::AddressEvent& address) { view.addresses.push_back(address); });
    state.for_each_neighbour([&](const netlink::NeighbourEvent& neighbour) { view.neighbours.push_back(neighbour); });
    return view;
}

void RouteFeed::add(const std::vector<IpPrefix>& prefixes, Clock::time_point began) {
    if (!prefixes.empty()) {
        prefixes_.insert(prefixes_.end(), prefixes.begin(), prefixes.end());
        batches_.push_back({prefixes_.size(), began});
    }
}

void RouteFeed::clear() {
    prefixes_ = {};
    batches_.clear();
    next_ = 0;
}

bool RouteFeed::step(Failover& failover) {
    const std::size_t count = std::min(waiting(), kPrefixesPerStep);
    if (count == 0) {
        return false;
    }
    failover.routes_changed(std::span(prefixes_).subspan(next_, count));
    next_ += count;
    const auto now = Clock::now();
    for (; !batches_.empty() && batches_.front().end <= next_; batches_.pop_front()) {
        last_ = std::chrono::duration_cast<std::chrono::microseconds>(now - batches_.front().began);
        lags_[lag_count_++ % lags_.size()] = last_;
    }
    if (next_ == prefixes_.size()) {
        clear();
    }
    return true;
}

std::chrono::microseconds RouteFeed::median_lag() const {
    std::vector<std::chrono::microseconds> lags(
        lags_.begin(), lags_.begin() + static_cast<std::ptrdiff_t>(std::min(lag_count_, lags_.size())));
    if (lags.empty()) {
        return std::chrono::microseconds{0};
    }
    const auto middle = lags.begin() + static_cast<std::ptrdiff_t>(lags.size() / 2);
    std::ranges::nth_element(lags, middle);
    return *middle;
}

}  // namespace twinspan
