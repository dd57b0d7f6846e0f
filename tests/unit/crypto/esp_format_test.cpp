#include "crypto/esp_format.hpp"

#include "tests/unit/crypto/test_keys.hpp"

namespace twinspan {
namespace {

using test::bytes;
using test::Bytes;
using test::kLayout;
using test::kPayloadOffset;

// The largest inner packets that do not fragment: towards a VM in a VNet (1400) and between two bare-metal ends (1500).
static_assert(max_inner_len(1400, kLayout, OuterIp::ipv4, EspCarrier::ip) == 1346);
static_assert(max_inner_len(1400, kLayout, OuterIp::ipv4, EspCarrier::udp) == 1338);
static_assert(max_inner_len(1500, kLayout, OuterIp::ipv4, EspCarrier::ip) == 1446);
static_assert(max_inner_len(1500, kLayout, OuterIp::ipv4, EspCarrier::udp) == 1438);

TEST(EspOverheadTest, TheLargestInnerPacketFitsAndOneByteMoreDoesNot) {
    for (const OuterIp ip : {OuterIp::ipv4, OuterIp::ipv6}) {
        for (const EspCarrier carrier : {EspCarrier::ip, EspCarrier::udp}) {
            for (std::size_t limit = 100; limit <= 9000; ++limit) {
                const std::size_t inner = max_inner_len(limit, kLayout, ip, carrier);
                ASSERT_LE(outer_len(ip, carrier) + sealed_len(kLayout, inner), limit);
                ASSERT_GT(outer_len(ip, carrier) + sealed_len(kLayout, inner + 1), limit);
            }
        }
    }
    EXPECT_EQ(max_inner_len(20, kLayout, OuterIp::ipv4, EspCarrier::ip), 0u);
    EXPECT_EQ(max_inner_len(0, kLayout, OuterIp::ipv6, EspCarrier::udp), 0u);
}

TEST(EspOverheadTest, SealedLengthIsAlignedAndWithinTheRoomAskedFor) {
    for (std::size_t payload = 0; payload <= 2000; ++payload) {
        ASSERT_EQ(sealed_len(kLayout, payload) % 4, 0u);
        ASSERT_LE(sealed_len(kLayout, payload), kPayloadOffset + payload + kEspMaxRoom);
    }
    EXPECT_EQ(sealed_len(kLayout, 0), min_len(kLayout));
    EXPECT_EQ(sealed_len(kLayout, 1346), 1380u);
}

TEST(EspLayoutTest, HeaderNonceAndAadHaveTheirBytesInNetworkOrder) {
    Bytes header(16), nonce(16), aad(16);
    write_esp_header(header.data(), __builtin_bswap32(0x11223344), 0x0102030405060708);
    EXPECT_EQ(header, bytes("11223344"
                            "05060708"
                            "0102030405060708"));
    write_nonce(nonce.data(), __builtin_bswap32(0xa0a1a2a3), __builtin_bswap64(0x0102030405060708));
    EXPECT_EQ(nonce, bytes("a0a1a2a3"
                           "0102030405060708"
                           "00000000"));
    write_esn_aad(aad.data(), __builtin_bswap32(0x11223344), 0x0102030405060708);
    EXPECT_EQ(aad, bytes("11223344"
                         "0102030405060708"
                         "00000000"));
    EXPECT_EQ(esp_spi(header.data()), 0x11223344u);
    EXPECT_EQ(esp_sequence_low(header.data()), 0x05060708u);
}

TEST(EspLayoutTest, TrailerCountsItsPaddingUp) {
    const Bytes expected[] = {bytes("0029"), bytes("010129"), bytes("01020229"), bytes("0102030329")};
    for (std::size_t padding = 0; padding < 4; ++padding) {
        Bytes trailer(8);
        trailer.resize(8);
        EXPECT_EQ(write_trailer(trailer.data(), padding, 0x29), padding + 2);
        trailer.resize(padding + 2);
        EXPECT_EQ(trailer, expected[padding]);
        EXPECT_TRUE(padding_is_valid(trailer.data() + padding, padding));
    }
}

}  // namespace
}  // namespace twinspan
