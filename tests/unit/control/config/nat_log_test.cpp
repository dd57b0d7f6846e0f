// Where the NAT's log goes: what is read, and what is refused where.
#include "tests/unit/control/config/refusal.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace twinspan {
namespace {

std::string nva_with(const std::string& log) { return vector_text("nva.yaml") + "nat-log:\n  " + log + "\n"; }

// Behind the lines of the file, the one of the key itself, and two blanks.
std::string at(std::size_t column, const std::string& what) {
    const std::string text = vector_text("nva.yaml");
    const auto line = static_cast<std::size_t>(std::ranges::count(text, '\n')) + 2;
    return "f:" + std::to_string(line) + ":" + std::to_string(column) + ": " + what;
}

NatLogConfig read(const std::string& log) {
    const auto config = parse_config(nva_with(log), "f");
    if (!config) {
        ADD_FAILURE() << to_string(config.error().at(0));
        return {};
    }
    return config->nat_log.value();
}

TEST(NatLogConfig, IsOffByDefault) {
    const auto config = parse_config(vector_text("nva.yaml"), "f");
    ASSERT_TRUE(config);
    EXPECT_FALSE(config->nat_log);
}

TEST(NatLogConfig, HasDefaults) {
    const NatLogConfig log = read("collector: 192.0.2.5");
    EXPECT_EQ(log.collector.text(), "udp 192.0.2.5:4739");
    EXPECT_EQ(log.refresh_seconds, 60u);
    EXPECT_EQ(log.refresh_messages, 100u);
    EXPECT_EQ(log.rate, 50'000u);
    EXPECT_EQ(log.domain, 1u);
    EXPECT_FALSE(log.sessions);
    EXPECT_FALSE(log.mappings);
}

TEST(NatLogConfig, ReadsEveryKey) {
    const auto config = parse_config(vector_text("every-key.yaml"), "/etc/twinspan/every-key.yaml");
    ASSERT_TRUE(config);
    ASSERT_TRUE(config->nat_log);
    const NatLogConfig& log = *config->nat_log;
    EXPECT_EQ(log.collector.text(), "udp [2001:db8::5]:2055");
    EXPECT_EQ(log.refresh_seconds, 300u);
    EXPECT_EQ(log.refresh_messages, 20u);
    EXPECT_EQ(log.rate, 1000u);
    EXPECT_EQ(log.domain, 7u);
    EXPECT_TRUE(log.sessions);
    EXPECT_TRUE(log.mappings);
}

TEST(NatLogConfig, ReadsCollectorsInEveryForm) {
    EXPECT_EQ(read("collector: 192.0.2.5:9995").collector.text(), "udp 192.0.2.5:9995");
    EXPECT_EQ(read("collector: \"2001:db8::5\"").collector.text(), "udp [2001:db8::5]:4739");
    EXPECT_EQ(read("collector: \"[2001:db8::5]\"").collector.text(), "udp [2001:db8::5]:4739");
    EXPECT_EQ(read("{ collector: \"[2001:db8::5]:1\", transport: tcp }").collector.text(), "tcp [2001:db8::5]:1");
}

TEST(NatLogConfig, RefusesWhatIsNoCollector) {
    for (const char* bad : {"\"192.0.2.5:\"", "192.0.2.5:0", "192.0.2.5:65536", "192.0.2.5:x", "collector.example",
                            "0.0.0.0", "\"[2001:db8::5]:\"", "\"[2001:db8::5\"", "\"[2001:db8::5]9\"", "\"::\""}) {
        std::string found = bad;
        std::erase(found, '"');
        EXPECT_EQ(errors_of(nva_with(std::string{"collector: "} + bad)),
                  at(14, "found '" + found +
                             "', expected an address with or without a port, like 192.0.2.5:4739 or "
                             "[2001:db8::5]:4739"));
    }
}

TEST(NatLogConfig, RefusesWithThePlace) {
    EXPECT_EQ(errors_of(nva_with("transport: udp")),
              at(3,
                 "found no key 'collector', expected an address with or without a port, like 192.0.2.5:4739 or "
                 "[2001:db8::5]:4739"));
    EXPECT_EQ(errors_of(nva_with("{ collector: 192.0.2.5, transport: sctp }")),
              at(38, "found 'sctp', expected udp or tcp"));
    EXPECT_EQ(errors_of(nva_with("{ collector: 192.0.2.5, rate: 0 }")),
              at(33, "found '0', expected a whole number from 1 to 10000000"));
    EXPECT_EQ(errors_of(nva_with("{ collector: 192.0.2.5, transport: tcp, template-refresh: 9s }")),
              at(61,
                 "found 'template-refresh', expected none with transport tcp: templates are sent once for each "
                 "connection"));
}

TEST(NatLogConfig, NeedsAPool) {
    std::string text = vector_text("nva.yaml");
    for (std::size_t from = text.find("    nat:"); from != std::string::npos; from = text.find("    nat:")) {
        text.erase(from, text.find('\n', from) + 1 - from);
    }
    EXPECT_THAT(errors_of(text + "nat-log: { collector: 192.0.2.5 }\n"),
                testing::HasSubstr("found nat-log without a pool, expected 'nat' on a peering"));
}

}  // namespace
}  // namespace twinspan
