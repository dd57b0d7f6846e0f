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

TEST(StaticSas, AFailingDiskIsNamedOnceInTenSecondsAndWhenItIsWellAgain) {
    const std::filesystem::path directory =
        std::filesystem::path{testing::TempDir()} / ("static-sas-" + std::to_string(::getpid()));
    Config config;
    config.state_dir = directory;
    config.tunnels.resize(1);
    config.tunnels[0].name = "azure-0";
    std::vector<SaFile> files(1);
    files[0].outbound = config_of(0x2001, 1);
    files[0].inbound = config_of(0x2002, 2);
    std::vector<TunnelSas> sas(1);
    const Engine engine = Engine::create().value();
    StaticSas store;
    ASSERT_TRUE(store.open(engine, config, files, sas));

    std::ostringstream text;
    const auto before = spdlog::default_logger();
    spdlog::set_default_logger(
        std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_st>(text)));
    const Trouble::Clock::time_point began{std::chrono::hours{1}};
    std::filesystem::remove_all(directory);
    while (sas[0].out->reserve_burst(1u << 20).granted != 0) {
    }
    const std::uint64_t covered = sas[0].out->limit();
    for (int i = 0; i < 199; ++i) {
        store.top_up(config, began + i * std::chrono::milliseconds{50});
    }
    const std::size_t in_ten_seconds = lines(text.str());
    store.top_up(config, began + Trouble::kRepeat);
    const std::size_t later = lines(text.str());
    EXPECT_EQ(sas[0].out->limit(), covered);
    std::filesystem::create_directories(directory);
    store.top_up(config, began + std::chrono::seconds{11});
    store.top_up(config, began + std::chrono::seconds{12});
    spdlog::set_default_logger(before);

    EXPECT_EQ(in_ten_seconds, 1u) << text.str();
    EXPECT_EQ(later, 2u) << text.str();
    EXPECT_EQ(lines(text.str()), 3u) << text.str();
    EXPECT_NE(text.str().find("azure-0"), std::string::npos);
    EXPECT_NE(text.str().find("again"), std::string::npos);
    EXPECT_GT(sas[0].out->limit(), covered);
    std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace twinspan
