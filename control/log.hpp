// The daemon's log: lines to stderr, where the service manager or the terminal picks them up. Control thread only.
#pragma once

#include <spdlog/spdlog.h>

namespace twinspan {

// Time to the microsecond, so that a repair can be laid beside a capture.
void start_log();

}  // namespace twinspan
