#include "crypto/esn_resync.hpp"

#include "crypto/burst.hpp"
#include "tests/unit/crypto/test_keys.hpp"

#include <vector>

namespace twinspan {
namespace {

using test::Bytes;
using test::sa_config;
using test::value;

constexpr std::uint64_t kHalf = std::uint64_t{1} << 32;

class EsnResyncTest : public testing::TestWithParam<Suite> {
protected:
    // What a sender with this number puts on the wire.
    Bytes sealed(std::uint64_t sequence) {
        const auto sa = value(OutboundSa::create(engine, sa_config(GetParam(), SequenceWidth::bits64), sequence));
        sa->raise_limit(sequence + 1);
        Bytes packet(payload_offset(sa->layout()) + kPayload + kEspMaxRoom, 0x45);
        packet.resize(sa->seal_in_place(engine, sequence, packet.data(), kPayload, kNextHeaderIpv4));
        return packet;
    }
    // As a worker opens a burst; says how many passed.
    std::size_t receive(std::vector<Bytes> packets) {
        std::vector<OpenJob> jobs;
        for (Bytes& packet : packets) {
            const std::uint64_t sequence = in->sequence_of(packet.data());
            if (in->replay().check(sequence) == ReplayVerdict::fresh) {
                jobs.push_back({in.get(), packet.data(), sequence, static_cast<std::uint32_t>(packet.size()), {}});
            }
        }
        open_burst_and_resync(engine, jobs);
        std::size_t passed = 0;
        for (const OpenJob& job : jobs) {
            if (job.opened.status == OpenStatus::ok) {
                EXPECT_EQ(job.opened.payload_len, kPayload);
                EXPECT_EQ(job.esp[payload_offset(in->layout()) + kPayload - 1], 0x45) << "not decrypted";
                passed += in->replay().accept(job.seq);
            }
        }
        return passed;
    }
    std::vector<Bytes> garbage(std::size_t n, std::uint64_t sequence) {
        std::vector<Bytes> packets(n, sealed(sequence));
        for (std::size_t i = 0; i < n; ++i) {
            packets[i][20 + i % 20] ^= static_cast<std::uint8_t>(1 + i % 255);
        }
        return packets;
    }

    static constexpr std::size_t kPayload = 40;
    Engine engine = value(Engine::create());
    std::unique_ptr<InboundSa> in =
        value(InboundSa::create(engine, sa_config(GetParam(), SequenceWidth::bits64), 1024, 5000));
};

std::string suite_name(const testing::TestParamInfo<Suite>& suite) {
    std::string text{name(suite.param)};
    std::ranges::replace(text, '-', '_');
    return text;
}
INSTANTIATE_TEST_SUITE_P(, EsnResyncTest,
                         testing::Values(Suite::aes_256_gcm, Suite::chacha20_poly1305, Suite::aes_256_cbc_hmac_sha256),
                         suite_name);

TEST_P(EsnResyncTest, FindsTheSenderAfterALossOfUpToFourTimesTheLowHalf) {
    std::uint64_t sequence = 5000;
    for (std::uint64_t halves = 1; halves <= EsnResync::kHalves; ++halves) {
        ASSERT_EQ(receive({sealed(sequence + 1)}), 1u);
        sequence += halves * kHalf + 12'345;
        std::uint64_t lost = 0;
        while (receive({sealed(++sequence)}) == 0) {
            ASSERT_LT(++lost, 2 * EsnResync::kFailuresPerTry);
        }
        EXPECT_GE(lost, EsnResync::kFailuresPerTry) << "a few failures are no reason for suspicion";
        EXPECT_EQ(in->replay().highest(), sequence);
        EXPECT_EQ(in->resync().tries(), 0u);
        EXPECT_EQ(receive({sealed(sequence), sealed(sequence + 2), sealed(sequence - 5)}), 2u);
        sequence += 2;
    }
}

TEST_P(EsnResyncTest, AFullBurstIsTriedOnOnePacket) {
    std::uint64_t sequence = 5000 + 2 * kHalf;
    for (unsigned burst = 0; burst < 2; ++burst) {
        std::vector<Bytes> packets;
        for (unsigned i = 0; i < 64; ++i) {
            packets.push_back(sealed(++sequence));
        }
        EXPECT_EQ(receive(packets), burst) << "the second burst's first packet is the one tried";
    }
    EXPECT_EQ(receive({sealed(sequence), sealed(sequence + 1)}), 2u);
}

TEST_P(EsnResyncTest, ALongerLossIsGivenUp) {
    std::uint64_t sequence = 5000 + (EsnResync::kHalves + 1) * kHalf;
    for (unsigned i = 0; i < 500; ++i) {
        EXPECT_EQ(receive({sealed(++sequence)}), 0u);
    }
    EXPECT_EQ(in->replay().highest(), 5000u);
}

TEST_P(EsnResyncTest, AFloodOfForgeriesMovesNothingAndIsTriedSeldom) {
    constexpr std::uint64_t kFlood = 6400;
    for (unsigned burst = 0; burst < kFlood / 64; ++burst) {
        EXPECT_EQ(receive(garbage(64, 5001 + burst)), 0u);
    }
    EXPECT_LE(in->resync().tries(), kFlood / EsnResync::kFailuresPerTry);
    EXPECT_GE(in->resync().tries(), kFlood / EsnResync::kFailuresPerTry - 1);
    EXPECT_EQ(in->replay().highest(), 5000u);
    EXPECT_EQ(receive({sealed(5001), sealed(5002)}), 2u);
    EXPECT_EQ(in->resync().tries(), 0u);
}

TEST_P(EsnResyncTest, AnAuthenticPacketNowAndThenKeepsSuspicionAway) {
    for (std::uint64_t round = 0; round < 100; ++round) {
        EXPECT_EQ(receive(garbage(EsnResync::kFailuresPerTry - 1, 5001 + round)), 0u);
        EXPECT_EQ(in->resync().tries(), 0u);
        EXPECT_EQ(receive({sealed(5001 + round)}), 1u);
    }
}

// Even in the middle of a flood: what is tried is chosen by its place, not by what it is.
TEST_P(EsnResyncTest, ASenderThatWasLostIsFoundUnderAFlood) {
    std::uint64_t sequence = 5000 + kHalf;
    std::size_t passed = 0;
    for (unsigned burst = 0; burst < 400 && passed == 0; ++burst) {
        std::vector<Bytes> packets = garbage(40, 9000);
        packets.insert(packets.begin() + burst % 40, sealed(++sequence));
        passed = receive(packets);
    }
    EXPECT_EQ(passed, 1u);
    EXPECT_EQ(in->replay().highest(), sequence);
}

TEST(EsnResyncOfShortNumbers, NeverTries) {
    Engine engine = value(Engine::create());
    const auto in = value(InboundSa::create(engine, sa_config(Suite::aes_256_gcm), 64));
    Bytes packet(64, 0x5a);
    for (unsigned i = 0; i < 1000; ++i) {
        OpenJob job{in.get(), packet.data(), 1, 64, {}};
        open_burst_and_resync(engine, {&job, 1});
        EXPECT_EQ(job.opened.status, OpenStatus::auth_failed);
    }
    EXPECT_FALSE(in->resync().due());
}

}  // namespace
}  // namespace twinspan
