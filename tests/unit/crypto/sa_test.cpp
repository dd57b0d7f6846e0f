#include "crypto/burst.hpp"

#include "tests/unit/crypto/test_keys.hpp"

#include <set>
#include <thread>

namespace twinspan {
namespace {

using test::bytes;
using test::Bytes;
using test::kLayout;
using test::kPayloadOffset;
using test::sa_config;
using test::value;

class SaTest : public test::EachArchitecture {
protected:
    // The packet alone, exactly as long as seal_in_place may write: what ASan then guards.
    Bytes sealed(OutboundSa& sa, std::uint64_t seq, const Bytes& payload, std::uint8_t next_header = kNextHeaderIpv4) {
        Bytes packet(kPayloadOffset + payload.size() + kEspMaxRoom);
        std::ranges::copy(payload, packet.begin() + kPayloadOffset);
        packet.resize(sa.seal_in_place(*engine, seq, packet.data(), payload.size(), next_header));
        packet.shrink_to_fit();
        return packet;
    }
    // Seals any plaintext, well-formed trailer or not, as a peer with the key could.
    Bytes sealed_raw(const SaConfig& config, std::uint64_t seq, const Bytes& plaintext) {
        const GcmKey key = value(engine->expand(config.suite, config.keymat.span().first(key_len(config.suite))));
        Bytes packet(kPayloadOffset + plaintext.size() + kLayout.icv_len);
        std::ranges::copy(plaintext, packet.begin() + kPayloadOffset);
        write_esp_header(packet.data(), __builtin_bswap32(config.spi), seq);
        Bytes nonce(config.keymat.data() + key_len(config.suite), config.keymat.data() + config.keymat.size());
        nonce.insert(nonce.end(), packet.begin() + kEspHeaderLen, packet.begin() + kPayloadOffset);
        engine->seal(key, packet.data() + kPayloadOffset, plaintext.size(), nonce.data(), packet.data(), kEspHeaderLen,
                     packet.data() + kPayloadOffset + plaintext.size());
        return packet;
    }
};
INSTANTIATE_TEST_SUITE_P(, SaTest, testing::ValuesIn(test::kVariants), test::variant_name);

// draft-mcgrew-gcm-test: whole ESP packets of other people's making.
struct EspVector {
    Suite suite;
    SequenceWidth width;
    std::uint32_t spi;
    std::uint64_t seq;
    std::string_view keymat, iv, sealed, payload;
    std::uint8_t next_header;
};
constexpr EspVector kEspVectors[] = {
    {Suite::aes_128_gcm, SequenceWidth::bits64, 0x00004321, 0x8765432100000000,
     "4c80cdefbb5d10da906ac73c3613a6342e443b68", "4956ed7e3b244cfe",
     "fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34cfa2436f14a3f3cf65925bf1f4a13c5d15b21e1884f5ff624"
     "7aeabb786b93bce"
     "61bc17d768fd9732459018148f6cbe722fd04796562dfdb4",
     "45000048699a000080114db7c0a80102c0a801010a9bf15638d301000001000000000000045f736970045f756470037369700963796265726"
     "369747902646b00"
     "00210001",
     1},
    {Suite::aes_128_gcm, SequenceWidth::bits32, 0x0000a5f8, 0x0000000a, "feffe9928665731c6d6a8f9467308308cafebabe",
     "facedbaddecaf888",
     "deb22cd9b07c72c16e3a65beeb8df304a5a5897d33ae530f1ba76d5d114d2a5c3de81827c10e9a4f51330d0eec416642cfbb85a5b47e48a4e"
     "c3b9ba95d918bd1"
     "83b70d3aa8bc6ee4c309e9d85a41ad4a",
     "4500003e698f000080114dccc0a80102c0a801010a980035002a2343b2d001000001000000000000037369700963796265726369747902646"
     "b0000010001",
     1},
    {Suite::aes_256_gcm, SequenceWidth::bits32, 0x4a2cbfe3, 0x00000002,
     "abbccddef00112233445566778899aababbccddef00112233445566778899aab11223344", "0102030405060708",
     "ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763748a637985771d347f0545659f14e99def842d8eb335f4eec"
     "fdbf831824b4c49"
     "15956c96",
     "4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee0000000007002400020bf0000020405b401010402", 1},
};

TEST_P(SaTest, OpensThePublishedEspPackets) {
    for (const EspVector& v : kEspVectors) {
        const SaConfig config{.spi = v.spi, .suite = v.suite, .keymat = test::secret(v.keymat), .width = v.width};
        const auto in = value(InboundSa::create(*engine, config, 64, v.seq - 1));
        Bytes packet(8);
        const Bytes iv = bytes(v.iv), body = bytes(v.sealed);
        write_nonce((packet.resize(16), packet.data()), __builtin_bswap32(v.spi), 0);
        const auto low = __builtin_bswap32(static_cast<std::uint32_t>(v.seq));
        std::memcpy(packet.data() + 4, &low, sizeof low);
        std::ranges::copy(iv, packet.begin() + kEspHeaderLen);
        packet.insert(packet.end(), body.begin(), body.end());
        EXPECT_EQ(in->sequence_of(packet.data()), v.seq);
        const Opened opened = in->open_in_place(*engine, in->sequence_of(packet.data()), packet.data(), packet.size());
        ASSERT_EQ(opened.status, OpenStatus::ok);
        EXPECT_EQ(opened.next_header, v.next_header);
        EXPECT_EQ(Bytes(packet.begin() + kPayloadOffset, packet.begin() + kPayloadOffset + opened.payload_len),
                  bytes(v.payload));
    }
}

TEST_P(SaTest, EveryLengthComesBack) {
    std::mt19937_64 random{7};
    for (const Suite suite : {Suite::aes_128_gcm, Suite::aes_192_gcm, Suite::aes_256_gcm}) {
        for (const SequenceWidth width : {SequenceWidth::bits32, SequenceWidth::bits64}) {
            const SaConfig config = sa_config(suite, width);
            const std::uint64_t base = width == SequenceWidth::bits32 ? 1 : 0x2'ffff'fe00;
            const auto out = value(OutboundSa::create(*engine, config, base));
            const auto in = value(InboundSa::create(*engine, config, 64, base - 1));
            for (std::size_t len = 0; len <= 1600; ++len) {
                const Bytes payload = test::random_bytes(random, len);
                const std::uint8_t next_header = len % 2 == 0 ? kNextHeaderIpv4 : kNextHeaderIpv6;
                Bytes packet = sealed(*out, base + len, payload, next_header);
                ASSERT_EQ(packet.size(), sealed_len(kLayout, len));
                ASSERT_EQ(esp_spi(packet.data()), config.spi);
                const std::uint64_t seq = in->sequence_of(packet.data());
                ASSERT_EQ(seq, base + len);
                const Opened opened = in->open_in_place(*engine, seq, packet.data(), packet.size());
                ASSERT_EQ(opened.status, OpenStatus::ok);
                ASSERT_EQ(opened.next_header, next_header);
                ASSERT_EQ(Bytes(packet.begin() + kPayloadOffset, packet.begin() + kPayloadOffset + opened.payload_len),
                          payload);
                ASSERT_TRUE(in->replay().accept(seq));
            }
        }
    }
}

TEST_P(SaTest, EverySingleBitOfThePacketIsAuthenticated) {
    for (const SequenceWidth width : {SequenceWidth::bits32, SequenceWidth::bits64}) {
        const SaConfig config = sa_config(Suite::aes_256_gcm, width);
        const auto out = value(OutboundSa::create(*engine, config));
        const auto in = value(InboundSa::create(*engine, config, 64));
        const Bytes good = sealed(*out, 5, Bytes(61, 0x42));
        for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
            Bytes bad = good;
            bad[bit / 8] = static_cast<std::uint8_t>(bad[bit / 8] ^ (1u << bit % 8));
            ASSERT_EQ(in->open_in_place(*engine, in->sequence_of(bad.data()), bad.data(), bad.size()).status,
                      OpenStatus::auth_failed)
                << "bit " << bit;
        }
    }
}

TEST_P(SaTest, WithEsnTheHighHalfIsAuthenticatedThoughItIsNotSent) {
    const SaConfig config = sa_config(Suite::aes_128_gcm, SequenceWidth::bits64);
    const auto out = value(OutboundSa::create(*engine, config));
    const auto in = value(InboundSa::create(*engine, config, 64));
    Bytes packet = sealed(*out, 0x1'0000'0005, Bytes(40, 1));
    Bytes same = packet;
    EXPECT_EQ(in->open_in_place(*engine, 0x2'0000'0005, packet.data(), packet.size()).status, OpenStatus::auth_failed);
    EXPECT_EQ(in->open_in_place(*engine, 0x1'0000'0005, same.data(), same.size()).status, OpenStatus::ok);
}

TEST_P(SaTest, RefusesLengthsThatNoSealedPacketHas) {
    const SaConfig config = sa_config(Suite::aes_128_gcm);
    const auto out = value(OutboundSa::create(*engine, config));
    const auto in = value(InboundSa::create(*engine, config, 64));
    const Bytes good = sealed(*out, 1, Bytes(60, 9));
    for (std::size_t len = 0; len < good.size(); ++len) {
        Bytes cut(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(len));
        const OpenStatus expected =
            len < min_len(kLayout) || len % 4 != 0 ? OpenStatus::bad_length : OpenStatus::auth_failed;
        ASSERT_EQ(in->open_in_place(*engine, 1, cut.data(), cut.size()).status, expected) << len;
    }
}

TEST_P(SaTest, RefusesAuthenticPacketsWithBadPadding) {
    const SaConfig config = sa_config(Suite::aes_256_gcm);
    const auto in = value(InboundSa::create(*engine, config, 64));
    struct Row {
        std::string_view name, plaintext;
        OpenStatus status;
        std::uint32_t payload_len;
    };
    const Row rows[] = {
        {"no payload at all", "01020204", OpenStatus::ok, 0},
        {"pad length larger than the packet", "0102ff04", OpenStatus::bad_padding, 0},
        {"padding that would begin in the IV, which ends in 01", "02030304", OpenStatus::bad_padding, 0},
        {"padding of zeros", "4500000000000204", OpenStatus::bad_padding, 0},
        {"padding that skips a number", "4500000001030204", OpenStatus::bad_padding, 0},
        {"more padding than needed, as RFC 4303 allows", "450102030405060708090a0b0c0d0d04", OpenStatus::ok, 1},
        {"more padding than needed, last one wrong", "450102030405060708090a0b0c0e0d04", OpenStatus::bad_padding, 0},
    };
    for (const Row& row : rows) {
        Bytes packet = sealed_raw(config, 1, bytes(row.plaintext));
        const Opened opened = in->open_in_place(*engine, 1, packet.data(), packet.size());
        EXPECT_EQ(opened.status, row.status) << row.name;
        EXPECT_EQ(opened.payload_len, row.payload_len) << row.name;
    }
}

struct OutboundSequenceTest : testing::Test {
    Engine engine = value(Engine::create());
    std::unique_ptr<OutboundSa> sa(SequenceWidth width = SequenceWidth::bits32, std::uint64_t first = 1) {
        return value(OutboundSa::create(engine, sa_config(Suite::aes_128_gcm, width), first));
    }
};

TEST_F(OutboundSequenceTest, GivesOutNothingBeforeAReservation) {
    const auto out = sa();
    const SequenceBurst burst = out->reserve_burst(32);
    EXPECT_EQ(burst.granted, 0u);
    EXPECT_EQ(burst.refusal, SequenceRefusal::reservation_used_up);
    EXPECT_EQ(out->next_seq(), 1u);
}

TEST_F(OutboundSequenceTest, GivesOutWhatTheReservationCoversAndNamesTheRefusal) {
    const auto out = sa();
    out->raise_limit(41);
    SequenceBurst burst = out->reserve_burst(32);
    EXPECT_EQ(burst.first, 1u);
    EXPECT_EQ(burst.granted, 32u);
    EXPECT_EQ(burst.refusal, SequenceRefusal::none);
    burst = out->reserve_burst(32);
    EXPECT_EQ(burst.first, 33u);
    EXPECT_EQ(burst.granted, 8u);
    EXPECT_EQ(burst.refusal, SequenceRefusal::reservation_used_up);
    for (int i = 0; i < 1000; ++i) {
        EXPECT_EQ(out->reserve_burst(32).granted, 0u);
    }
    EXPECT_LE(out->next_seq(), 65u);
    out->raise_limit(20);
    EXPECT_EQ(out->limit(), 41u);
}

TEST_F(OutboundSequenceTest, UsageCountsWhatWasGrantedAndNotWhatWasPassedOver) {
    const auto out = sa(SequenceWidth::bits32, 1000);
    EXPECT_EQ(out->usage(), SaUsage{});
    out->raise_limit(1040);
    EXPECT_EQ(out->reserve_burst(32).granted, 32u);
    EXPECT_EQ(out->usage().packets, 32u);
    EXPECT_EQ(out->reserve_burst(32).granted, 8u);
    EXPECT_EQ(out->reserve_burst(32).granted, 0u);
    EXPECT_EQ(out->usage().packets, 40u);
    out->raise_limit(5000);
    EXPECT_EQ(out->reserve_burst(32).granted, 32u);
    out->add_bytes(0, 100);
    out->add_bytes(0, std::uint64_t{1} << 33);
    EXPECT_EQ(out->usage(), (SaUsage{72, (std::uint64_t{1} << 33) + 100}));
    out->stop();
    EXPECT_EQ(out->reserve_burst(32).granted, 0u);
    EXPECT_EQ(out->usage().packets, 72u);
}

TEST_F(OutboundSequenceTest, NeverWrapsThirtyTwoBitsWithoutEsn) {
    const auto out = sa(SequenceWidth::bits32, 0xffff'fff0);
    out->raise_limit(~std::uint64_t{0});
    SequenceBurst burst = out->reserve_burst(32);
    EXPECT_EQ(burst.first, 0xffff'fff0u);
    EXPECT_EQ(burst.granted, 16u);
    EXPECT_EQ(burst.refusal, SequenceRefusal::sequence_used_up);
    EXPECT_EQ(out->reserve_burst(1).refusal, SequenceRefusal::sequence_used_up);
    const auto esn = sa(SequenceWidth::bits64, 0xffff'fff0);
    esn->raise_limit(0x1'0000'1000);
    EXPECT_EQ(esn->reserve_burst(32).granted, 32u);
    const auto ended = sa(SequenceWidth::bits32, std::uint64_t{1} << 32);
    ended->raise_limit(~std::uint64_t{0});
    EXPECT_EQ(ended->reserve_burst(1).granted, 0u);
    EXPECT_EQ(ended->reserve_burst(1).refusal, SequenceRefusal::sequence_used_up);
    EXPECT_FALSE(OutboundSa::create(engine, sa_config(Suite::aes_128_gcm), (std::uint64_t{1} << 32) + 1));
}

TEST_F(OutboundSequenceTest, WorkersNeverShareANumberWhileControlRaisesTheLimit) {
    constexpr std::uint64_t kLimit = 200'000;
    const auto out = sa();
    std::vector<std::vector<std::uint64_t>> used(4);
    std::vector<std::thread> workers;
    for (auto& mine : used) {
        workers.emplace_back([&out, &mine] {
            std::uint32_t n = 1;
            for (std::uint64_t seen = 0; seen < kLimit;) {
                const SequenceBurst burst = out->reserve_burst(n);
                n = n % 32 + 1;
                for (std::uint64_t i = 0; i < burst.granted; ++i) {
                    mine.push_back(burst.first + i);
                }
                seen = out->next_seq();
            }
        });
    }
    for (std::uint64_t limit = 1000; limit <= kLimit; limit += 1000) {
        out->raise_limit(limit);
        while (out->next_seq() < limit) {
            std::this_thread::yield();
        }
    }
    for (auto& w : workers) {
        w.join();
    }
    std::vector<std::uint64_t> all;
    for (const auto& mine : used) {
        all.insert(all.end(), mine.begin(), mine.end());
    }
    std::ranges::sort(all);
    EXPECT_TRUE(std::ranges::adjacent_find(all) == all.end());
    EXPECT_GT(all.size(), kLimit / 2);
    EXPECT_EQ(out->usage().packets, all.size());
    EXPECT_LT(all.back(), kLimit);
}

// RFC 4303 section 3.3.3: the last number is used, none comes after it, whatever workers ask for at that moment.
TEST_F(OutboundSequenceTest, WorkersUseEveryNumberUpToTheEndOnceAndNoneBeyond) {
    constexpr std::uint64_t kLeft = 100'000;
    for (const SequenceWidth width : {SequenceWidth::bits32, SequenceWidth::bits64}) {
        const auto out = sa(width, end_of(width) - kLeft);
        out->raise_limit(~std::uint64_t{0});
        ASSERT_EQ(out->limit(), end_of(width));
        std::vector<std::vector<std::uint64_t>> used(4);
        std::vector<std::thread> workers;
        std::atomic<std::uint64_t> refused{0};
        for (auto& mine : used) {
            workers.emplace_back([&out, &mine, &refused] {
                for (std::uint32_t i = 0; i < 20'000; ++i) {
                    const std::uint32_t n = 1 + 7 * i % 64;
                    const SequenceBurst burst = out->reserve_burst(n);
                    for (std::uint64_t k = 0; k < burst.granted; ++k) {
                        mine.push_back(burst.first + k);
                    }
                    if (burst.granted != n) {
                        refused += burst.refusal == SequenceRefusal::sequence_used_up ? 1 : 1'000'000'000;
                    }
                }
            });
        }
        for (auto& w : workers) {
            w.join();
        }
        std::vector<std::uint64_t> all;
        for (const auto& mine : used) {
            all.insert(all.end(), mine.begin(), mine.end());
        }
        std::ranges::sort(all);
        ASSERT_EQ(all.size(), kLeft);
        EXPECT_EQ(all.front(), end_of(width) - kLeft);
        EXPECT_EQ(all.back(), end_of(width) - 1);
        EXPECT_TRUE(std::ranges::adjacent_find(all) == all.end());
        EXPECT_EQ(out->usage().packets, kLeft);
        EXPECT_GT(refused.load(), 4u);
        EXPECT_LT(refused.load(), 1'000'000'000u) << "refused for another reason";
        EXPECT_EQ(out->reserve_burst(1).granted, 0u);
    }
}

TEST(SaCreateTest, RefusesReservedSpisAndShortKeys) {
    const Engine engine = value(Engine::create());
    SaConfig config = sa_config(Suite::aes_256_gcm);
    config.spi = 255;
    EXPECT_FALSE(OutboundSa::create(engine, config));
    config.spi = 256;
    EXPECT_TRUE(OutboundSa::create(engine, config));
    config.keymat = SecretBytes{32};
    const auto in = InboundSa::create(engine, config, 64);
    ASSERT_FALSE(in);
    EXPECT_EQ(in.error(), "aes-256-gcm needs 36 bytes of key and salt, not 32");
}

TEST(SaCreateTest, RefusesAnotherIcvByName) {
    const Engine engine = value(Engine::create());
    for (const SuiteInfo& suite : kSuites) {
        SaConfig config = sa_config(suite.id);
        const bool gcm = suite.kind == SuiteKind::gcm;
        for (std::uint32_t icv_len = 1; icv_len <= 64; ++icv_len) {
            config.icv_len = icv_len;
            const bool valid = icv_len == suite.icv_len || (gcm && (icv_len == 8 || icv_len == 12));
            const auto out = OutboundSa::create(engine, config);
            ASSERT_EQ(out.has_value(), valid) << suite.name << " " << icv_len;
            ASSERT_EQ(InboundSa::create(engine, config, 64).has_value(), valid);
            if (!valid) {
                ASSERT_EQ(out.error(), "an ICV of " + std::to_string(8 * icv_len) + " bits for " +
                                           std::string(suite.name) + ": it has " + (gcm ? "64, 96 or " : "only ") +
                                           std::to_string(8 * suite.icv_len) + " bits");
            }
        }
    }
}

TEST(SaCreateTest, RefusesKeysOfAnotherLength) {
    const Engine engine = value(Engine::create());
    for (const SuiteInfo& suite : kSuites) {
        for (std::size_t len = 0; len <= 100; ++len) {
            const SaConfig config{.spi = 0x1001, .suite = suite.id, .keymat = SecretBytes{len}};
            ASSERT_EQ(OutboundSa::create(engine, config).has_value(), len == keymat_len(suite.id)) << suite.name;
        }
    }
}

TEST(InboundSaTest, TakesOverTheWindowOfAnother) {
    const Engine engine = value(Engine::create());
    const auto before = value(InboundSa::create(engine, sa_config(Suite::aes_256_gcm), 64));
    for (const std::uint64_t seq : {100u, 98u, 70u}) {
        EXPECT_TRUE(before->replay().accept(seq));
    }
    before->add_usage(0, 3, 300);
    before->add_usage(0, 0, 0);
    EXPECT_EQ(before->usage(), (SaUsage{3, 300}));
    const auto after = value(InboundSa::create(engine, sa_config(Suite::aes_256_gcm), 64, before->replay().state()));
    for (const std::uint64_t seq : {100u, 98u, 70u, 36u}) {
        EXPECT_FALSE(after->replay().accept(seq)) << seq;
    }
    for (const std::uint64_t seq : {99u, 97u, 37u, 101u}) {
        EXPECT_TRUE(after->replay().accept(seq)) << seq;
    }
    EXPECT_EQ(after->usage(), SaUsage{});
}

// RFC 4303 appendix A2.2, against its own definition: of the three candidates, the one that is right or nearest above.
TEST(EsnInferenceTest, FindsTheHighHalfAroundEveryTurnOfTheLowOne) {
    for (const std::uint32_t window : {32u, 1024u, 65536u}) {
        for (const std::uint64_t highest : {0x0'0000'0001ull, 0x0'ffff'fff0ull, 0x1'0000'0000ull, 0x1'0000'0010ull,
                                            0x5'8000'0000ull, 0x5'ffff'ffffull, 0x6'0000'ffffull}) {
            const std::uint64_t bottom = highest >= window ? highest - window + 1 : 1;
            for (std::uint64_t seq = bottom; seq <= highest + 70'000; ++seq) {
                ASSERT_EQ(infer_sequence(static_cast<std::uint32_t>(seq), highest, window), seq) << std::hex << highest;
            }
        }
    }
}

}  // namespace
}  // namespace twinspan
