#include "crypto/sequence_reservation.hpp"

#include "tests/unit/crypto/test_keys.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

namespace twinspan {
namespace {

using test::sa_config;
using test::value;
namespace fs = std::filesystem;

struct SequenceReservationTest : testing::Test {
    SequenceReservationTest() {
        std::string name = (fs::temp_directory_path() / "twinspan-reservation-XXXXXX").string();
        directory = ::mkdtemp(name.data());
    }
    ~SequenceReservationTest() override { fs::remove_all(directory); }

    std::expected<SequenceReservation, std::string> open(std::uint64_t key_seed = 1, std::uint64_t chunk = 1000) {
        const SaConfig config = sa_config(Suite::aes_128_gcm, SequenceWidth::bits32, key_seed);
        return SequenceReservation::open(directory, config.spi, fingerprint(engine, config), chunk);
    }
    std::unique_ptr<OutboundSa> sa_from(const SequenceReservation& reservation, std::uint64_t key_seed = 1) {
        return value(OutboundSa::create(engine, sa_config(Suite::aes_128_gcm, SequenceWidth::bits32, key_seed),
                                        reservation.first()));
    }
    static std::string read(const fs::path& file) {
        std::ifstream in(file, std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }
    static void write(const fs::path& file, const std::string& text) { std::ofstream(file, std::ios::binary) << text; }

    Engine engine = value(Engine::create());
    fs::path directory;
};

TEST_F(SequenceReservationTest, IsOnStableStorageBeforeTheLimitRises) {
    auto reservation = value(open());
    EXPECT_EQ(reservation.first(), 1u);
    const auto sa = sa_from(reservation);
    EXPECT_EQ(sa->limit(), 0u);
    ASSERT_TRUE(reservation.top_up(*sa));
    EXPECT_EQ(sa->limit(), 1001u);
    EXPECT_NE(read(reservation.file()).find("reserved_until 1001\n"), std::string::npos);
    struct stat status{};
    ASSERT_EQ(::stat(reservation.file().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(SequenceReservationTest, TopsUpWhenLessThanHalfIsLeftAndGrowsWithUse) {
    auto reservation = value(open());
    const auto sa = sa_from(reservation);
    ASSERT_TRUE(reservation.top_up(*sa));
    ASSERT_EQ(sa->reserve_burst(60).granted, 60u);
    ASSERT_TRUE(reservation.top_up(*sa));
    EXPECT_EQ(sa->limit(), 1001u);
    ASSERT_EQ(sa->reserve_burst(900).granted, 900u);
    ASSERT_TRUE(reservation.top_up(*sa));
    EXPECT_EQ(sa->limit(), 961u + 8 * 900);
}

TEST_F(SequenceReservationTest, ARestartBeginsPastTheReservation) {
    {
        auto reservation = value(open());
        const auto sa = sa_from(reservation);
        ASSERT_TRUE(reservation.top_up(*sa));
        ASSERT_EQ(sa->reserve_burst(10).first, 1u);
    }
    auto reservation = value(open());
    EXPECT_EQ(reservation.first(), 1001u);
}

TEST_F(SequenceReservationTest, AnOrderlyEndReturnsWhatWasNotUsed) {
    {
        auto reservation = value(open());
        const auto sa = sa_from(reservation);
        ASSERT_TRUE(reservation.top_up(*sa));
        ASSERT_EQ(sa->reserve_burst(10).granted, 10u);
        ASSERT_TRUE(reservation.give_back(*sa));
        EXPECT_EQ(sa->reserve_burst(1).granted, 0u);
    }
    EXPECT_EQ(value(open()).first(), 11u);
}

TEST_F(SequenceReservationTest, AnotherKeyStartsAnewAndAKeyThatComesBackDoesNot) {
    {
        auto reservation = value(open(1));
        const auto sa = sa_from(reservation);
        ASSERT_TRUE(reservation.top_up(*sa));
    }
    EXPECT_EQ(value(open(2)).first(), 1u);
    EXPECT_EQ(value(open(1)).first(), 1001u);
}

TEST_F(SequenceReservationTest, OneKeyIsHeldOnce) {
    const auto first = value(open());
    const auto second = open();
    ASSERT_FALSE(second);
    EXPECT_NE(second.error().find("another process or SA"), std::string::npos);
}

TEST_F(SequenceReservationTest, RefusesEveryDamagedFile) {
    fs::path file;
    {
        auto reservation = value(open());
        const auto sa = sa_from(reservation);
        ASSERT_TRUE(reservation.top_up(*sa));
        file = reservation.file();
    }
    const std::string good = read(file);
    for (std::size_t i = 0; i < good.size(); ++i) {
        for (const int bit : {1, 2, 4, 8, 16, 32, 64, 128}) {
            std::string bad = good;
            bad[i] = static_cast<char>(bad[i] ^ bit);
            write(file, bad);
            ASSERT_FALSE(open()) << "byte " << i << " bit " << bit;
        }
        write(file, good.substr(0, i));
        ASSERT_FALSE(open()) << "cut to " << i;
    }
    write(file, good + "\n");
    EXPECT_FALSE(open());
    write(file, good);
    EXPECT_TRUE(open());
}

TEST_F(SequenceReservationTest, WithoutItsDirectoryNothingIsSent) {
    fs::remove_all(directory);
    EXPECT_FALSE(open());
}

TEST_F(SequenceReservationTest, AFailedWriteLeavesTheLimit) {
    auto reservation = value(open());
    const auto sa = sa_from(reservation);
    fs::create_directory(fs::path(reservation.file()) += ".new");  // in the way of the temporary file, also for root
    EXPECT_FALSE(reservation.top_up(*sa));
    EXPECT_EQ(sa->reserve_burst(1).granted, 0u);
}

TEST_F(SequenceReservationTest, EndsWithTheSequenceSpace) {
    SaConfig config = sa_config(Suite::aes_128_gcm);
    auto reservation =
        value(SequenceReservation::open(directory, config.spi, fingerprint(engine, config), std::uint64_t{1} << 33));
    {
        const auto sa = sa_from(reservation);
        ASSERT_TRUE(reservation.top_up(*sa));
        EXPECT_EQ(sa->limit(), std::uint64_t{1} << 32);
    }
    const auto beyond = OutboundSa::create(engine, config, (std::uint64_t{1} << 32) + 1);
    ASSERT_FALSE(beyond);
    EXPECT_NE(beyond.error().find("rekey"), std::string::npos);
}

// Whoever starts again with such a key is told why nothing is sent.
TEST_F(SequenceReservationTest, WithNothingLeftItSaysSo) {
    SaConfig config = sa_config(Suite::aes_128_gcm);
    const KeyFingerprint key = fingerprint(engine, config);
    {
        auto reservation = value(SequenceReservation::open(directory, config.spi, key, std::uint64_t{1} << 33));
        const auto sa = sa_from(reservation);
        ASSERT_TRUE(reservation.top_up(*sa));
    }
    auto reservation = value(SequenceReservation::open(directory, config.spi, key));
    EXPECT_EQ(reservation.first(), std::uint64_t{1} << 32);
    const auto sa = value(OutboundSa::create(engine, config, reservation.first()));
    ASSERT_TRUE(reservation.top_up(*sa));
    const SequenceBurst none = sa->reserve_burst(1);
    EXPECT_EQ(none.granted, 0u);
    EXPECT_EQ(none.refusal, SequenceRefusal::sequence_used_up);
    ASSERT_TRUE(reservation.give_back(*sa));
    EXPECT_EQ(sa->usage().packets, 0u);
}

// A control thread that stood still finds much used at once. With extended numbers the peer infers the high half and
// must not meet a gap of 2^32 after a crash; with short ones a gap may not eat the whole SA.
TEST(SequencePaceTest, ReservesAFewSecondsHoweverMuchWasUsed) {
    Engine engine = Engine::create().value();
    for (const SequenceWidth width : {SequenceWidth::bits32, SequenceWidth::bits64}) {
        SaConfig config = sa_config(Suite::aes_128_gcm);
        config.width = width;
        const auto sa = OutboundSa::create(engine, config, 1).value();
        SequencePace pace{1, SequencePace::kDefaultChunk, 40};
        constexpr std::uint64_t kReserved = std::uint64_t{1} << 31;
        sa->raise_limit(kReserved);
        ASSERT_EQ(sa->reserve_burst((1u << 31) - 1).granted, (1u << 31) - 1);
        EXPECT_EQ(pace.due(*sa, kReserved), kReserved + SequencePace::kMostAhead);
    }
}

TEST(KeyFingerprintTest, TellsKeysAndSaltsApartAndNothingElse) {
    const Engine engine = value(Engine::create());
    SaConfig config = sa_config(Suite::aes_256_gcm);
    const KeyFingerprint first = fingerprint(engine, config);
    config.spi = 77777;
    EXPECT_EQ(fingerprint(engine, config), first);
    config.keymat.data()[35] ^= 1;  // the salt
    EXPECT_NE(fingerprint(engine, config), first);
    EXPECT_EQ(to_hex(first).size(), 32u);
}

}  // namespace
}  // namespace twinspan
