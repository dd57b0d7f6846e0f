#include "control/reload/ranges.hpp"

#include "control/config/prefix.hpp"

#include <algorithm>

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

Ranges subtract(const Ranges& from, const Ranges& what) {
    Ranges result = from;
    for (const Ipv4Range hole : what) {
        Ranges rest;
        for (const Ipv4Range range : result) {
            if (range.last < hole.first || hole.last < range.first) {
                rest.push_back(range);
                continue;
            }
            if (range.first < hole.first) {
                rest.push_back({range.first, to_be32(hole.first.host() - 1)});
            }
            if (hole.last < range.last) {
                rest.push_back({to_be32(hole.last.host() + 1), range.last});
            }
        }
        result = std::move(rest);
    }
    return result;
}

bool overlap(const Ranges& a, const Ranges& b) noexcept {
    return std::ranges::any_of(a, [&](Ipv4Range x) {
        return std::ranges::any_of(b, [&](Ipv4Range y) { return x.first <= y.last && y.first <= x.last; });
    });
}

std::uint64_t count_addresses(const Ranges& ranges) noexcept {
    std::uint64_t count = 0;
    for (const Ipv4Range range : ranges) {
        count += std::uint64_t{range.last.host()} - range.first.host() + 1;
    }
    return count;
}

std::string to_string(const Ranges& ranges) {
    std::string text;
    for (const Ipv4Range range : ranges) {
        text += (text.empty() ? "" : ", ") + to_string(range.first);
        text += range.first == range.last ? "" : "-" + to_string(range.last);
    }
    return text;
}

}  // namespace twinspan
