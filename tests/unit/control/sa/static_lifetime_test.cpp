// Static keys over restarts: they wear out, with a warning at nine tenths and an end at the limit, and their numbers
// are not received twice.
#include "control/sa/static_sas.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace twinspan {
namespace {

class StaticLifetime : public testing::Test {
protected:
    void SetUp() override {
        std::string pattern = testing::TempDir() + "sas-XXXXXX";
        ASSERT_NE(mkdtemp(pattern.data()), nullptr);
        config.state_dir = pattern;
        TunnelConfig tunnel;
        tunnel.name = "azure-0";
        tunnel.lifetime = {.bytes = 1000, .packets = 0, .seconds = 0};
        config.tunnels = {tunnel};
        open();
    }
    void TearDown() override { std::filesystem::remove_all(config.state_dir); }

    void open() {
        files.clear();
        SaFile& file = files.emplace_back();
        for (SaConfig* sa : {&file.outbound, &file.inbound}) {
            sa->spi = sa == &file.outbound ? 0x1001 : 0x2001;
            sa->keymat = SecretBytes(36);
            sa->keymat.data()[0] = sa == &file.outbound ? 1 : inbound_key;
        }
        sas.assign(1, {});
        store = std::make_unique<StaticSas>();
        const auto opened = store->open(engine, config, files, sas, now);
        ASSERT_TRUE(opened) << opened.error().what;
    }
    void restart() {
        store->give_back(config, metrics);
        store.reset();
        open();
    }
    unsigned watch() {
        unsigned changed = 0;
        store->watch(config, metrics, now, [&](std::size_t) { ++changed; });
        return changed;
    }
    OutboundSa& out() { return *store->entries()[0].out; }
    InboundSa& in() { return *store->entries()[0].in; }

    Engine engine = Engine::create().value();
    Config config;
    std::vector<SaFile> files;
    std::vector<TunnelSas> sas;
    Metrics metrics;
    std::unique_ptr<StaticSas> store;
    std::uint64_t now = 1'000'000;
    std::uint8_t inbound_key = 2;
};

TEST_F(StaticLifetime, WarnsOnceAtNineTenthsAndStopsAtTheLimit) {
    EXPECT_TRUE(sas[0].complete());
    out().add_bytes(0, 899);
    EXPECT_EQ(watch(), 0u);
    EXPECT_EQ(metrics[Metric::sa_lifetimes_near_end], 0u);
    out().add_bytes(0, 1);
    EXPECT_EQ(watch(), 0u);
    EXPECT_EQ(watch(), 0u);
    EXPECT_EQ(metrics[Metric::sa_lifetimes_near_end], 1u);
    EXPECT_TRUE(store->sas_of(0).complete());
    out().add_bytes(0, 100);
    EXPECT_EQ(watch(), 1u);
    EXPECT_EQ(watch(), 0u);
    EXPECT_EQ(metrics[Metric::sa_lifetimes_over], 1u);
    EXPECT_EQ(store->sas_of(0).out, nullptr);
    EXPECT_TRUE(store->sas_of(0).worn_out);
    EXPECT_EQ(store->sas_of(0).in.size(), 1u) << "its own limit is not reached";
    store->top_up(config, metrics);
    EXPECT_EQ(out().reserve_burst(1).granted, 0u) << "nor may a worker with an older snapshot go on";
}

TEST_F(StaticLifetime, TheInboundSaEndsByItself) {
    in().add_usage(0, 3, 1000);
    EXPECT_EQ(watch(), 1u);
    EXPECT_TRUE(store->sas_of(0).in.empty());
    EXPECT_NE(store->sas_of(0).out, nullptr);
    EXPECT_TRUE(store->sas_of(0).worn_out);
}

TEST_F(StaticLifetime, PacketsAreCountedAndTimeFromTheFirstUse) {
    config.tunnels[0].lifetime = {.bytes = 0, .packets = 1000, .seconds = 100};
    EXPECT_EQ(out().reserve_burst(900).granted, 900u);
    watch();
    EXPECT_EQ(metrics[Metric::sa_lifetimes_near_end], 1u);
    now += 89;
    EXPECT_EQ(watch(), 0u);
    now += 1;
    watch();
    EXPECT_EQ(metrics[Metric::sa_lifetimes_near_end], 2u) << "the inbound one too";
    now += 10;
    EXPECT_EQ(watch(), 1u);
    EXPECT_EQ(metrics[Metric::sa_lifetimes_over], 2u);
    EXPECT_FALSE(store->sas_of(0).complete());
}

TEST_F(StaticLifetime, ARestartDoesNotBeginAnew) {
    out().add_bytes(0, 600);
    in().add_usage(0, 2, 300);
    now += 50;
    restart();
    EXPECT_EQ(store->entries()[0].sent().bytes, 600u);
    EXPECT_EQ(store->entries()[0].received(), (SaUsage{2, 300}));
    EXPECT_EQ(store->entries()[0].receiving.before.since_s, 1'000'000u);
    out().add_bytes(0, 400);
    EXPECT_EQ(watch(), 1u);
    restart();
    EXPECT_EQ(watch(), 1u) << "what is worn out stays so";
}

TEST_F(StaticLifetime, NumbersThatACrashHasCostAreNotPackets) {
    config.tunnels[0].lifetime = {.bytes = 0, .packets = 1000, .seconds = 0};
    EXPECT_EQ(out().reserve_burst(100).granted, 100u);
    store->write_usage(config, metrics, 0);
    store.reset();
    open();
    EXPECT_GT(out().next_seq(), 1000u);
    EXPECT_EQ(store->entries()[0].sent().packets, 100u);
    EXPECT_EQ(watch(), 0u);
}

// RFC 4303 section 3.3.3: traffic goes to another tunnel, rather than into an SA that cannot send.
TEST_F(StaticLifetime, TheEndOfTheNumbersIsAnEndWithoutAnyConfigured) {
    config.tunnels[0].lifetime = {};
    const std::uint64_t end = out().end_of_sequence();
    const auto use_up_to = [&](std::uint64_t number) {
        while (out().next_seq() < number) {
            const std::uint64_t n = std::min(number, out().limit()) - out().next_seq();
            ASSERT_NE(n, 0u);
            ASSERT_EQ(out().reserve_burst(static_cast<std::uint32_t>(n)).granted, n);
            store->top_up(config, metrics);
        }
    };
    use_up_to(end - end / 10 - 1);
    watch();
    EXPECT_EQ(metrics[Metric::sa_lifetimes_near_end], 0u);
    use_up_to(end - end / 10);
    EXPECT_EQ(watch(), 0u);
    EXPECT_EQ(metrics[Metric::sa_lifetimes_near_end], 1u);
    use_up_to(end - 1);
    EXPECT_EQ(watch(), 0u);
    EXPECT_EQ(out().reserve_burst(2).granted, 1u);
    EXPECT_EQ(watch(), 1u);
    EXPECT_TRUE(store->sas_of(0).worn_out);
    restart();
    EXPECT_EQ(watch(), 1u) << "and it stays so";
    EXPECT_TRUE(store->sas_of(0).worn_out);
    EXPECT_FALSE(store->sas_of(0).in.empty());
}

// RFC 4303 section 3.4.3, over a restart.
TEST_F(StaticLifetime, WhatWasReceivedIsAReplayAfterTheRestartToo) {
    config.tunnels[0].lifetime = {};
    constexpr std::uint64_t kHighest = 5000;
    EXPECT_TRUE(in().replay().accept(kHighest - 1));
    EXPECT_TRUE(in().replay().accept(kHighest));
    restart();
    for (const std::uint64_t seq : {std::uint64_t{1}, kHighest - 1, kHighest}) {
        EXPECT_NE(in().replay().check(seq), ReplayVerdict::fresh) << seq;
    }
    EXPECT_TRUE(in().replay().accept(kHighest + 1)) << "the peer's next";
    // A crash forgets what came since the last write.
    store->write_usage(config, metrics, 0);
    EXPECT_TRUE(in().replay().accept(kHighest + 2));
    store.reset();
    open();
    EXPECT_FALSE(in().replay().accept(kHighest + 1));
    EXPECT_TRUE(in().replay().accept(kHighest + 2));
}

TEST_F(StaticLifetime, AnotherInboundKeyBeginsItsNumbersAnew) {
    EXPECT_TRUE(in().replay().accept(5000));
    store->give_back(config, metrics);
    store.reset();
    inbound_key = 3;
    open();
    EXPECT_TRUE(in().replay().accept(1));
}

TEST_F(StaticLifetime, UseIsWrittenOnceASecond) {
    constexpr std::uint64_t kTicks = 20;
    const auto written = [this] { return read_usage(store->entries()[0].receiving.file, 0).value().highest; };
    EXPECT_TRUE(in().replay().accept(1));
    for (std::uint64_t tick = 0; tick < kTicks; ++tick) {
        store->write_usage(config, metrics, tick);
    }
    EXPECT_EQ(written(), 1u);
    EXPECT_TRUE(in().replay().accept(2));
    for (std::uint64_t tick = 1; tick < kTicks; ++tick) {
        store->write_usage(config, metrics, tick);
    }
    EXPECT_EQ(written(), 1u);
    store->write_usage(config, metrics, kTicks);
    EXPECT_EQ(written(), 2u);
}

TEST_F(StaticLifetime, AFileThatIsNoneOfOursStopsTheStart) {
    store.reset();
    for (const auto& file : std::filesystem::directory_iterator(config.state_dir)) {
        if (file.path().extension() == ".used") {
            std::filesystem::remove(file.path());
        }
    }
    const std::string hex = to_hex(fingerprint(engine, files[0].outbound));
    std::ofstream{config.state_dir / (hex + ".used")} << "not a number\n";
    StaticSas other;
    const auto opened = other.open(engine, config, files, sas, now);
    ASSERT_FALSE(opened);
    EXPECT_NE(opened.error().what.find("expected four numbers"), std::string::npos);
}

TEST(Lifetime, LeftIsWhatIsBetweenUsedAndTheHardLimit) {
    const LifetimeConfig lifetime{.bytes = 1000, .packets = 0, .seconds = 60};
    const LifetimeLeft left = left_of(lifetime, {5, 400}, 70);
    EXPECT_EQ(left.bytes, 600u);
    EXPECT_FALSE(left.packets);
    EXPECT_EQ(left.seconds, 0u);
    EXPECT_EQ(limit_of(LifetimeConfig{}, {~std::uint64_t{0}, ~std::uint64_t{0}}, 1u << 30), SaLimit::none);
}

}  // namespace
}  // namespace twinspan
