// The forwarding table as control wants it. Pure.
#pragma once

#include "dataplane/base/prefix_map.hpp"
#include "dataplane/config/route_result.hpp"

#include <cstddef>
#include <initializer_list>
#include <optional>
#include <utility>
#include <vector>

namespace twinspan {

// A million prefixes at 15 to 23 bytes each.
class FibPlan {
public:
    using value_type = std::pair<IpPrefix, RouteResult>;

    FibPlan() = default;
    FibPlan(std::initializer_list<value_type> entries) {
        for (const auto& [prefix, result] : entries) {
            insert_or_assign(prefix, result);
        }
    }

    std::optional<RouteResult> find(const IpPrefix& prefix) const noexcept {
        const std::uint32_t* raw = map_.find(prefix);
        return raw == nullptr ? std::nullopt : std::optional(RouteResult::from_raw(*raw));
    }
    bool contains(const IpPrefix& prefix) const noexcept { return map_.find(prefix) != nullptr; }
    bool insert_or_assign(const IpPrefix& prefix, RouteResult result) {
        return map_.insert_or_assign(prefix, result.raw());
    }
    bool erase(const IpPrefix& prefix) { return map_.erase(prefix); }
    std::size_t size() const noexcept { return map_.size(); }
    template <class F>  // f(const IpPrefix&, RouteResult), in no order
    void for_each(F&& f) const {
        map_.for_each([&](const IpPrefix& prefix, std::uint32_t raw) { f(prefix, RouteResult::from_raw(raw)); });
    }
    std::vector<value_type> sorted() const;

    friend bool operator==(const FibPlan& a, const FibPlan& b);

private:
    friend std::optional<value_type> longest_match(const FibPlan& plan, const IpPrefix& prefix);
    PrefixMap map_;
};

// How to get there from what is installed.
struct FibChanges {
    std::vector<FibPlan::value_type> insert;  // new, or with a new result
    std::vector<IpPrefix> erase;
    bool empty() const noexcept { return insert.empty() && erase.empty(); }
};

// The longest prefix of the plan that covers `prefix`, itself included.
std::optional<FibPlan::value_type> longest_match(const FibPlan& plan, const IpPrefix& prefix);

}  // namespace twinspan
