// The route mirror at the size of the Internet: real kernel routes, the mirror, the planner and the FIB that workers
// read.
#pragma once

#include "dataplane/base/error.hpp"

#include <nlohmann/json.hpp>

#include <cstddef>

namespace twinspan::bench {

struct MirrorBench {
    std::size_t routes = 1'000'000;
    unsigned seconds = 10;            // of sustained changes
    unsigned changes_per_second = 10'000;
    std::size_t churn = 400'000;      // changes: an hour's worth at some hundred a second
};

// Needs root; makes a network namespace of its own, for the calling thread and those it starts. Fails when the mirror
// or the FIB end up other than the kernel's table, or an unaffected lookup fails.
Result<nlohmann::json> run_mirror(const MirrorBench& bench);

}  // namespace twinspan::bench
