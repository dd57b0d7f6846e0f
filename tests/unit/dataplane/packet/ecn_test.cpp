#include "dataplane/packet/ecn.hpp"

#include "tests/support/checksum.hpp"
#include "tests/support/packet_builder.hpp"

#include <gtest/gtest.h>

namespace twinspan {
namespace {

using test::Bytes;
using enum Ecn;

enum class Note { quiet, unused, dangerous, drop };

// RFC 6040 section 4.2, figure 4, row by row: what the inner field becomes. Columns: outer Not-ECT, ECT(0), ECT(1), CE.
struct Row {
    Ecn inner;
    struct {
        Ecn field;
        Note note;
    } outer[4];
};
constexpr Ecn kColumns[4] = {not_ect, ect0, ect1, ce};
constexpr Row kFigure4[] = {
    {not_ect, {{not_ect, Note::quiet}, {not_ect, Note::dangerous}, {not_ect, Note::dangerous}, {not_ect, Note::drop}}},
    {ect0, {{ect0, Note::quiet}, {ect0, Note::quiet}, {ect1, Note::quiet}, {ce, Note::quiet}}},
    {ect1, {{ect1, Note::quiet}, {ect1, Note::unused}, {ect1, Note::quiet}, {ce, Note::quiet}}},
    {ce, {{ce, Note::quiet}, {ce, Note::quiet}, {ce, Note::dangerous}, {ce, Note::quiet}}},
};

TEST(EcnTest, LeavingATunnelFollowsTheFigure) {
    for (const Row& row : kFigure4) {
        for (unsigned column = 0; column < 4; ++column) {
            const auto [field, note] = row.outer[column];
            const EcnOutcome got = leave_tunnel(row.inner, kColumns[column]);
            SCOPED_TRACE(testing::Message()
                         << static_cast<int>(row.inner) << " in " << static_cast<int>(kColumns[column]));
            EXPECT_EQ(got.drop, note == Note::drop);
            EXPECT_EQ(got.dangerous, note == Note::dangerous || note == Note::drop);
            EXPECT_EQ(got.unused, note == Note::unused);
            if (!got.drop) {
                EXPECT_EQ(got.field, field);
            }
            EXPECT_EQ(
                leaves_untouched(static_cast<std::uint8_t>(row.inner), static_cast<std::uint8_t>(kColumns[column])),
                field == row.inner && note == Note::quiet);
        }
    }
}

TEST(EcnTest, OnlyTheFieldItselfIsLookedAt) {
    for (unsigned inner = 0; inner < 256; ++inner) {
        for (unsigned outer = 0; outer < 256; ++outer) {
            ASSERT_EQ(leaves_untouched(static_cast<std::uint8_t>(inner), static_cast<std::uint8_t>(outer)),
                      leaves_untouched(inner & 3, outer & 3));
        }
    }
}

// Every change of the field, with every checksum that a header can have.
TEST(EcnTest, SettingItKeepsTheChecksumOfIpv4) {
    for (unsigned id = 0; id < 0x10000; ++id) {
        const Ecn from = static_cast<Ecn>(id & 3), to = static_cast<Ecn>(id >> 2 & 3);
        Bytes packet = test::ip_packet({.tos = static_cast<std::uint8_t>(0xb8 | static_cast<unsigned>(from)),
                                        .id = static_cast<std::uint16_t>(id)},
                                       253, {});
        set_ecn(packet.data(), to);
        ASSERT_EQ(packet, test::ip_packet({.tos = static_cast<std::uint8_t>(0xb8 | static_cast<unsigned>(to)),
                                           .id = static_cast<std::uint16_t>(id)},
                                          253, {}))
            << id;
    }
}

TEST(EcnTest, AWrongChecksumStaysAsWrong) {
    Bytes packet = test::ip_packet({.tos = 1}, 253, {});
    packet[10] ^= 0x55;
    set_ecn(packet.data(), ce);
    EXPECT_NE(test::internet_checksum(packet), 0);
}

TEST(EcnTest, TheTrafficClassOfIpv6) {
    for (unsigned traffic = 0; traffic < 256; ++traffic) {
        const auto tos = static_cast<std::uint8_t>(traffic);
        for (const Ecn to : kColumns) {
            test::PacketSpec spec{.src = "fd10::1", .dst = "fd10::2", .tos = tos, .flow_label = 0xabcde};
            Bytes packet = test::ip_packet(spec, 59, {});
            ASSERT_EQ(traffic_class(packet.data()), tos);
            set_ecn(packet.data(), to);
            spec.tos = static_cast<std::uint8_t>((tos & ~3u) | static_cast<unsigned>(to));
            ASSERT_EQ(packet, test::ip_packet(spec, 59, {}));
        }
        ASSERT_EQ(traffic_class(test::ip_packet({.tos = tos}, 59, {}).data()), tos);
    }
}

}  // namespace
}  // namespace twinspan
