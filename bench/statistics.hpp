// What is reported of many short samples.
#pragma once

#include <algorithm>
#include <vector>

namespace twinspan::bench {

// What else runs on the machine only adds to a sample, and on a busy one it adds to many.
inline double first_quartile(std::vector<double> v) {
    std::ranges::sort(v);
    return v[v.size() / 4];
}

inline double median(std::vector<double> v) {
    std::ranges::sort(v);
    return v[v.size() / 2];
}

// Between the quartiles, over the median.
inline double spread(std::vector<double> v) {
    std::ranges::sort(v);
    return (v[v.size() * 3 / 4] - v[v.size() / 4]) / v[v.size() / 2];
}

}  // namespace twinspan::bench
