#include "control/model/fib.hpp"

#include <algorithm>

namespace twinspan {

std::vector<FibPlan::value_type> FibPlan::sorted() const {
    std::vector<value_type> all;
    all.reserve(size());
    for_each([&](const IpPrefix& prefix, RouteResult result) { all.emplace_back(prefix, result); });
    std::ranges::sort(all, {}, &value_type::first);
    return all;
}

bool operator==(const FibPlan& a, const FibPlan& b) {
    bool same = a.size() == b.size();
    a.for_each([&](const IpPrefix& prefix, RouteResult result) { same = same && b.find(prefix) == result; });
    return same;
}

std::optional<FibPlan::value_type> longest_match(const FibPlan& plan, const IpPrefix& prefix) {
    const auto match = plan.map_.longest_match(prefix);
    return match ? std::optional(FibPlan::value_type{match->first, RouteResult::from_raw(match->second)})
                 : std::nullopt;
}

}  // namespace twinspan
