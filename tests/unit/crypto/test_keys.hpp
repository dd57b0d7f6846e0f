// Keys, packets and the engines of this CPU, for the crypto tests.
#pragma once

#include "crypto/sa.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <ostream>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace twinspan::test {

using Bytes = std::vector<std::uint8_t>;

// What the layout of a GCM packet comes to.
inline constexpr EspLayout kLayout = layout_of(Suite::aes_256_gcm);
inline constexpr std::size_t kPayloadOffset = payload_offset(kLayout);

inline SecretBytes secret(std::string_view hex) {
    auto parsed = SecretBytes::from_hex(hex);
    if (!parsed) {
        ADD_FAILURE() << parsed.error();
        return {};
    }
    return std::move(*parsed);
}

inline Bytes bytes(std::string_view hex) {
    const SecretBytes parsed = secret(hex);
    return {parsed.data(), parsed.data() + parsed.size()};
}

inline Bytes random_bytes(std::mt19937_64& random, std::size_t n) {
    Bytes b(n);
    std::ranges::generate(b, [&] { return static_cast<std::uint8_t>(random()); });
    return b;
}

inline SaConfig sa_config(Suite suite, SequenceWidth width = SequenceWidth::bits32, std::uint64_t seed = 1) {
    std::mt19937_64 random{seed};
    const Bytes keymat = random_bytes(random, keymat_len(suite));
    return {.spi = 0x1001, .suite = suite, .keymat = SecretBytes::copy_of(keymat), .width = width};
}

template <class T>
T value(std::expected<T, std::string> result) {
    if (!result) {
        throw std::runtime_error(result.error());
    }
    return std::move(*result);
}

struct Variant {
    Architecture architecture;
    Gfni gfni;
    std::string_view name;
};
inline constexpr Variant kVariants[] = {
    {Architecture::best, Gfni::use, "best"},          {Architecture::sse, Gfni::avoid, "sse"},
    {Architecture::sse, Gfni::use, "sse_gfni"},       {Architecture::avx2, Gfni::avoid, "avx2"},
    {Architecture::avx2, Gfni::use, "avx2_vaes"},     {Architecture::avx512, Gfni::avoid, "avx512"},
    {Architecture::avx512, Gfni::use, "avx512_vaes"},
};
inline void PrintTo(const Variant& v, std::ostream* os) { *os << v.name; }

// A test over each set of instructions; one that this CPU lacks is skipped.
struct EachArchitecture : testing::TestWithParam<Variant> {
    void SetUp() override {
        auto made = Engine::create(GetParam().architecture, GetParam().gfni);
        if (!made) {
            GTEST_SKIP() << made.error();
        }
        engine.emplace(std::move(*made));
    }
    std::optional<Engine> engine;
};
inline std::string variant_name(const testing::TestParamInfo<Variant>& info) { return std::string(info.param.name); }

}  // namespace twinspan::test
