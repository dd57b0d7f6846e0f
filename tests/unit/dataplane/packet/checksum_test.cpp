#include "dataplane/packet/checksum.hpp"

#include "tests/support/checksum.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <random>

namespace twinspan {
namespace {

be16 from_scratch(std::span<const std::uint8_t> bytes) { return to_be16(test::internet_checksum(bytes)); }

// Every checksum that a message can have, through a change of one word and of two.
TEST(ChecksumDelta, AgreesWithASumFromScratchForAllChecksums) {
    std::mt19937 random{1};
    for (std::uint32_t word = 0; word <= 0xffff; ++word) {
        std::array<std::uint8_t, 8> message{
            0x45, 0, static_cast<std::uint8_t>(word >> 8), static_cast<std::uint8_t>(word), 1, 2, 3, 4};
        const be16 before = from_scratch(message);
        be32 from;
        std::memcpy(&from, &message[4], 4);
        const be32 to{static_cast<std::uint32_t>(random())};
        std::memcpy(&message[4], &to, 4);
        const ChecksumDelta delta{from, to};
        ASSERT_EQ(delta.apply(before), from_scratch(message)) << word;
        ASSERT_EQ(delta.inverse().apply(delta.apply(before)), before) << word;

        be16 from16;
        std::memcpy(&from16, &message[2], 2);
        const be16 to16{static_cast<std::uint16_t>(random())};
        std::memcpy(&message[2], &to16, 2);
        ASSERT_EQ((delta + ChecksumDelta{from16, to16}).apply(before), from_scratch(message)) << word;
    }
}

TEST(ChecksumDelta, AgreesForAllNewValuesOfAWord) {
    for (std::uint32_t word = 0; word <= 0xffff; ++word) {
        std::array<std::uint8_t, 4> message{0xff, 0xfe, 0, 1};
        const be16 before = from_scratch(message);
        const be16 to = to_be16(static_cast<std::uint16_t>(word));
        std::memcpy(&message[2], &to, 2);
        ASSERT_EQ((ChecksumDelta{to_be16(1), to}.apply(before)), from_scratch(message)) << word;
    }
}

TEST(ChecksumDelta, ZeroOfUdpStaysZeroAndNoOtherBecomesZero) {
    const ChecksumDelta none{to_be16(7), to_be16(7)};
    EXPECT_EQ((ChecksumDelta{to_be16(1), to_be16(2)}.apply_udp(to_be16(0))), to_be16(0));
    unsigned ones = 0;
    for (std::uint32_t word = 0; word <= 0xffff; ++word) {
        const be16 updated =
            ChecksumDelta{to_be16(0x1111), to_be16(static_cast<std::uint16_t>(word))}.apply_udp(to_be16(0x1234));
        ASSERT_NE(updated, to_be16(0));
        ones += updated == to_be16(0xffff) ? 1 : 0;
    }
    EXPECT_EQ(ones, 1u);
    EXPECT_EQ(none.apply_udp(to_be16(0x1234)), to_be16(0x1234));
}

}  // namespace
}  // namespace twinspan
