#include "control/nat/ipfix.hpp"

#include "dataplane/packet/headers.hpp"
#include "tests/unit/control/nat/ipfix_decoder.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace twinspan::ipfix {
namespace {

using test::IpfixDecoder;
using test::IpfixRecord;

constexpr std::uint64_t kTime = 1'700'000'000'123;

be32 address(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d) {
    return to_be32(static_cast<std::uint32_t>(a) << 24 | static_cast<std::uint32_t>(b) << 16 |
                   static_cast<std::uint32_t>(c) << 8 | d);
}

NatEvent event(NatEventKind kind, std::uint32_t value = 0) {
    return {.inside = nat_key(address(10, 1, 2, 3), address(13, 107, 6, 1), to_be16(5000), to_be16(443), 6, 2),
            .outside = nat_key(address(198, 51, 100, 7), address(13, 107, 6, 9), to_be16(6000), to_be16(444), 6),
            .time = kTime,
            .value = value,
            .kind = kind};
}

constexpr IpfixRecord::mapped_type kInside = 0x0a010203, kOutside = 0xc6336407;

struct Row {
    NatEventKind kind;
    std::uint32_t value;
    IpfixRecord expected;  // elements by IANA's numbers
};

void PrintTo(const Row& row, std::ostream* out) { *out << static_cast<int>(row.kind); }

class Records : public testing::TestWithParam<Row> {};

TEST_P(Records, AreAsRfc8158SaysToADecoderOfItsOwn) {
    Message message{1400};
    message.add_templates();
    ASSERT_TRUE(message.add(event(GetParam().kind, GetParam().value)));
    IpfixDecoder decoder;
    const auto decoded = decoder.decode(message.finish(1'700'000'001, 41, 7));
    EXPECT_EQ(decoded.export_seconds, 1'700'000'001u);
    EXPECT_EQ(decoded.sequence, 41u);
    EXPECT_EQ(decoded.domain, 7u);
    EXPECT_EQ(decoded.templates, templates().size());
    ASSERT_EQ(decoded.records.size(), 1u);
    EXPECT_EQ(decoded.records[0], GetParam().expected);
}

const IpfixRecord kSession = {{323, kTime},      {283, 3},  {4, 6},      {8, kInside},
                              {225, kOutside},   {7, 5000}, {227, 6000}, {12, 0x0d6b0601},
                              {226, 0x0d6b0609}, {11, 443}, {228, 444}};
const IpfixRecord kMapping = {{323, kTime}, {283, 3}, {4, 6}, {8, kInside}, {225, kOutside}, {7, 5000}, {227, 6000}};
const IpfixRecord kBlock = {{323, kTime}, {283, 3},    {8, kInside}, {225, kOutside},
                            {361, 6000},  {362, 6063}, {363, 1},     {364, 64}};

IpfixRecord with(IpfixRecord record, std::uint64_t nat_event) {
    record[230] = nat_event;
    return record;
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, Records,
    testing::Values(Row{NatEventKind::session_created, 0, with(kSession, 4)},
                    Row{NatEventKind::session_ended, 0, with(kSession, 5)},
                    Row{NatEventKind::mapping_created, 0, with(kMapping, 8)},
                    Row{NatEventKind::mapping_ended, 0, with(kMapping, 9)},
                    Row{NatEventKind::addresses_exhausted, 0, {{323, kTime}, {230, 3}, {283, 3}}},
                    Row{NatEventKind::ports_exhausted, 0, {{323, kTime}, {230, 12}, {283, 3}, {225, kOutside}, {4, 6}}},
                    Row{NatEventKind::sessions_exhausted, 65536, {{323, kTime}, {230, 13}, {466, 1}, {471, 65536}}},
                    Row{NatEventKind::host_quota_exceeded,
                        1000,
                        {{323, kTime}, {230, 13}, {283, 3}, {466, 3}, {473, 1000}, {8, kInside}}},
                    Row{NatEventKind::high_water, 80, {{323, kTime}, {230, 18}, {467, 1}, {283, 3}, {476, 80}}},
                    Row{NatEventKind::low_water, 60, {{323, kTime}, {230, 18}, {467, 2}, {283, 3}, {477, 60}}},
                    Row{NatEventKind::block_allocated, 64, with(kBlock, 16)},
                    Row{NatEventKind::block_freed, 64, with(kBlock, 17)}));

// The example of a message of RFC 7011 appendix A.1's form, byte by byte.
TEST(IpfixMessage, HasTheBytesOfTheRfc) {
    Message message{1400};
    ASSERT_TRUE(message.add(event(NatEventKind::addresses_exhausted)));
    ASSERT_TRUE(message.add(event(NatEventKind::addresses_exhausted)));
    ASSERT_TRUE(message.add(event(NatEventKind::sessions_exhausted, 1024)));
    const auto bytes = message.finish(0x65000000, 0x01020304, 9);
    const std::vector<std::uint8_t> expected = {
        0x00, 0x0a, 0x00, 0x43, 0x65, 0,    0,    0,    1,  2, 3, 4, 0, 0, 0, 9,             // version 10, 67 bytes
        0x01, 0x02, 0x00, 0x1e,                                                    // set 258, 30 bytes
        0x00, 0x00, 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0x7b, 3,  0, 0, 0, 3,             // 1,700,000,000,123 ms
        0x00, 0x00, 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0x7b, 3,  0, 0, 0, 3,             //
        0x01, 0x04, 0x00, 0x15,                                                    // set 260, 21 bytes
        0x00, 0x00, 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0x7b, 13, 0, 0, 0, 1, 0, 0, 4, 0,  // 1,024 sessions at most
    };
    EXPECT_EQ(std::vector<std::uint8_t>(bytes.begin(), bytes.end()), expected);
}

TEST(IpfixMessage, IsFilledToItsLimitAndNotBeyond) {
    for (const std::size_t most : {kLeastMessage, std::size_t{1400}, std::size_t{65535}}) {
        Message message{most};
        message.add_templates();
        std::size_t records = 0;
        for (unsigned i = 0; message.add(event(static_cast<NatEventKind>(i % kNatEventKinds))); ++i) {
            ++records;
        }
        EXPECT_EQ(message.records(), records);
        IpfixDecoder decoder;
        const auto bytes = message.finish(0, 0, 0);
        EXPECT_LE(bytes.size(), most);
        EXPECT_GT(bytes.size() + record_bytes(NatEventKind::session_created) + 5, most);
        EXPECT_EQ(decoder.decode(bytes).records.size(), records);
    }
}

TEST(IpfixMessage, IsEmptyAgainAfterClear) {
    Message message{1400};
    message.add_templates();
    message.add(event(NatEventKind::session_created));
    message.finish(1, 2, 3);
    message.clear();
    EXPECT_TRUE(message.empty());
    EXPECT_EQ(message.records(), 0u);
    EXPECT_EQ(message.finish(0, 0, 0).size(), kHeaderBytes);
}

TEST(IpfixMessage, TemplatesLeaveRoomForAnyRecordInTheSmallestMessage) {
    for (unsigned kind = 0; kind < kNatEventKinds; ++kind) {
        Message message{kLeastMessage};
        message.add_templates();
        EXPECT_TRUE(message.add(event(static_cast<NatEventKind>(kind)))) << kind;
    }
    EXPECT_EQ(template_set_bytes() + kHeaderBytes, [] {
        Message message{kLeastMessage};
        message.add_templates();
        return message.finish(0, 0, 0).size();
    }());
}

}  // namespace
}  // namespace twinspan::ipfix
