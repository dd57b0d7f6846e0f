#include "control/config/ranges.hpp"

#include "control/config/prefix.hpp"

#include <algorithm>
#include <iterator>

namespace twinspan {

Ranges unite(Ranges a, const Ranges& b) {
    a.insert(a.end(), b.begin(), b.end());
    std::ranges::sort(a, {}, &Ipv4Range::first);
    Ranges result;
    for (const Ipv4Range range : a) {
        if (!result.empty() && range.first.host() <= std::uint64_t{result.back().last.host()} + 1) {
            result.back().last = std::max(result.back().last, range.last);
        } else {
            result.push_back(range);
        }
    }
    return result;
}

// Both ascend, so one walk over the two will do.
Ranges subtract(const Ranges& from, const Ranges& what) {
    Ranges result;
    auto hole = what.begin();
    for (const Ipv4Range range : from) {
        std::uint64_t first = range.first.host();
        const std::uint32_t last = range.last.host();
        while (hole != what.end() && hole->last.host() < first) {
            ++hole;
        }
        for (auto next = hole; next != what.end() && next->first.host() <= last && first <= last; ++next) {
            if (first < next->first.host()) {
                result.push_back({to_be32(static_cast<std::uint32_t>(first)), to_be32(next->first.host() - 1)});
            }
            first = std::uint64_t{next->last.host()} + 1;
            hole = next;
        }
        if (first <= last) {
            result.push_back({to_be32(static_cast<std::uint32_t>(first)), range.last});
        }
    }
    return result;
}

bool holds(const Ranges& ranges, be32 address) noexcept {
    const auto after = std::ranges::upper_bound(ranges, address, {}, &Ipv4Range::first);
    return after != ranges.begin() && address <= std::prev(after)->last;
}

bool overlap(const Ranges& a, const Ranges& b) noexcept {
    return std::ranges::any_of(
        a, [&](Ipv4Range x) { return std::ranges::any_of(b, [x](Ipv4Range y) { return overlap(x, y); }); });
}

std::uint64_t count_addresses(const Ranges& ranges) noexcept {
    std::uint64_t count = 0;
    for (const Ipv4Range range : ranges) {
        count += std::uint64_t{range.last.host()} - range.first.host() + 1;
    }
    return count;
}

std::string to_string(Ipv4Range range) {
    return range.first == range.last ? to_string(range.first) : to_string(range.first) + "-" + to_string(range.last);
}

std::string to_string(const Ranges& ranges) {
    std::string text;
    for (const Ipv4Range range : ranges) {
        text += (text.empty() ? "" : ", ") + to_string(range);
    }
    return text;
}

}  // namespace twinspan
