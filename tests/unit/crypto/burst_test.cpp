// Bursts: packets of many SAs and suites at once, each judged by itself.
#include "crypto/burst.hpp"

#include "tests/unit/crypto/test_keys.hpp"

#include <memory>

namespace twinspan {
namespace {

using test::Bytes;
using test::value;

struct Sa {
    std::unique_ptr<OutboundSa> out;
    std::unique_ptr<InboundSa> in;
};

struct Sent {
    std::size_t sa;
    std::uint64_t seq;
    Bytes payload;
    Bytes packet;
    bool changed = false;
};

class BurstTest : public test::EachArchitecture {
protected:
    // Two SAs of each suite and width.
    void SetUp() override {
        EachArchitecture::SetUp();
        if (IsSkipped()) {
            return;
        }
        for (const SuiteInfo& suite : kSuites) {
            for (const SequenceWidth width : {SequenceWidth::bits32, SequenceWidth::bits64}) {
                for (const std::uint64_t seed : {1u, 2u}) {
                    const SaConfig config = test::sa_config(suite.id, width, seed);
                    sas.push_back(
                        {value(OutboundSa::create(*engine, config)), value(InboundSa::create(*engine, config, 64))});
                }
            }
        }
    }
    std::size_t below(std::size_t n) { return random() % n; }

    std::vector<Sent> random_packets(std::size_t n) {
        std::vector<Sent> sent(n);
        // Half of the bursts are of few SAs, so that lanes fill.
        const std::size_t few = below(2) == 0 ? sas.size() : 1 + below(3);
        const std::size_t first = below(sas.size());
        for (Sent& s : sent) {
            s.sa = (first + below(few)) % sas.size();
            s.seq = 1 + below(0xffff'fffe);
            if (sas[s.sa].out->width() == SequenceWidth::bits64) {
                s.seq |= std::uint64_t{below(1000)} << 32;
            }
            s.payload = test::random_bytes(random, below(8) == 0 ? below(9001) : below(200));
            const std::size_t offset = payload_offset(sas[s.sa].out->layout());
            s.packet.resize(offset + s.payload.size() + kEspMaxRoom);
            std::ranges::copy(s.payload, s.packet.begin() + static_cast<std::ptrdiff_t>(offset));
        }
        return sent;
    }
    void seal(std::vector<Sent>& sent) {
        std::vector<SealJob> jobs;
        for (Sent& s : sent) {
            jobs.push_back({sas[s.sa].out.get(), s.packet.data(), s.seq, static_cast<std::uint32_t>(s.payload.size()),
                            kNextHeaderIpv6});
        }
        seal_burst(*engine, jobs);
        for (Sent& s : sent) {
            s.packet.resize(sas[s.sa].out->sealed_len(s.payload.size()));
            s.packet.shrink_to_fit();
        }
    }
    void change_one_bit(Sent& s) {
        const std::size_t bit = below(8 * s.packet.size());
        s.packet[bit / 8] = static_cast<std::uint8_t>(s.packet[bit / 8] ^ (1u << bit % 8));
        s.changed = true;
    }
    std::vector<OpenJob> open(std::vector<Sent>& sent) {
        std::vector<OpenJob> jobs;
        for (Sent& s : sent) {
            const std::uint64_t seq = (s.seq & ~std::uint64_t{0xffff'ffff}) | esp_sequence_low(s.packet.data());
            jobs.push_back({sas[s.sa].in.get(), s.packet.data(), seq, static_cast<std::uint32_t>(s.packet.size()), {}});
        }
        open_burst(*engine, jobs);
        return jobs;
    }
    void judge(const Sent& s, const OpenJob& job) {
        if (s.changed) {
            ASSERT_EQ(job.opened.status, OpenStatus::auth_failed);
            return;
        }
        ASSERT_EQ(job.opened.status, OpenStatus::ok) << name(job.sa->suite());
        ASSERT_EQ(job.opened.next_header, kNextHeaderIpv6);
        const auto begin = s.packet.begin() + static_cast<std::ptrdiff_t>(payload_offset(job.sa->layout()));
        ASSERT_EQ(Bytes(begin, begin + job.opened.payload_len), s.payload);
    }

    std::vector<Sa> sas;
    std::mt19937_64 random{11};
};
INSTANTIATE_TEST_SUITE_P(, BurstTest, testing::ValuesIn(test::kVariants), test::variant_name);

TEST_P(BurstTest, RandomPacketsComeBackAndChangedOnesDoNot) {
    for (int round = 0; round < 300; ++round) {
        std::vector<Sent> sent = random_packets(1 + below(kMostJobs));
        seal(sent);
        for (Sent& s : sent) {
            if (below(4) == 0) {
                change_one_bit(s);
            }
        }
        const std::vector<OpenJob> jobs = open(sent);
        for (std::size_t i = 0; i < sent.size(); ++i) {
            SCOPED_TRACE("round " + std::to_string(round) + " packet " + std::to_string(i));
            judge(sent[i], jobs[i]);
        }
    }
}

// One SA per suite fills all lanes at every number of packets.
TEST_P(BurstTest, EveryNumberOfPacketsIsSealedAndOpened) {
    for (std::size_t sa = 0; sa < sas.size(); sa += 4) {
        for (std::size_t n = 1; n <= kMostJobs; ++n) {
            std::vector<Sent> sent(n);
            for (std::size_t i = 0; i < n; ++i) {
                sent[i].sa = sa;
                sent[i].seq = i + 1;
                sent[i].payload = test::random_bytes(random, i * 3);
                const std::size_t offset = payload_offset(sas[sa].out->layout());
                sent[i].packet.resize(offset + sent[i].payload.size() + kEspMaxRoom);
                std::ranges::copy(sent[i].payload, sent[i].packet.begin() + static_cast<std::ptrdiff_t>(offset));
            }
            seal(sent);
            const std::vector<OpenJob> jobs = open(sent);
            for (std::size_t i = 0; i < n; ++i) {
                judge(sent[i], jobs[i]);
            }
        }
    }
}

TEST_P(BurstTest, AnEmptyBurstIsNothing) {
    seal_burst(*engine, {});
    open_burst(*engine, {});
}

TEST_P(BurstTest, AShortPacketAmongOthersIsNamedAndHarmsNone) {
    for (std::size_t sa = 0; sa < sas.size(); ++sa) {
        std::vector<Sent> sent = random_packets(5);
        for (Sent& s : sent) {
            s.sa = sa;
            s.seq = 77;
            s.payload.assign(40, 0x45);
            const std::size_t offset = payload_offset(sas[sa].out->layout());
            s.packet.assign(offset + 40 + kEspMaxRoom, 0x45);
        }
        seal(sent);
        sent[2].packet.resize(kEspHeaderLen);
        sent[2].packet.shrink_to_fit();
        const std::vector<OpenJob> jobs = open(sent);
        for (std::size_t i = 0; i < sent.size(); ++i) {
            if (i == 2) {
                EXPECT_EQ(jobs[i].opened.status, OpenStatus::bad_length);
            } else {
                judge(sent[i], jobs[i]);
            }
        }
    }
}

}  // namespace
}  // namespace twinspan
