#include "crypto/key.hpp"

#include "tests/unit/crypto/test_keys.hpp"

#include <array>
#include <memory_resource>
#include <type_traits>

namespace twinspan {
namespace {

static_assert(!std::is_copy_constructible_v<SecretBytes> && !std::is_copy_assignable_v<SecretBytes>);
static_assert(std::is_nothrow_move_constructible_v<SecretBytes>);

template <class T>
concept Printable = requires(std::ostream& os, const T& t) { os << t; };
static_assert(!Printable<SecretBytes> && !Printable<GcmKey>);

using test::Bytes;

// Memory that the test owns, so that it may look at it after the secret has gone.
struct KeyWipingTest : testing::Test {
    bool all_zero() const {
        return std::ranges::all_of(buffer, [](std::byte b) { return b == std::byte{0}; });
    }
    alignas(64) std::array<std::byte, 256> buffer{};
    std::pmr::monotonic_buffer_resource memory{buffer.data(), buffer.size(), std::pmr::null_memory_resource()};
    const Bytes key = Bytes(36, 0x5a);
};

TEST_F(KeyWipingTest, DestructionLeavesNothing) {
    {
        const SecretBytes secret = SecretBytes::copy_of(key, memory);
        EXPECT_FALSE(all_zero());
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(secret.data()) % 64, 0u);
    }
    EXPECT_TRUE(all_zero());
}

TEST_F(KeyWipingTest, AMoveLeavesNothingBehindAndAnAssignmentWipesWhatItReplaces) {
    SecretBytes first = SecretBytes::copy_of(key, memory);
    SecretBytes second{std::move(first)};
    EXPECT_TRUE(first.empty());  // NOLINT(bugprone-use-after-move): what a move leaves is the point
    EXPECT_EQ(first.data(), nullptr);
    EXPECT_EQ(second.size(), key.size());
    second = SecretBytes{};
    EXPECT_TRUE(all_zero());
}

TEST(SecretBytesTest, ReadsHexAndRefusesWhatIsNot) {
    EXPECT_EQ(test::bytes("0x00ffA5"), (Bytes{0x00, 0xff, 0xa5}));
    EXPECT_FALSE(SecretBytes::from_hex("abc"));
    const auto bad = SecretBytes::from_hex("00zz");
    ASSERT_FALSE(bad);
    EXPECT_EQ(bad.error().find("zz"), std::string::npos);
    EXPECT_TRUE(SecretBytes::from_hex("")->empty());
}

TEST(SecretBytesTest, SecretMemoryIsAlignedAndSeparateForEverySize) {
    std::vector<SecretBytes> secrets;
    for (std::size_t size = 1; size < 5000; size += 37) {
        secrets.emplace_back(size);
        ASSERT_EQ(reinterpret_cast<std::uintptr_t>(secrets.back().data()) % SecretBytes::kAlignment, 0u);
        std::fill_n(secrets.back().data(), size, static_cast<std::uint8_t>(size));
    }
    for (const SecretBytes& s : secrets) {
        ASSERT_TRUE(
            std::ranges::all_of(s.span(), [&](std::uint8_t b) { return b == static_cast<std::uint8_t>(s.size()); }));
    }
}

TEST(SecretBytesTest, ConstantTimeCompareSeesEveryBit) {
    const Bytes a(16, 0x11);
    EXPECT_TRUE(equal_in_constant_time(a, a));
    for (std::size_t bit = 0; bit < 128; ++bit) {
        Bytes b = a;
        b[bit / 8] = static_cast<std::uint8_t>(b[bit / 8] ^ (1u << bit % 8));
        EXPECT_FALSE(equal_in_constant_time(a, b));
    }
    EXPECT_FALSE(equal_in_constant_time(a, Bytes(15, 0x11)));
}

}  // namespace
}  // namespace twinspan
