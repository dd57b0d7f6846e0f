// What tests of refused configurations share.
#pragma once

#include "control/config/load.hpp"
#include "tests/support/source_path.hpp"

#include <fstream>
#include <sstream>
#include <string>

namespace twinspan {

inline std::string vector_text(const std::string& name) {
    std::ifstream in{source_path("tests/vectors/config/" + name)};
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

// One line each; empty when the text is accepted.
inline std::string errors_of(const std::string& text) {
    const auto config = parse_config(text, "f");
    std::string out;
    if (!config) {
        for (const ConfigError& error : config.error()) {
            out += (out.empty() ? "" : "\n") + to_string(error);
        }
    }
    return out;
}

}  // namespace twinspan
