// The largest inner packets and TCP segments towards Azure that need no fragment, cell by cell: by the outer limit, the
// suite, NAT traversal and the IP versions.
#include "crypto/esp_format.hpp"

#include <gtest/gtest.h>

namespace twinspan {
namespace {

constexpr EspLayout kGcm = layout_of(Suite::aes_256_gcm);
constexpr EspLayout kCbcSha1 = layout_of(Suite::aes_256_cbc_hmac_sha1);
constexpr EspLayout kCbcSha256 = layout_of(Suite::aes_256_cbc_hmac_sha256);
constexpr EspLayout kCbcSha512 = layout_of(Suite::aes_256_cbc_hmac_sha512);
constexpr std::size_t kIpv4AndTcp = 20 + 20, kIpv6AndTcp = 40 + 20;

struct Row {
    std::size_t limit;
    EspLayout layout;
    OuterIp ip;
    EspCarrier carrier;
    std::size_t inner, mss4, mss6;
};
constexpr Row kRows[] = {
    {1400, kGcm, OuterIp::ipv4, EspCarrier::ip, 1346, 1306, 1286},
    {1400, kGcm, OuterIp::ipv4, EspCarrier::udp, 1338, 1298, 1278},
    {1400, kCbcSha256, OuterIp::ipv4, EspCarrier::ip, 1326, 1286, 1266},
    {1400, kCbcSha256, OuterIp::ipv4, EspCarrier::udp, 1326, 1286, 1266},
    {1500, kGcm, OuterIp::ipv4, EspCarrier::ip, 1446, 1406, 1386},
    {1500, kGcm, OuterIp::ipv4, EspCarrier::udp, 1438, 1398, 1378},
    {1500, kCbcSha256, OuterIp::ipv4, EspCarrier::ip, 1438, 1398, 1378},
    {1500, kCbcSha256, OuterIp::ipv4, EspCarrier::udp, 1422, 1382, 1362},
    {1400, kGcm, OuterIp::ipv6, EspCarrier::ip, 1326, 1286, 1266},
    {1400, kGcm, OuterIp::ipv6, EspCarrier::udp, 1318, 1278, 1258},
    {1400, kCbcSha1, OuterIp::ipv4, EspCarrier::ip, 1342, 1302, 1282},
    {1400, kCbcSha512, OuterIp::ipv4, EspCarrier::ip, 1310, 1270, 1250},
    {9000, kGcm, OuterIp::ipv4, EspCarrier::ip, 8946, 8906, 8886},
};

TEST(AzureSizes, EveryCellOfTheTable) {
    for (const Row& row : kRows) {
        const std::size_t inner = max_inner_len(row.limit, row.layout, row.ip, row.carrier);
        EXPECT_EQ(inner, row.inner) << row.limit;
        EXPECT_EQ(inner - kIpv4AndTcp, row.mss4);
        EXPECT_EQ(inner - kIpv6AndTcp, row.mss6);
        const std::size_t outer = outer_len(row.ip, row.carrier);
        EXPECT_LE(outer + sealed_len(row.layout, inner), row.limit);
        EXPECT_GT(outer + sealed_len(row.layout, inner + 1), row.limit);
    }
}

// A clamp of 1350, which is often advised, is not small enough over ExpressRoute; 1250 is for every suite.
TEST(AzureSizes, WhatIsOftenAdvisedIsTooMuch) {
    EXPECT_EQ(20 + sealed_len(kGcm, 1350 + kIpv4AndTcp), 1444u);
    EXPECT_EQ(20 + sealed_len(kCbcSha256, 1350 + kIpv4AndTcp), 1452u);
    EXPECT_LE(28 + sealed_len(kCbcSha256, 1250 + kIpv4AndTcp), 1400u);
}

}  // namespace
}  // namespace twinspan
