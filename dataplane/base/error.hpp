// What went wrong outside the packet path: what was tried, on what, and what the system said.
#pragma once

#include <expected>
#include <string>

namespace twinspan {

struct Error {
    std::string what;
};

template <class T>
using Result = std::expected<T, Error>;

}  // namespace twinspan
