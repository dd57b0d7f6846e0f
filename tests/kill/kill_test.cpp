// A process that seals is killed 10,000 times at random moments, and starts again on what it has left on stable
// storage. Nothing that came out of it may repeat an IV, and its peer's replay window takes all of it.
#include "tests/kill/wire.hpp"

#include <gtest/gtest.h>

#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <random>
#include <thread>
#include <vector>

namespace twinspan {
namespace {

using test::Wire;
namespace fs = std::filesystem;

constexpr int kKillsPerSa = 5000;
constexpr std::uint64_t kLongestGap = 64 * Wire::kCapacity;

// tmpfs where there is one: a kill loses nothing of the page cache, so the wait in fsync would only make the test
// longer.
fs::path scratch() {
    std::error_code none;
    fs::path parent = fs::is_directory("/dev/shm", none) ? fs::path{"/dev/shm"} : fs::temp_directory_path();
    if (const char* chosen = std::getenv("TWINSPAN_KILL_DIRECTORY")) {  // for a run on a real disk
        parent = chosen;
    }
    std::string name = (parent / "twinspan-kill-XXXXXX").string();
    return ::mkdtemp(name.data());
}

template <class T>
T value(std::expected<T, std::string> result) {
    if (!result) {
        throw std::runtime_error(result.error());
    }
    return std::move(*result);
}

// The far end: opens what comes, and remembers every IV.
class Peer {
public:
    Peer(const SaConfig& config, std::uint32_t window, std::uint64_t first)
        : engine_(value(Engine::create())),
          sa_(value(InboundSa::create(engine_, config, window, first - 1))),
          first_(first),
          last_(first - 1) {}

    void take(const Wire& wire, std::uint64_t count) {
        for (std::uint64_t i = 0; i < count && !testing::Test::HasFailure(); ++i) {
            take(wire.packets[i]);
        }
    }
    std::uint64_t packets() const { return packets_; }
    std::uint64_t longest_gap() const { return longest_gap_; }
    std::uint64_t highest() const { return last_; }

private:
    void take(std::array<std::uint8_t, test::kPacketLen> packet) {
        std::uint64_t iv_be;
        std::memcpy(&iv_be, packet.data() + kEspHeaderLen, sizeof iv_be);
        const std::uint64_t iv = __builtin_bswap64(iv_be);
        ASSERT_GE(iv, first_);
        ASSERT_LE(iv, last_ + kLongestGap) << "a start skips more numbers than a life reserves";
        if (iv - first_ >= used_.size()) {
            used_.resize(2 * (iv - first_) + 1024);
        }
        ASSERT_FALSE(used_[iv - first_]) << "IV " << iv << " went out twice";
        used_[iv - first_] = true;

        const std::uint64_t sequence = sa_->sequence_of(packet.data());
        ASSERT_EQ(sequence, iv) << "the peer infers another number";
        ASSERT_EQ(sa_->replay().check(sequence), ReplayVerdict::fresh) << sequence;
        ASSERT_EQ(sa_->open_in_place(engine_, sequence, packet.data(), packet.size()).status, OpenStatus::ok);
        ASSERT_TRUE(sa_->replay().accept(sequence)) << sequence;
        longest_gap_ = std::max(longest_gap_, sequence - last_);
        last_ = sequence;
        ++packets_;
    }

    Engine engine_;
    std::unique_ptr<InboundSa> sa_;
    std::vector<bool> used_;
    std::uint64_t first_;
    std::uint64_t last_;
    std::uint64_t packets_ = 0;
    std::uint64_t longest_gap_ = 0;
};

struct Row {
    const char* name;
    SequenceWidth width;
    std::uint32_t window;  // of the peer
    std::uint64_t first;
};
void PrintTo(const Row& row, std::ostream* os) { *os << row.name; }

class KillTest : public testing::TestWithParam<Row> {
protected:
    KillTest() : directory_(scratch()), fd_(::memfd_create("wire", 0)) {
        EXPECT_EQ(::ftruncate(fd_, sizeof(Wire)), 0);
        wire_ = static_cast<Wire*>(::mmap(nullptr, sizeof(Wire), PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0));
    }
    ~KillTest() override {
        ::munmap(wire_, sizeof(Wire));
        ::close(fd_);
        fs::remove_all(directory_);
    }

    // An SA that an earlier life has brought to `first`.
    void begin_at(std::uint64_t first) {
        const Engine engine = value(Engine::create());
        const SaConfig config = test::kill_test_sa(GetParam().width);
        auto reservation = value(SequenceReservation::open(directory_, config.spi, fingerprint(engine, config), 2));
        auto sa = value(OutboundSa::create(engine, config, first));
        ASSERT_TRUE(reservation.top_up(*sa));
        ASSERT_TRUE(reservation.give_back(*sa));
    }

    pid_t start() const {
        std::string program = TWINSPAN_SEALER;
        std::string directory = directory_.string();
        std::string width = GetParam().width == SequenceWidth::bits64 ? "64" : "32";
        std::string fd = std::to_string(fd_);
        char* const arguments[] = {program.data(), directory.data(), width.data(), fd.data(), nullptr};
        pid_t child = -1;
        EXPECT_EQ(::posix_spawn(&child, program.c_str(), nullptr, nullptr, arguments, environ), 0);
        return child;
    }

    static bool lives(pid_t child) {
        siginfo_t gone{};
        return ::waitid(P_PID, static_cast<id_t>(child), &gone, WEXITED | WNOHANG | WNOWAIT) == 0 && gone.si_pid == 0;
    }
    // Every other one lives until it has sent something; the others may die before.
    void live_and_die(std::mt19937_64& random, bool has_to_send) {
        wire_->count.store(0);
        const pid_t child = start();
        ASSERT_GT(child, 0);
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds{20};
        while (has_to_send && wire_->count.load() == 0 && lives(child) && std::chrono::steady_clock::now() < deadline) {
            ::usleep(50);
        }
        ::usleep(static_cast<useconds_t>(random() % (has_to_send ? 1000 : 4000)));
        ::kill(child, SIGKILL);
        int status = 0;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        ASSERT_TRUE(WIFSIGNALED(status)) << "the sealer gave up with status " << WEXITSTATUS(status);
        ASSERT_TRUE(!has_to_send || wire_->count.load() != 0) << "the sealer sends nothing";
    }
    bool died_while_reserving() const {
        return std::ranges::any_of(fs::directory_iterator{directory_},
                                   [](const auto& entry) { return entry.path().extension() == ".new"; });
    }

    fs::path directory_;
    int fd_;
    Wire* wire_;
};

TEST_P(KillTest, NoIvTwiceAndNothingForTheReplayWindow) {
    begin_at(GetParam().first);
    Peer peer{test::kill_test_sa(GetParam().width), GetParam().window, GetParam().first};
    std::mt19937_64 random{std::random_device{}()};
    int sent = 0;
    int reserving = 0;
    for (int kill = 0; kill < kKillsPerSa; ++kill) {
        ASSERT_NO_FATAL_FAILURE(live_and_die(random, kill % 2 == 0));
        const std::uint64_t count = wire_->count.load(std::memory_order_acquire);
        ASSERT_NO_FATAL_FAILURE(peer.take(*wire_, count));
        sent += count != 0;
        reserving += died_while_reserving();
    }
    std::printf("%s: %d lives sent %llu packets; %d died while they wrote a reservation; longest gap %llu\n",
                GetParam().name, sent, static_cast<unsigned long long>(peer.packets()), reserving,
                static_cast<unsigned long long>(peer.longest_gap()));
    EXPECT_GE(sent, kKillsPerSa / 2);
    EXPECT_GT(reserving, kKillsPerSa / 100) << "too few kills in the middle of a reservation to say anything";
    if (GetParam().width == SequenceWidth::bits64) {
        EXPECT_GT(peer.highest(), std::uint64_t{1} << 32) << "the low half has not turned";
    }
}

// The narrowest window there is, and strongSwan's usual one in a charon with many workers.
INSTANTIATE_TEST_SUITE_P(, KillTest,
                         testing::Values(Row{"bits32", SequenceWidth::bits32, 32, 1},
                                         Row{"esn", SequenceWidth::bits64, 1024, (std::uint64_t{1} << 32) - 1'000'000}),
                         [](const auto& row) { return std::string{row.param.name}; });

}  // namespace
}  // namespace twinspan
