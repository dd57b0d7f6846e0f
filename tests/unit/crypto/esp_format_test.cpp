#include "crypto/trailer.hpp"

#include "tests/unit/crypto/test_keys.hpp"

namespace twinspan {
namespace {

using test::bytes;
using test::Bytes;
using test::kLayout;

// The largest inner packets that do not fragment: towards a VM in a VNet (1400) and between two bare-metal ends (1500).
static_assert(max_inner_len(1400, kLayout, OuterIp::ipv4, EspCarrier::ip) == 1346);
static_assert(max_inner_len(1400, kLayout, OuterIp::ipv4, EspCarrier::udp) == 1338);
static_assert(max_inner_len(1500, kLayout, OuterIp::ipv4, EspCarrier::ip) == 1446);
static_assert(max_inner_len(1500, kLayout, OuterIp::ipv4, EspCarrier::udp) == 1438);

TEST(EspOverheadTest, TheLargestInnerPacketFitsAndOneByteMoreDoesNot) {
    for (const SuiteInfo& suite : kSuites) {
        const EspLayout l = layout_of(suite.id);
        for (const OuterIp ip : {OuterIp::ipv4, OuterIp::ipv6}) {
            for (const EspCarrier carrier : {EspCarrier::ip, EspCarrier::udp}) {
                for (std::size_t limit = 140; limit <= 9000; ++limit) {
                    const std::size_t inner = max_inner_len(limit, l, ip, carrier);
                    ASSERT_LE(outer_len(ip, carrier) + sealed_len(l, inner), limit);
                    ASSERT_GT(outer_len(ip, carrier) + sealed_len(l, inner + 1), limit);
                }
            }
        }
        EXPECT_EQ(max_inner_len(20, l, OuterIp::ipv4, EspCarrier::ip), 0u);
        EXPECT_EQ(max_inner_len(0, l, OuterIp::ipv6, EspCarrier::udp), 0u);
    }
}

TEST(EspOverheadTest, SealedLengthIsAlignedAndWithinTheRoomAskedFor) {
    for (const SuiteInfo& suite : kSuites) {
        const EspLayout l = layout_of(suite.id);
        for (std::size_t payload = 0; payload <= 2000; ++payload) {
            ASSERT_EQ((sealed_len(l, payload) - payload_offset(l) - l.icv_len) % l.alignment, 0u);
            ASSERT_LE(sealed_len(l, payload), payload_offset(l) + payload + kEspMaxRoom);
        }
        ASSERT_LE(payload_offset(l), kEspMaxPayloadOffset);
        EXPECT_EQ(sealed_len(l, 0), min_len(l));
    }
    EXPECT_EQ(sealed_len(kLayout, 1346), 1380u);
    EXPECT_EQ(sealed_len(layout_of(Suite::aes_256_cbc_hmac_sha512), 1346), 24u + 1360 + 32);
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
    for (std::size_t padding = 0; padding < 16; ++padding) {
        Bytes trailer(18);
        EXPECT_EQ(write_trailer(trailer.data(), padding, 0x29), padding + 2);
        trailer.resize(padding + 2);
        Bytes expected;
        for (std::size_t i = 1; i <= padding; ++i) {
            expected.push_back(static_cast<std::uint8_t>(i));
        }
        expected.push_back(static_cast<std::uint8_t>(padding));
        expected.push_back(0x29);
        EXPECT_EQ(trailer, expected);
        const Opened read = read_trailer(trailer.data(), trailer.size());
        EXPECT_EQ(read.status, OpenStatus::ok);
        EXPECT_EQ(read.payload_len, 0u);
    }
}

}  // namespace
}  // namespace twinspan
