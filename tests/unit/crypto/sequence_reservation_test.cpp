#include "crypto/sequence_reservation.hpp"

#include "tests/unit/crypto/test_keys.hpp"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
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
    const auto exhausted = OutboundSa::create(engine, config, std::uint64_t{1} << 32);
    ASSERT_FALSE(exhausted);
    EXPECT_NE(exhausted.error().find("rekey"), std::string::npos);
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

// What the child has put on the wire, in memory that outlives it.
struct Wire {
    static constexpr std::size_t kCapacity = std::size_t{1} << 22;
    std::atomic<std::uint64_t> count;
    std::atomic<std::uint64_t> starts;
    std::uint64_t ivs[kCapacity];
};

// The child: starts like the daemon, seals in bursts, tops up now and then, until it is killed.
[[noreturn]] void seal_until_killed(const fs::path& directory, Wire& wire, Engine& engine) {
    const SaConfig config = sa_config(Suite::aes_256_gcm);
    auto reservation = SequenceReservation::open(directory, config.spi, fingerprint(engine, config), 500);
    if (!reservation) {
        _exit(3);
    }
    auto sa = OutboundSa::create(engine, config, reservation->first());
    if (!sa || !reservation->top_up(**sa)) {
        _exit(4);
    }
    wire.starts.fetch_add(1);
    std::array<std::uint8_t, 128> packet{};
    for (;;) {
        const SequenceBurst burst = (*sa)->reserve_burst(32);
        for (std::uint64_t i = 0; i < burst.granted; ++i) {
            (*sa)->seal_in_place(engine, burst.first + i, packet.data(), 40, kNextHeaderIpv4);
            const std::uint64_t slot = wire.count.load();
            if (slot == Wire::kCapacity) {
                _exit(0);
            }
            std::memcpy(&wire.ivs[slot], packet.data() + kEspHeaderLen, kIvLen);
            wire.count.store(slot + 1);
        }
        if (!reservation->top_up(**sa)) {
            _exit(5);
        }
    }
}

TEST_F(SequenceReservationTest, TwoHundredKillsRepeatNoIv) {
    constexpr int kKills = 200;
    void* shared = ::mmap(nullptr, sizeof(Wire), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(shared, MAP_FAILED);
    Wire& wire = *static_cast<Wire*>(shared);
    std::mt19937_64 random{42};
    for (int kill = 0; kill < kKills; ++kill) {
        const std::uint64_t before = wire.count.load();
        const pid_t child = ::fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
            seal_until_killed(directory, wire, engine);
        }
        if (kill % 2 == 0) {
            while (wire.count.load() == before && ::waitpid(child, nullptr, WNOHANG) == 0) {
                ::usleep(50);
            }
        }
        ::usleep(static_cast<useconds_t>(random() % 3000));
        ::kill(child, SIGKILL);
        int status = 0;
        if (::waitpid(child, &status, 0) == child) {
            ASSERT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0) << "child left with " << WEXITSTATUS(status);
        }
    }
    const std::uint64_t count = wire.count.load();
    std::vector<std::uint64_t> ivs(wire.ivs, wire.ivs + count);
    EXPECT_GE(wire.starts.load(), std::uint64_t{kKills} / 2);
    EXPECT_GT(count, 1000u);
    std::ranges::sort(ivs);
    EXPECT_TRUE(std::ranges::adjacent_find(ivs) == ivs.end()) << "an IV went out twice";
    ::munmap(shared, sizeof(Wire));
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
