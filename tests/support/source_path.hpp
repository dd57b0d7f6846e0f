// Where the tree lies, for tests that read files of it.
#pragma once

#include <string>

namespace twinspan {

std::string source_path(const std::string& relative);

}  // namespace twinspan
