// The forwarding table as control wants it, and how to get there from what is installed. Pure.
#pragma once

#include "dataplane/base/prefix.hpp"
#include "dataplane/config/route_result.hpp"

#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace twinspan {

using FibPlan = std::map<IpPrefix, RouteResult>;

struct FibChanges {
    std::vector<std::pair<IpPrefix, RouteResult>> insert;  // new, or with a new result
    std::vector<IpPrefix> erase;
    bool empty() const noexcept { return insert.empty() && erase.empty(); }
};

FibChanges difference(const FibPlan& installed, const FibPlan& wanted);

// The longest prefix of the plan that covers `prefix`, itself included.
std::optional<FibPlan::value_type> longest_match(const FibPlan& plan, const IpPrefix& prefix);

}  // namespace twinspan
