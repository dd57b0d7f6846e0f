#include "crypto/ipsec_mb.hpp"

#include "crypto/self_test.hpp"
#include "tests/unit/crypto/test_keys.hpp"

namespace twinspan {
namespace {

using test::bytes;
using test::Bytes;
using test::kLayout;
using test::value;

class EngineTest : public test::EachArchitecture {};
INSTANTIATE_TEST_SUITE_P(, EngineTest, testing::ValuesIn(test::kVariants), test::variant_name);

// Test cases 4, 10 and 16 of McGrew and Viega's GCM specification, the ones NIST validates against; 13 and 14 for the
// empty message and the zero block.
struct GcmVector {
    Suite suite;
    std::string_view key, nonce, aad, plain, cipher, tag;
};
constexpr std::string_view kPlain =
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba"
    "637b39";
constexpr std::string_view kAad = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
constexpr std::string_view kNonce = "cafebabefacedbaddecaf888";
constexpr GcmVector kVectors[] = {
    {Suite::aes_128_gcm, "feffe9928665731c6d6a8f9467308308", kNonce, kAad, kPlain,
     "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973"
     "d58e091",
     "5bc94fbc3221a5db94fae95ae7121a47"},
    {Suite::aes_192_gcm, "feffe9928665731c6d6a8f9467308308feffe9928665731c", kNonce, kAad, kPlain,
     "3980ca0b3c00e841eb06fac4872a2757859e1ceaa6efd984628593b40ca1e19c7d773d00c144c525ac619d18c84a3f4718e2448b2fe324d9c"
     "cda2710",
     "2519498e80f1478f37ba55bd6d27618c"},
    {Suite::aes_256_gcm, "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", kNonce, kAad, kPlain,
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0ab"
     "cc9f662",
     "76fc6ece0f4e1768cddf8853bb2d551b"},
    {Suite::aes_256_gcm, "0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000",
     "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
    {Suite::aes_256_gcm, "0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000",
     "", "00000000000000000000000000000000", "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919"},
};

TEST_P(EngineTest, ComputesThePublishedGcmVectors) {
    for (const GcmVector& v : kVectors) {
        const GcmKey key = value(engine->expand(v.suite, bytes(v.key)));
        const Bytes nonce = bytes(v.nonce);
        const Bytes aad = bytes(v.aad);
        Bytes data = bytes(v.plain);
        data.reserve(1);  // an empty message still has an address
        Bytes tag(kLayout.icv_len);
        engine->seal(key, data.data(), data.size(), nonce.data(), aad.data(), aad.size(), tag.data());
        EXPECT_EQ(data, bytes(v.cipher));
        EXPECT_EQ(tag, bytes(v.tag));
        Bytes computed(kLayout.icv_len);
        engine->open(key, data.data(), data.size(), nonce.data(), aad.data(), aad.size(), computed.data());
        EXPECT_EQ(data, bytes(v.plain));
        EXPECT_EQ(computed, bytes(v.tag));
    }
}

TEST_P(EngineTest, PassesTheSelfTest) {
    const auto result = self_test(*engine);
    EXPECT_TRUE(result) << result.error();
}

TEST_P(EngineTest, AFailingSelfTestNamesTheSuite) {
    const std::string zeros(2 * sealed_len(kLayout, 21), '0');
    const KnownAnswer answer{Suite::aes_192_gcm, SequenceWidth::bits64, 0x2'0102'0304, zeros};
    const auto result = self_test(*engine, {&answer, 1});
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error(), "self-test of aes-192-gcm with extended sequence numbers on " +
                                  std::string(engine->architecture()) + ": opened to the wrong bytes");
}

TEST_P(EngineTest, HashesTheShaVectorOfFips180) {
    const Bytes abc{'a', 'b', 'c'};
    const auto digest = engine->sha256(abc);
    EXPECT_EQ(Bytes(digest.begin(), digest.end()),
              bytes("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
}

TEST(EngineCreateTest, TellsTheArchitectureItWasForcedTo) {
    EXPECT_EQ(value(Engine::create(Architecture::sse)).architecture(), "SSE");
}

TEST(EngineCreateTest, RefusesAKeyOfTheWrongLengthAndDoesNotQuoteIt) {
    const Engine engine = value(Engine::create());
    const auto key = engine.expand(Suite::aes_256_gcm, Bytes(16, 0xab));
    ASSERT_FALSE(key);
    EXPECT_EQ(key.error(), "aes-256-gcm needs a key of 32 bytes, not 16");
}

TEST(SuiteTest, NamesAreReadBack) {
    for (const SuiteInfo& s : kSuites) {
        EXPECT_EQ(parse_suite(s.name), s.id);
    }
    EXPECT_EQ(parse_suite("aes-256-cbc"), std::nullopt);
    EXPECT_EQ(keymat_len(Suite::aes_256_gcm), 36u);
    EXPECT_EQ(keymat_len(Suite::aes_256_cbc_hmac_sha384), 80u);
}

}  // namespace
}  // namespace twinspan
