#include "control/ctl/table.hpp"

#include <gtest/gtest.h>

namespace twinspan::ctl {
namespace {

using nlohmann::json;

TEST(Table, AlignsTextLeftAndNumbersRight) {
    constexpr Column kColumns[] = {
        {"name", "name"},          {"packets", "n", Format::count}, {"bytes", "b", Format::bytes},
        {"spi", "s", Format::hex}, {"up", "up", Format::yes_no},    {"note", "note", Format::text, Empty::hide}};
    const json rows = json::parse(R"([{"name":"lan","n":1234567,"b":1500,"s":4097,"up":true,"note":""},
                                      {"name":"primary","n":7,"b":null,"up":false}])");
    EXPECT_EQ(render(kColumns, rows),
              "name       packets    bytes  spi     up\n"
              "lan      1,234,567  1.50 kB  0x1001  yes\n"
              "primary          7        -  -       no\n");
}

TEST(Table, ShortensCountsBeforeItCutsText) {
    constexpr Column kColumns[] = {{"name", "name"}, {"n", "n", Format::count}};
    const json rows = json::parse(R"([{"name":"a-rather-long-name","n":123456789012}])");
    EXPECT_EQ(render(kColumns, rows, 40), "name                              n\na-rather-long-name  123,456,789,012\n");
    EXPECT_EQ(render(kColumns, rows, 30), "name                   n\na-rather-long-name  123G\n");
    EXPECT_EQ(render(kColumns, rows, 20), "name               n\na-rather-long…  123G\n");
}

TEST(Table, CountsCharactersNotBytes) {
    constexpr Column kColumns[] = {{"name", "name"}, {"n", "n", Format::count}};
    EXPECT_EQ(render(kColumns, json::parse(R"([{"name":"Zürich","n":1},{"name":"London","n":2}])")),
              "name    n\nZürich  1\nLondon  2\n");
}

TEST(Table, ShowsNoControlCharacters) {
    constexpr Column kColumns[] = {{"name", "name"}};
    EXPECT_EQ(render(kColumns, json::array({{{"name", "a\x1b[31m\nb"}}})), "name\na?[31m?b\n");
}

TEST(Table, WritesNumbersForPeople) {
    EXPECT_EQ(with_thousands(0), "0");
    EXPECT_EQ(with_thousands(999), "999");
    EXPECT_EQ(with_thousands(1000), "1,000");
    EXPECT_EQ(with_thousands(18446744073709551615u), "18,446,744,073,709,551,615");
    EXPECT_EQ(shortened(999), "999");
    EXPECT_EQ(shortened(1000), "1.00k");
    EXPECT_EQ(shortened(9994), "9.99k");
    EXPECT_EQ(shortened(9996), "10.0k");
    EXPECT_EQ(shortened(999499), "999k");
    EXPECT_EQ(shortened(999500), "1.00M");
    EXPECT_EQ(shortened(18446744073709551615u), "18.4E");
    EXPECT_EQ(human_bytes(0), "0 B");
    EXPECT_EQ(human_bytes(1536), "1.54 kB");
    EXPECT_EQ(human_seconds(0), "0 s");
    EXPECT_EQ(human_seconds(59), "59 s");
    EXPECT_EQ(human_seconds(3660), "1 h 1 min");
    EXPECT_EQ(human_seconds(86400), "1 d");
}

}  // namespace
}  // namespace twinspan::ctl
