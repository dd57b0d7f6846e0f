// docs/configuration.md and the parser know the same keys, and a file with all of them is accepted.
#include "control/config/schema.hpp"
#include "tests/support/source_path.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>

namespace twinspan {
namespace {

std::string file_text(const std::string& path) {
    std::ifstream in{source_path(path)};
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

// Headings "## name" and, below them, table rows "| `key` | ...".
std::map<std::string, std::set<std::string>> documented() {
    std::map<std::string, std::set<std::string>> out;
    std::istringstream lines{file_text("docs/configuration.md")};
    std::string section;
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with("## ")) {
            section = line.substr(3);
        } else if (line.starts_with("| `")) {
            out[section].insert(line.substr(3, line.find('`', 3) - 3));
        }
    }
    return out;
}

TEST(ConfigurationReference, KnowsTheKeysOfTheParser) {
    const auto pages = documented();
    for (const schema::Section& section : schema::kSections) {
        const std::set<std::string> keys{section.keys.begin(), section.keys.end()};
        ASSERT_TRUE(pages.contains(std::string{section.path})) << section.path;
        EXPECT_EQ(pages.at(std::string{section.path}), keys) << section.path;
    }
    EXPECT_EQ(pages.size(), schema::kSections.size());
}

// load_test parses that file.
TEST(ConfigurationReference, TheExampleHasEveryKey) {
    const std::string text = file_text("tests/vectors/config/every-key.yaml");
    for (const schema::Section& section : schema::kSections) {
        for (const std::string_view key : section.keys) {
            if (!section.path.starts_with("SA file")) {
                EXPECT_NE(text.find(std::string{key} + ":"), std::string::npos) << section.path << ' ' << key;
            }
        }
    }
}

}  // namespace
}  // namespace twinspan
