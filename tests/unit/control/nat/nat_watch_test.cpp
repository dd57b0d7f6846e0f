#include "control/nat/nat_watch.hpp"

#include <gtest/gtest.h>

namespace twinspan {
namespace {

using Change = NatWatch::Change;

TEST(NatWatch, MarksAreCrossedOnceEachWay) {
    NatWatch watch{1000, 80, 60};
    EXPECT_EQ(watch.water().high, 800u);
    EXPECT_EQ(watch.water().low, 600u);
    EXPECT_EQ(watch.sample(799), Change::none);
    EXPECT_EQ(watch.sample(800), Change::rose);
    EXPECT_EQ(watch.sample(1000), Change::none);
    EXPECT_EQ(watch.sample(700), Change::none) << "between the marks it stays as it was";
    EXPECT_EQ(watch.sample(900), Change::none);
    EXPECT_TRUE(watch.water().is_high);
    EXPECT_EQ(watch.sample(600), Change::fell);
    EXPECT_EQ(watch.sample(700), Change::none);
    EXPECT_EQ(watch.sample(800), Change::rose);
    EXPECT_EQ(watch.water().times, 2u);
    EXPECT_EQ(watch.water().peak, 1000u);
}

TEST(NatWatch, NewMarksFindWhatWasSeenBefore) {
    NatWatch watch{1000, 80, 60};
    for (int i = 0; i < 20; ++i) {
        watch.sample(700);
    }
    watch.set_marks(800, 80, 60);
    EXPECT_EQ(watch.limit(), 800u);
    EXPECT_EQ(watch.water().peak, 700u);
    EXPECT_NEAR(watch.forecast().growth, 0, 1e-9);
    EXPECT_EQ(watch.sample(700), Change::rose);
    watch.set_marks(4000, 80, 60);
    EXPECT_EQ(watch.sample(700), Change::fell);
    EXPECT_EQ(watch.water().times, 1u);
}

TEST(NatWatch, TellsWhenALineReachesTheLimit) {
    NatWatch watch{10'000, 80, 60};
    for (std::uint64_t i = 0; i < 100; ++i) {
        watch.sample(1000 + 20 * i);
    }
    const NatForecast forecast = watch.forecast();
    EXPECT_NEAR(forecast.growth, 20, 1e-9);
    ASSERT_TRUE(forecast.full_in_s);
    EXPECT_EQ(*forecast.full_in_s, (10'000u - 2980u) / 20);
}

TEST(NatWatch, LooksAtTheLastMinutesAlone) {
    NatWatch watch{1'000'000, 80, 60};
    for (std::uint64_t i = 0; i < 1000; ++i) {
        watch.sample(100 * i);
    }
    for (std::size_t i = 0; i < NatWatch::kSamples; ++i) {
        watch.sample(50'000);
    }
    EXPECT_NEAR(watch.forecast().growth, 0, 1e-9);
    EXPECT_FALSE(watch.forecast().full_in_s);
}

TEST(NatWatch, FallingSteadyOrUnknownIsNotAtThisRate) {
    NatWatch falling{1000, 80, 60};
    NatWatch steady{1000, 80, 60};
    NatWatch young{1000, 80, 60};
    for (std::uint64_t i = 0; i < 50; ++i) {
        falling.sample(500 - i);
        steady.sample(500);
    }
    for (std::uint64_t i = 0; i + 1 < NatWatch::kFewestSamples; ++i) {
        young.sample(10 * i);
    }
    EXPECT_LT(falling.forecast().growth, 0);
    EXPECT_FALSE(falling.forecast().full_in_s);
    EXPECT_FALSE(steady.forecast().full_in_s);
    EXPECT_FALSE(young.forecast().full_in_s);
    young.sample(90);
    EXPECT_TRUE(young.forecast().full_in_s);
}

TEST(NatWatch, GrowthThatTakesMonthsIsNotAtThisRate) {
    NatWatch watch{4'000'000'000, 80, 60};
    for (std::uint64_t i = 0; i < NatWatch::kSamples; ++i) {
        watch.sample(i);
    }
    EXPECT_FALSE(watch.forecast().full_in_s);
}

TEST(NatWatch, AFullPoolIsFullAlready) {
    NatWatch watch{100, 80, 60};
    for (std::size_t i = 0; i < NatWatch::kFewestSamples; ++i) {
        watch.sample(100);
    }
    EXPECT_EQ(watch.forecast().full_in_s, 0u);
}

}  // namespace
}  // namespace twinspan
