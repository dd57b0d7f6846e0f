// Every suite, on every set of instructions of this CPU: packets that OpenSSL made, and what nobody may change in one.
#include "crypto/burst.hpp"

#include "tests/unit/crypto/test_keys.hpp"

#include <bit>
#include <cstring>
#include <set>

namespace twinspan {
namespace {

using test::bytes;
using test::Bytes;
using test::value;

struct Vector {
    Suite suite;
    SequenceWidth width;
    std::uint32_t icv_len;
    std::uint32_t spi;
    std::uint64_t seq;
    OpenStatus status;
    std::uint8_t next_header;
    std::string_view keymat, payload, esp;
};
constexpr Vector kVectors[] = {
#include "tests/vectors/esp.inc"
};
constexpr Vector kRfcVectors[] = {
#include "tests/vectors/esp_rfc.inc"
};

SaConfig config_of(const Vector& v) {
    return {.spi = v.spi, .suite = v.suite, .keymat = test::secret(v.keymat), .width = v.width, .icv_len = v.icv_len};
}

std::string title(Suite suite, SequenceWidth width) {
    return std::string(name(suite)) + (width == SequenceWidth::bits64 ? " ESN" : "");
}

constexpr SequenceWidth kWidths[] = {SequenceWidth::bits32, SequenceWidth::bits64};
constexpr std::uint64_t kSeq = 0x3'0000'0007;

// Both ends of one SA.
struct Pair {
    Pair(const Engine& engine, const SaConfig& config, std::uint64_t seen = 0)
        : out(value(OutboundSa::create(engine, config))), in(value(InboundSa::create(engine, config, 64, seen))) {}
    std::unique_ptr<OutboundSa> out;
    std::unique_ptr<InboundSa> in;
};

class SuitesTest : public test::EachArchitecture {
protected:
    Opened open(InboundSa& in, std::uint64_t seq, Bytes& packet) {
        packet.shrink_to_fit();
        OpenJob job{&in, packet.data(), seq, static_cast<std::uint32_t>(packet.size()), {}};
        open_burst(*engine, {&job, 1});
        return job.opened;
    }
    Bytes seal(OutboundSa& out, std::uint64_t seq, const Bytes& payload, std::uint8_t next_header = kNextHeaderIpv4) {
        const std::size_t offset = payload_offset(out.layout());
        Bytes packet(offset + payload.size() + kEspMaxRoom, 0xee);
        std::ranges::copy(payload, packet.begin() + static_cast<std::ptrdiff_t>(offset));
        const SealJob job{&out, packet.data(), seq, static_cast<std::uint32_t>(payload.size()), next_header};
        seal_burst(*engine, {&job, 1});
        packet.resize(out.sealed_len(payload.size()));
        return packet;
    }
    static Bytes payload_of(const InboundSa& in, const Bytes& packet, const Opened& opened) {
        const auto begin = packet.begin() + static_cast<std::ptrdiff_t>(payload_offset(in.layout()));
        return {begin, begin + opened.payload_len};
    }
    void opens(const Vector& v) {
        SCOPED_TRACE(title(v.suite, v.width) + " ICV " + std::to_string(v.icv_len) + ", " +
                     std::to_string(v.payload.size() / 2) + " bytes");
        const auto in = value(InboundSa::create(*engine, config_of(v), 64, v.seq - 1));
        Bytes packet = bytes(v.esp);
        ASSERT_EQ(in->sequence_of(packet.data()), v.seq);
        const Opened opened = open(*in, v.seq, packet);
        ASSERT_EQ(opened.status, v.status);
        ASSERT_EQ(opened.next_header, v.next_header);
        if (v.status == OpenStatus::ok) {
            ASSERT_EQ(payload_of(*in, packet, opened), bytes(v.payload));
        }
    }
};
INSTANTIATE_TEST_SUITE_P(, SuitesTest, testing::ValuesIn(test::kVariants), test::variant_name);

TEST_P(SuitesTest, OpensWhatOpenSslMade) {
    for (const Vector& v : kVectors) {
        opens(v);
    }
}

TEST_P(SuitesTest, OpensTheSamplesOfTheRfcs) {
    for (const Vector& v : kRfcVectors) {
        opens(v);
    }
}

TEST_P(SuitesTest, SealsWhatOpenSslMade) {
    for (const Vector& v : kVectors) {
        const Bytes expected = bytes(v.esp);
        const SaConfig config = config_of(v);
        const Pair sa{*engine, config, v.seq - 1};
        const Bytes payload = bytes(v.payload);
        const std::uint64_t seq_be = __builtin_bswap64(v.seq);
        const bool ours = v.status == OpenStatus::ok && expected.size() == sa.out->sealed_len(payload.size()) &&
                          std::memcmp(expected.data() + kEspHeaderLen, &seq_be, sizeof seq_be) == 0;
        Bytes packet = seal(*sa.out, v.seq, payload, v.next_header);
        if (info(v.suite).kind == SuiteKind::cbc_hmac) {  // random IV: opening is known to be right
            const Opened opened = open(*sa.in, v.seq, packet);
            ASSERT_EQ(opened.status, OpenStatus::ok) << title(v.suite, v.width);
            ASSERT_EQ(payload_of(*sa.in, packet, opened), payload);
        } else if (ours) {
            ASSERT_TRUE(packet == expected) << title(v.suite, v.width) << " ICV " << v.icv_len;
        }
    }
}

TEST_P(SuitesTest, EveryChangedBitIsRefused) {
    std::mt19937_64 random{5};
    for (const SuiteInfo& suite : kSuites) {
        for (const SequenceWidth width : kWidths) {
            const SaConfig config = test::sa_config(suite.id, width);
            const Pair sa{*engine, config, 1};
            const Bytes good = seal(*sa.out, 5, test::random_bytes(random, 33));
            for (std::size_t bit = 0; bit < 8 * good.size(); ++bit) {
                Bytes bad = good;
                bad[bit / 8] = static_cast<std::uint8_t>(bad[bit / 8] ^ (1u << bit % 8));
                ASSERT_EQ(open(*sa.in, sa.in->sequence_of(bad.data()), bad).status, OpenStatus::auth_failed)
                    << title(suite.id, width) << " bit " << bit;
            }
            Bytes same = good;
            ASSERT_EQ(open(*sa.in, sa.in->sequence_of(same.data()), same).status, OpenStatus::ok);
        }
    }
}

TEST_P(SuitesTest, EveryBitOfAShortIcvCounts) {
    for (const Suite suite : {Suite::aes_128_gcm, Suite::aes_192_gcm, Suite::aes_256_gcm}) {
        for (const std::uint32_t icv_len : {8u, 12u}) {
            SaConfig config = test::sa_config(suite);
            config.icv_len = icv_len;
            const Pair sa{*engine, config};
            const Bytes good = seal(*sa.out, 5, Bytes(20, 1));
            ASSERT_EQ(good.size(), 16 + 20 + 2 + 2 + icv_len);
            for (std::size_t bit = 8 * (good.size() - icv_len); bit < 8 * good.size(); ++bit) {
                Bytes bad = good;
                bad[bit / 8] = static_cast<std::uint8_t>(bad[bit / 8] ^ (1u << bit % 8));
                ASSERT_EQ(open(*sa.in, 5, bad).status, OpenStatus::auth_failed);
            }
        }
    }
}

TEST_P(SuitesTest, AnIcvOfAnotherLengthIsRefused) {
    SaConfig long_icv = test::sa_config(Suite::aes_256_gcm), short_icv = test::sa_config(Suite::aes_256_gcm);
    short_icv.icv_len = 8;
    const Pair a{*engine, long_icv}, b{*engine, short_icv};
    Bytes from_long = seal(*a.out, 5, Bytes(40, 1)), from_short = seal(*b.out, 5, Bytes(40, 1));
    EXPECT_EQ(open(*b.in, 5, from_long).status, OpenStatus::auth_failed);
    EXPECT_EQ(open(*a.in, 5, from_short).status, OpenStatus::auth_failed);
}

TEST_P(SuitesTest, TheHighHalfOfAnExtendedNumberIsAuthenticated) {
    for (const SuiteInfo& suite : kSuites) {
        const Pair sa{*engine, test::sa_config(suite.id, SequenceWidth::bits64)};
        for (const std::uint64_t wrong :
             std::array<std::uint64_t, 4>{0x2'0000'0007, 0x4'0000'0007, 7, 0x8000'0003'0000'0007}) {
            Bytes packet = seal(*sa.out, kSeq, Bytes(30, 1));
            EXPECT_EQ(open(*sa.in, wrong, packet).status, OpenStatus::auth_failed) << suite.name;
        }
        Bytes packet = seal(*sa.out, kSeq, Bytes(30, 1));
        EXPECT_EQ(open(*sa.in, kSeq, packet).status, OpenStatus::ok) << suite.name;
    }
}

// Each packet lies alone in memory of its own length: a byte read or written behind it would be AddressSanitizer's.
TEST_P(SuitesTest, EveryTruncationIsRefused) {
    for (const SuiteInfo& suite : kSuites) {
        for (const SequenceWidth width : kWidths) {
            const Pair sa{*engine, test::sa_config(suite.id, width)};
            const Bytes good = seal(*sa.out, 5, Bytes(50, 1));
            for (std::size_t len = 0; len < good.size(); ++len) {
                Bytes cut(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(len));
                const EspLayout l = sa.in->layout();
                const bool whole = len >= min_len(l) && (len - payload_offset(l) - l.icv_len) % l.alignment == 0;
                ASSERT_EQ(open(*sa.in, 5, cut).status, whole ? OpenStatus::auth_failed : OpenStatus::bad_length)
                    << title(suite.id, width) << " " << len;
            }
        }
    }
}

TEST_P(SuitesTest, NothingIsWrittenBehindThePacketsRoom) {
    for (const SuiteInfo& suite : kSuites) {
        const Pair sa{*engine, test::sa_config(suite.id, SequenceWidth::bits64)};
        for (std::size_t len = 0; len < 40; ++len) {
            const std::size_t offset = payload_offset(sa.out->layout());
            Bytes packet(offset + len + kEspMaxRoom + 64, 0xee);
            const SealJob job{sa.out.get(), packet.data(), 5, static_cast<std::uint32_t>(len), kNextHeaderIpv4};
            seal_burst(*engine, {&job, 1});
            ASSERT_TRUE(std::all_of(packet.end() - 64, packet.end(), [](std::uint8_t b) { return b == 0xee; }));
        }
    }
}

TEST_P(SuitesTest, TheKeyOfTheOtherDirectionOrOfAnotherSaDoesNotFit) {
    for (const SuiteInfo& suite : kSuites) {
        const Pair a{*engine, test::sa_config(suite.id, SequenceWidth::bits32, 1)};
        const Pair b{*engine, test::sa_config(suite.id, SequenceWidth::bits32, 2)};
        Bytes packet = seal(*a.out, 5, Bytes(30, 1));
        EXPECT_EQ(open(*b.in, 5, packet).status, OpenStatus::auth_failed) << suite.name;
    }
}

// RFC 4303 section 3.4.4.1: the ICV is verified before anything is decrypted. What fails is still ciphertext.
TEST_P(SuitesTest, CbcDecryptsNothingThatIsNotAuthentic) {
    for (const SuiteInfo& suite : kSuites) {
        if (suite.kind == SuiteKind::cbc_hmac) {
            const Pair sa{*engine, test::sa_config(suite.id)};
            Bytes packet = seal(*sa.out, 5, Bytes(30, 1));
            packet.back() ^= 1;
            const Bytes before = packet;
            EXPECT_EQ(open(*sa.in, 5, packet).status, OpenStatus::auth_failed);
            EXPECT_TRUE(std::equal(before.begin(), before.end() - suite.icv_len, packet.begin())) << suite.name;
        }
    }
}

TEST_P(SuitesTest, GmacLeavesThePayloadReadable) {
    const Pair sa{*engine, test::sa_config(Suite::aes_256_gmac)};
    const Bytes payload = bytes("45000014");
    const Bytes packet = seal(*sa.out, 5, payload);
    EXPECT_EQ(Bytes(packet.begin() + 16, packet.begin() + 20), payload);
}

TEST_P(SuitesTest, CbcIvsAreNotForeseeable) {
    const Pair sa{*engine, test::sa_config(Suite::aes_128_cbc_hmac_sha256)};
    auto other_engine = value(Engine::create(GetParam().architecture, GetParam().gfni));
    std::set<Bytes> ivs;
    unsigned ones = 0;
    constexpr unsigned kPackets = 2000;
    for (unsigned i = 0; i < kPackets; ++i) {
        const Bytes packet = seal(*sa.out, 5, Bytes(4, 1));  // the same number: it must not show
        ivs.emplace(packet.begin() + 8, packet.begin() + 24);
        for (std::size_t b = 8; b < 24; ++b) {
            ones += static_cast<unsigned>(std::popcount(packet[b]));
        }
    }
    EXPECT_EQ(ivs.size(), kPackets);
    EXPECT_NEAR(ones, kPackets * 64, 2500);  // five standard deviations of 256,000 fair bits
    // Two engines with the same counter have different keys.
    auto third = value(Engine::create(GetParam().architecture, GetParam().gfni));
    const std::uint8_t *a = other_engine.next_ivs(4), *b = third.next_ivs(4);
    EXPECT_NE(Bytes(a, a + 64), Bytes(b, b + 64));
}

}  // namespace
}  // namespace twinspan
