#include "control/log.hpp"

#include <spdlog/sinks/stdout_sinks.h>

namespace twinspan {

void start_log() {
    spdlog::set_default_logger(spdlog::stderr_logger_st("twinspand"));
    spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%f %l: %v");
    spdlog::flush_on(spdlog::level::info);
}

}  // namespace twinspan
