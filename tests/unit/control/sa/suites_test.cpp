// Which SAs of Linux are taken: every suite by Linux's names and lengths, and what is refused, with its alternative.
#include "tests/unit/control/sa/site.hpp"

#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <sstream>
#include <string>

namespace twinspan {
namespace {

using test::FakeSa;
using test::Site;

struct Taken {
    const char* cipher;
    const char* integrity;
    std::size_t key_bytes;  // salt and integrity key included
    std::size_t integrity_bytes;
    std::uint32_t icv_bits;
    Suite suite;
};
constexpr const char* kGcm = "rfc4106(gcm(aes))";
constexpr const char* kGmac = "rfc4543(gcm(aes))";
constexpr const char* kChaCha = "rfc7539esp(chacha20,poly1305)";
constexpr const char* kCbc = "cbc(aes)";
constexpr Taken kTaken[] = {
    {kGcm, "", 20, 0, 128, Suite::aes_128_gcm},
    {kGcm, "", 28, 0, 128, Suite::aes_192_gcm},
    {kGcm, "", 36, 0, 128, Suite::aes_256_gcm},
    {kGcm, "", 36, 0, 96, Suite::aes_256_gcm},
    {kGcm, "", 20, 0, 64, Suite::aes_128_gcm},
    {kChaCha, "", 36, 0, 128, Suite::chacha20_poly1305},
    {kGmac, "", 20, 0, 128, Suite::aes_128_gmac},
    {kGmac, "", 28, 0, 128, Suite::aes_192_gmac},
    {kGmac, "", 36, 0, 128, Suite::aes_256_gmac},
    {kCbc, "hmac(sha1)", 16 + 20, 20, 96, Suite::aes_128_cbc_hmac_sha1},
    {kCbc, "hmac(sha1)", 24 + 20, 20, 96, Suite::aes_192_cbc_hmac_sha1},
    {kCbc, "hmac(sha1)", 32 + 20, 20, 96, Suite::aes_256_cbc_hmac_sha1},
    {kCbc, "hmac(sha256)", 16 + 32, 32, 128, Suite::aes_128_cbc_hmac_sha256},
    {kCbc, "hmac(sha256)", 24 + 32, 32, 128, Suite::aes_192_cbc_hmac_sha256},
    {kCbc, "hmac(sha256)", 32 + 32, 32, 128, Suite::aes_256_cbc_hmac_sha256},
    {kCbc, "hmac(sha384)", 16 + 48, 48, 192, Suite::aes_128_cbc_hmac_sha384},
    {kCbc, "hmac(sha384)", 24 + 48, 48, 192, Suite::aes_192_cbc_hmac_sha384},
    {kCbc, "hmac(sha384)", 32 + 48, 48, 192, Suite::aes_256_cbc_hmac_sha384},
    {kCbc, "hmac(sha512)", 16 + 64, 64, 256, Suite::aes_128_cbc_hmac_sha512},
    {kCbc, "hmac(sha512)", 24 + 64, 64, 256, Suite::aes_192_cbc_hmac_sha512},
    {kCbc, "hmac(sha512)", 32 + 64, 64, 256, Suite::aes_256_cbc_hmac_sha512},
};

template <class Row>
void give(FakeSa& sa, const Row& row) {
    sa.cipher = row.cipher;
    sa.integrity = row.integrity;
    sa.key_bytes = row.key_bytes;
    sa.integrity_bytes = row.integrity_bytes;
    sa.icv_bits = row.icv_bits;
}

TEST(SaSuites, EachIsTakenInBothDirectionsByLinuxsNames) {
    for (const Taken& row : kTaken) {
        Site site;
        give(site.kernel.add(0x1001, false, 1, 1), row);
        give(site.kernel.add(0x1002, true, 2, 1), row);
        site.dump();
        ASSERT_TRUE(site.tunnel().complete()) << row.cipher << ' ' << row.integrity << ' ' << row.key_bytes;
        EXPECT_EQ(site.tunnel().out->suite(), row.suite);
        EXPECT_EQ(site.tunnel().in[0].sa->suite(), row.suite);
        EXPECT_EQ(site.tunnel().out->layout(), layout_of(row.suite, row.icv_bits / 8));
        EXPECT_EQ(site.tunnel().layout, site.tunnel().out->layout());
        const std::vector<SaRow> rows = site.store->rows();
        ASSERT_EQ(rows.size(), 2u);
        EXPECT_EQ(8 * rows[0].icv_len, row.icv_bits);
        EXPECT_EQ(rows[1].suite, row.suite);
    }
}

struct Refused {
    const char* cipher;
    const char* integrity;
    std::size_t key_bytes;
    std::size_t integrity_bytes;
    std::uint32_t icv_bits;
    const char* why;  // in the log
    Metric metric = Metric::xfrm_sa_unsupported;
};
constexpr Refused kRefused[] = {
    {"cbc(des)", "hmac(sha1)", 28, 20, 96, "DES is broken: use aes-256-gcm or aes-256-cbc-hmac-sha256"},
    {"cbc(des3_ede)", "hmac(sha256)", 56, 32, 128, "3DES is broken: use aes-256-gcm or aes-256-cbc-hmac-sha256"},
    {"cbc(aes)", "hmac(md5)", 32, 16, 96, "MD5 is broken: use aes-256-gcm or aes-256-cbc-hmac-sha256"},
    {"ecb(cipher_null)", "", 0, 0, 0, "null encryption protects nothing: use aes-256-gcm"},
    {"ecb(cipher_null)", "hmac(sha256)", 32, 32, 128, "null encryption protects nothing: use aes-256-gcm"},
    {"cbc(aes)", "", 32, 0, 0, "cbc(aes) without integrity is not used"},
    {"cbc(aes)", "hmac(sha256)", 64, 32, 96, "with an ICV of 96 bits is not supported, only 128"},
    {"cbc(aes)", "hmac(sha1)", 52, 20, 160, "with an ICV of 160 bits is not supported, only 96"},
    {kGcm, "", 36, 0, 32, "with an ICV of 32 bits is not supported, only 64, 96 and 128"},
    {kChaCha, "", 36, 0, 96, "with an ICV of 96 bits is not supported, only 128"},
    {"cbc(camellia)", "hmac(sha256)", 64, 32, 128, "cbc(camellia) with hmac(sha256) is not supported: use aes-256-gcm"},
    {kGcm, "", 35, 0, 128, "has no key of 35 bytes", Metric::xfrm_sa_key_length},
    {"cbc(aes)", "hmac(sha256)", 64, 20, 128, "has no key of 64 bytes", Metric::xfrm_sa_key_length},
};

TEST(SaSuites, WhatIsNotOfferedIsRefusedWithItsAlternative) {
    for (const Refused& row : kRefused) {
        std::ostringstream text;
        const auto before = spdlog::default_logger();
        spdlog::set_default_logger(
            std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_st>(text)));
        Site site;
        give(site.kernel.add(0x1002, true, 2, 1), row);
        site.dump();
        site.dump();
        spdlog::set_default_logger(before);
        EXPECT_EQ(site.tunnel().out, nullptr) << row.cipher;
        EXPECT_EQ(site.metrics[row.metric], 1u) << row.cipher;
        EXPECT_NE(text.str().find(row.why), std::string::npos) << text.str();
    }
}

// The IVs of CBC are random: one key in two SAs repeats none. Of all others the counter is the IV.
TEST(SaSuites, OneKeyTwiceIsRefusedWhereIvsWouldRepeat) {
    const struct {
        const Taken& suite;
        std::size_t sas;
    } rows[] = {{kTaken[2], 1}, {kTaken[5], 1}, {kTaken[8], 1}, {kTaken[14], 2}};
    for (const auto& row : rows) {
        Site site;
        give(site.kernel.add(0x1001, false, 7, 1), row.suite);
        give(site.kernel.add(0x1002, true, 7, 2), row.suite);
        site.dump();
        EXPECT_EQ(site.store->rows().size(), row.sas) << row.suite.cipher;
        EXPECT_EQ(site.metrics[Metric::xfrm_sa_key_reused], 2 - row.sas);
    }
}

TEST(SaSuites, EncapsulationIsThatOfEachSa) {
    Site site;
    const netlink::SaEncapsulation out{to_be16(4500), to_be16(61234), true};
    site.kernel.add(0x1002, true, 2, 1).encapsulation = out;
    site.kernel.add(0x1001, false, 1, 1);
    site.kernel.add(0x2001, false, 3, 2).encapsulation = {to_be16(61234), to_be16(4500), true};
    site.dump();
    EXPECT_EQ(site.tunnel().encapsulation, (Encapsulation{to_be16(4500), to_be16(61234)}));
    ASSERT_EQ(site.tunnel().in.size(), 2u);
    EXPECT_FALSE(site.tunnel().in[0].encapsulation.udp());
    EXPECT_EQ(site.tunnel().in[1].encapsulation, (Encapsulation{to_be16(4500), to_be16(61234)}));
}

}  // namespace
}  // namespace twinspan
