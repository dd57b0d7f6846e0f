#include "tests/support/source_path.hpp"

namespace twinspan {

std::string source_path(const std::string& relative) { return std::string{TWINSPAN_SOURCE_DIR} + '/' + relative; }

}  // namespace twinspan
