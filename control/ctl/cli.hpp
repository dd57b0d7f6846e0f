// The command line of twinspanctl.
#pragma once

#include <filesystem>
#include <iosfwd>
#include <string>
#include <vector>

namespace twinspan::ctl {

struct Terminal {
    std::ostream& out;
    std::ostream& err;
    std::filesystem::path socket_folder = "/run/twinspan";
};

enum ExitStatus : int { kDone = 0, kFailed = 1, kWrongUsage = 2 };

// `arguments` without the program's name. Returns an ExitStatus.
int run(const std::vector<std::string>& arguments, const Terminal& terminal);

}  // namespace twinspan::ctl
