// Where a key stands in a configuration file, by its names: for messages about what two files say.
#pragma once

#include "control/config/yaml_reader.hpp"

#include <string>
#include <vector>

namespace twinspan {

// The names of keys from the top; "[2]" is the third of a list.
using KeyPath = std::vector<std::string>;

std::string to_string(const KeyPath& path);  // peerings.microsoft.legs[0].mtu

// One file's text. Errors in it do not matter here: what cannot be found is not there.
class KeyFinder {
public:
    explicit KeyFinder(const std::string& text);

    // Of the value, or of the nearest thing around it that is there; line 0: the file is empty.
    SourcePosition position(const KeyPath& path) const;
    // The value as the file has it, on one line; "default" when it is not there.
    std::string text(const KeyPath& path) const;
    std::string brief(const KeyPath& path) const;  // at most 60 bytes of it

private:
    YAML::Node root_;
};

}  // namespace twinspan
