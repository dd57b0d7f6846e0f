// Static SAs whose disk fails: what is logged, and that no number is used that the disk does not cover.
#include "control/sa/static_sas.hpp"

#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace twinspan {
namespace {

SaConfig config_of(std::uint32_t spi, std::uint8_t key) {
    SaConfig config{.spi = spi, .keymat = SecretBytes(keymat_len(Suite::aes_256_gcm))};
    std::fill_n(config.keymat.data(), config.keymat.size(), key);
    return config;
}

std::size_t lines(const std::string& text) { return static_cast<std::size_t>(std::ranges::count(text, '\n')); }

// Three tunnels on one disk, which goes and comes back.
class FailingDisk : public testing::Test {
protected:
    static constexpr std::size_t kTunnels = 3;

    void SetUp() override {
        config.state_dir = directory;
        config.tunnels.resize(kTunnels);
        files.resize(kTunnels);
        sas.resize(kTunnels);
        for (std::size_t i = 0; i < kTunnels; ++i) {
            config.tunnels[i].name = "azure-" + std::to_string(i);
            const auto key = static_cast<std::uint8_t>(2 * i + 1);
            files[i].outbound = config_of(0x2000u + key, key);
            files[i].inbound = config_of(0x3000u + key, static_cast<std::uint8_t>(key + 1));
        }
        ASSERT_TRUE(store.open(engine, config, files, sas));
        spdlog::set_default_logger(
            std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_st>(text)));
        std::filesystem::remove_all(directory);
    }
    void TearDown() override {
        spdlog::set_default_logger(before);
        std::filesystem::remove_all(directory);
    }
    std::string log() const { return text.str(); }

    const std::filesystem::path directory =
        std::filesystem::path{testing::TempDir()} / ("static-sas-" + std::to_string(::getpid()));
    const std::shared_ptr<spdlog::logger> before = spdlog::default_logger();
    const Engine engine = Engine::create().value();
    const Trouble::Clock::time_point began{std::chrono::hours{1}};
    std::ostringstream text;
    Config config;
    std::vector<SaFile> files;
    std::vector<TunnelSas> sas;
    Metrics metrics;
    StaticSas store;
};

TEST_F(FailingDisk, NumbersThatItDoesNotCoverAreNamedOnceInTenSecondsAndNotUsed) {
    for (const TunnelSas& tunnel : sas) {
        while (tunnel.out->reserve_burst(1u << 20).granted != 0) {
        }
    }
    const std::uint64_t covered = sas[0].out->limit();
    for (int i = 0; i < 199; ++i) {
        store.top_up(config, metrics, began + i * std::chrono::milliseconds{50});
    }
    EXPECT_EQ(lines(log()), 1u) << log();
    EXPECT_EQ(metrics[Metric::sa_disk_failures], 199 * kTunnels);
    store.top_up(config, metrics, began + Trouble::kRepeat);
    EXPECT_EQ(lines(log()), 2u) << log();
    EXPECT_NE(log().find("3 tunnels"), std::string::npos) << log();
    EXPECT_EQ(sas[0].out->limit(), covered);
    std::filesystem::create_directories(directory);
    store.top_up(config, metrics, began + std::chrono::seconds{11});
    store.top_up(config, metrics, began + std::chrono::seconds{12});
    EXPECT_EQ(lines(log()), 3u) << log();
    EXPECT_NE(log().find("azure-0"), std::string::npos);
    EXPECT_NE(log().find("again"), std::string::npos);
    EXPECT_GT(sas[0].out->limit(), covered);
}

TEST_F(FailingDisk, UseThatItDoesNotTakeIsNamedOnceInTenSecondsAndWrittenLater) {
    constexpr std::uint64_t kTicks = 20;  // of a round
    for (const TunnelSas& tunnel : sas) {
        tunnel.in.at(0).sa->replay().accept(7);
    }
    std::uint64_t tick = 0;
    const auto round = [&](std::chrono::seconds at) {
        for (std::uint64_t i = 0; i < kTicks; ++i) {
            store.write_usage(config, metrics, tick++, began + at);
        }
    };
    round(std::chrono::seconds{0});
    round(std::chrono::seconds{5});
    EXPECT_EQ(lines(log()), 1u) << log();
    EXPECT_GE(metrics[Metric::sa_disk_failures], 2 * kTunnels);
    round(Trouble::kRepeat);
    EXPECT_EQ(lines(log()), 2u) << log();
    std::filesystem::create_directories(directory);
    round(std::chrono::seconds{11});
    EXPECT_EQ(lines(log()), 3u) << log();
    EXPECT_NE(log().find("written again"), std::string::npos) << log();
    for (const StaticSas::Entry& sa : store.entries()) {
        EXPECT_EQ(read_usage(sa.receiving.file, 0).value().highest, 7u);
    }
}

}  // namespace
}  // namespace twinspan
