// Names of algorithms, in everybody's spelling.
#include "control/config/algorithms.hpp"

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace twinspan {
namespace {

TEST(Algorithms, EverySuiteHasAProposalThatMeansIt) {
    for (const SuiteInfo& suite : kSuites) {
        const SuiteChoice choice{suite.id, suite.icv_len};
        const auto again = suite_of_proposal(proposal_of(choice));
        ASSERT_TRUE(again) << proposal_of(choice);
        EXPECT_EQ(*again, choice) << proposal_of(choice);
    }
    EXPECT_EQ(proposal_of({Suite::aes_256_gcm, 12}), "aes256gcm12");
}

TEST(Algorithms, ProposalsInStrongswansNotation) {
    const std::pair<const char*, SuiteChoice> good[] = {
        {"aes256gcm16", {Suite::aes_256_gcm, 16}},
        {"aes128gcm128-ecp384-esn", {Suite::aes_128_gcm, 16}},
        {"aes192gcm96", {Suite::aes_192_gcm, 12}},
        {"aes256gcm8", {Suite::aes_256_gcm, 8}},
        {"aes256-sha1", {Suite::aes_256_cbc_hmac_sha1, 12}},
        {"aes-sha256", {Suite::aes_128_cbc_hmac_sha256, 16}},
        {"aes192-sha384-modp2048-ke1_mlkem768", {Suite::aes_192_cbc_hmac_sha384, 24}},
        {"aes256-sha2_512", {Suite::aes_256_cbc_hmac_sha512, 32}},
        {"chacha20poly1305-x25519", {Suite::chacha20_poly1305, 16}},
        {"aes128gmac", {Suite::aes_128_gmac, 16}},
    };
    for (const auto& [proposal, choice] : good) {
        ASSERT_TRUE(suite_of_proposal(proposal)) << proposal;
        EXPECT_EQ(*suite_of_proposal(proposal), choice) << proposal;
    }
    for (const char* bad :
         {"", "aes", "aes256", "sha256", "aes512gcm16", "aes256gcm4", "aes256ctr-sha256", "aes256-sha256-sha1",
          "aes256gcm16-sha256", "aes256-aes128-sha1", "aes256-sha256_96", "aes256-aesxcbc", "camellia256-sha256",
          "chacha20poly1305compat", "aes256ccm16", "ecp384"}) {
        EXPECT_FALSE(suite_of_proposal(bad)) << bad;
    }
}

TEST(Algorithms, WhatIsBrokenIsKnownByAnyName) {
    for (const char* bad : {"3des-cbc", "3des-sha1", "DES3", "cbc(des3_ede) with hmac(sha1)", "aes128-md5", "hmac(md5)",
                            "DES", "null-sha1", "ecb(cipher_null)", "None", "aes256-sha1-modp768", "cast128-sha1"}) {
        EXPECT_NE(why_broken(bad), "") << bad;
    }
    for (const char* good : {"aes256gcm16-ecp384", "aes-256-cbc-hmac-sha1", "cbc(aes) with hmac(sha256)", "GCMAES256",
                             "aes256-sha1-modp1024", "", "describe", "nullify"}) {
        EXPECT_EQ(why_broken(good), "") << good;
    }
    EXPECT_EQ(why_broken("3des-cbc"), "3DES is broken: use aes-256-gcm or aes-256-cbc-hmac-sha256");
    EXPECT_EQ(why_broken("aes256-sha1-modp768"), "a group of 768 bits is broken: use ecp384 or modp2048");
}

TEST(Algorithms, AzuresDefaultsAreAllEncryptedHere) {
    for (const std::string_view proposal : kAzureEspProposals) {
        EXPECT_TRUE(suite_of_proposal(proposal)) << proposal;
    }
    for (const std::string_view proposal : kAzureIkeProposals) {
        EXPECT_EQ(why_broken(proposal), "") << proposal;
    }
}

}  // namespace
}  // namespace twinspan
