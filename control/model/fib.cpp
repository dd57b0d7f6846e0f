#include "control/model/fib.hpp"

namespace twinspan {

FibChanges difference(const FibPlan& installed, const FibPlan& wanted) {
    FibChanges changes;
    for (const auto& [prefix, result] : wanted) {
        const auto it = installed.find(prefix);
        if (it == installed.end() || it->second != result) {
            changes.insert.emplace_back(prefix, result);
        }
    }
    for (const auto& [prefix, result] : installed) {
        if (!wanted.contains(prefix)) {
            changes.erase.push_back(prefix);
        }
    }
    return changes;
}

std::optional<FibPlan::value_type> longest_match(const FibPlan& plan, const IpPrefix& prefix) {
    for (int length = prefix.length; length >= 0; --length) {
        const auto it = plan.find(IpPrefix{prefix.address, static_cast<std::uint8_t>(length)}.network());
        if (it != plan.end()) {
            return *it;
        }
    }
    return std::nullopt;
}

}  // namespace twinspan
