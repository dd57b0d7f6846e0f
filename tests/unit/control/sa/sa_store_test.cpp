// The SA store over a kernel that a test plays: who is used when, what is written back, what is refused.
#include "control/sa/sa_store.hpp"

#include "control/sa/kernel_replay.hpp"
#include "tests/unit/control/sa/fake_kernel.hpp"
#include "tests/unit/control/sa/site.hpp"

#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <sstream>
#include <thread>
#include <utility>

namespace twinspan {
namespace {

using test::FakeKernel;
using test::FakeSa;
using test::Site;

TEST(SaStore, AnInboundAndAnOutboundSaMakeATunnel) {
    Site site;
    site.add(0x1001, false, 1);
    EXPECT_FALSE(site.tunnel().complete());
    site.add(0x1002, true, 2);
    ASSERT_TRUE(site.tunnel().complete());
    EXPECT_EQ(site.tunnel().out->spi(), 0x1002u);
    EXPECT_EQ(site.tunnel().in.at(0).spi, 0x1001u);
    EXPECT_EQ(site.publications, 2u);
}

// Its peer sends on it as soon as it has IKE's answer.
TEST(SaStore, AnInboundSaIsPublishedBeforeLinuxIsAskedAnything) {
    Site site;
    const FakeSa out = site.kernel.add(0x1002, true, 2, 1000);
    const FakeSa in = site.kernel.add(0x1001, false, 1, 1000);
    std::optional<unsigned> published_before;
    site.kernel.on_question = [&] { published_before = published_before.value_or(site.publications); };
    site.store->apply(site.kernel.event(out));
    site.store->apply(site.kernel.event(in));
    EXPECT_FALSE(published_before) << "events are only collected";
    site.store->commit();
    EXPECT_EQ(published_before, 1u);
    EXPECT_TRUE(site.tunnel().complete());
    EXPECT_EQ(site.publications, 2u);
    EXPECT_GE(site.metrics[Metric::sa_publication_most_us], site.metrics[Metric::sa_publication_us]);
}

TEST(SaStore, TheTimeToThePublicationIsMeasuredFromTheEvent) {
    Site site;
    const FakeSa in = site.kernel.add(0x1001, false, 1, 1000);
    site.store->apply(site.kernel.event(in));
    std::this_thread::sleep_for(std::chrono::milliseconds{3});
    site.store->commit();
    EXPECT_GE(site.metrics[Metric::sa_publication_us], 3000u);
    EXPECT_EQ(site.metrics[Metric::sa_publication_most_us], site.metrics[Metric::sa_publication_us]);
    const std::uint64_t most = site.metrics[Metric::sa_publication_most_us];
    site.add(0x1003, false, 3);
    EXPECT_EQ(site.metrics[Metric::sa_publication_most_us], std::max(most, site.metrics[Metric::sa_publication_us]));
}

// What Linux has seen of it since the event counts.
TEST(SaStore, AnInboundSaThatHasReceivedIsReadAgain) {
    Site site;
    FakeSa& in = site.kernel.add(0x1001, false, 1, 1000);
    in.replay.highest = 5;
    in.replay.bitmap[0] = 0x1f;
    netlink::SaEvent event = site.kernel.event(in);
    in.replay.highest = 7;
    in.replay.bitmap[0] = 0x7f;
    site.store->apply(std::move(event));
    site.store->commit();
    EXPECT_EQ(site.tunnel().in.at(0).sa->replay().highest(), 7u);
}

// A tunnel that is down for a moment loses packets and flows.
TEST(SaStore, ARekeyInOneBatchNeverLeavesTheTunnelWithoutAnSa) {
    for (const bool deleted_first : {false, true}) {
        Site site;
        const auto old_in = site.add(0x1001, false, 1);
        const auto old_out = site.add(0x1002, true, 2);
        bool always = true;
        site.store->set_workers({[&](std::span<const std::size_t>) {
            always = always && site.tunnel().complete();
            return std::chrono::nanoseconds{0};
        }, [] {}});
        const auto remove = [&] {
            site.kernel.sas.erase(old_out);
            site.store->apply(netlink::SaDeleted{old_out});
            site.kernel.sas.erase(old_in);
            site.store->apply(netlink::SaDeleted{old_in});
        };
        const FakeSa in = site.kernel.add(0x1003, false, 3, 1001);
        const FakeSa out = site.kernel.add(0x1004, true, 4, 1001);
        if (deleted_first) {
            remove();
        }
        site.store->apply(site.kernel.event(in));
        site.store->apply(site.kernel.event(out));
        if (!deleted_first) {
            remove();
        }
        site.store->commit();
        EXPECT_TRUE(always);
        EXPECT_TRUE(site.tunnel().complete());
        EXPECT_EQ(site.tunnel().out->spi(), 0x1004u);
        EXPECT_EQ(site.tunnel().in.size(), 1u);
    }
}

// RFC 4303 section 3.3.3: traffic goes to another tunnel, and the key daemon is to make a new SA.
TEST(SaStore, AnSaAtTheEndOfItsNumbersMakesNoTunnelAndIsRekeyed) {
    for (const std::uint32_t left : {0u, 2u}) {
        Site site;
        site.add(0x1001, false, 1);
        FakeSa& last = site.kernel.add(0x1002, true, 2, 1000);
        last.replay.sent = 0xffff'ffffu - left;
        site.store->apply(site.kernel.event(last));
        site.store->commit();
        EXPECT_EQ(site.tunnel().complete(), left != 0);
        if (left != 0) {
            const SequenceBurst burst = site.tunnel().out->reserve_burst(left + 1);
            EXPECT_EQ(burst.granted, left);
            EXPECT_EQ(burst.refusal, SequenceRefusal::sequence_used_up);
        }
        site.store->tick();
        EXPECT_FALSE(site.tunnel().complete());
        EXPECT_EQ(site.kernel.expired, (std::vector{std::pair{last.id, false}}));
        const unsigned publications = site.publications;
        site.store->tick();
        EXPECT_EQ(site.publications, publications);
        site.add(0x1004, true, 4);
        EXPECT_TRUE(site.tunnel().complete());
    }
}

TEST(SaStore, NumbersAreUsedOnlyAfterTheKernelCoversThem) {
    Site site;
    const auto id = site.add(0x1002, true, 2);
    OutboundSa& out = *site.tunnel().out;
    EXPECT_EQ(site.kernel.sas[id].replay.sent, out.limit() - 1);
    EXPECT_EQ(out.next_seq(), 1u);

    site.kernel.refuse_writes = true;
    const std::uint64_t limit = out.limit();
    while (out.reserve_burst(1u << 20).granted != 0) {
    }
    site.store->tick();
    EXPECT_EQ(out.reserve_burst(1).granted, 0u);
    EXPECT_GT(site.metrics[Metric::xfrm_write_failures], 0u);
    site.kernel.refuse_writes = false;
    site.store->tick();
    EXPECT_GT(out.limit(), limit);
    EXPECT_EQ(site.kernel.sas[id].replay.sent, out.limit() - 1);
}

// Numbers may be there while counters are refused, and the other way round: neither may fill the log.
TEST(SaStore, AKernelThatRefusesEverythingIsNamedOnceInTenSeconds) {
    std::ostringstream text;
    const auto before = spdlog::default_logger();
    spdlog::set_default_logger(
        std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_st>(text)));
    Site site;
    site.add(0x1002, true, 2);
    site.kernel.refuse_writes = true;
    for (int i = 0; i < 190; ++i) {
        static_cast<void>(site.tunnel().out->reserve_burst(1));
        site.store->tick();
    }
    spdlog::set_default_logger(before);
    const std::string log = text.str();
    EXPECT_EQ(log.find("refused"), log.rfind("refused"));
    EXPECT_NE(log.find("refused"), std::string::npos);
    EXPECT_GT(site.metrics[Metric::xfrm_write_failures], 30u);
}

TEST(SaStore, AnSaThatLinuxHasNoMoreLeadsToADump) {
    Site site;
    const auto id = site.add(0x1002, true, 2);
    site.kernel.sas.erase(id);  // without an event
    for (int i = 0; i < 5; ++i) {
        static_cast<void>(site.tunnel().out->reserve_burst(1));
        site.store->tick();
    }
    EXPECT_TRUE(site.store->wants_resync());
    site.dump();
    EXPECT_EQ(site.tunnel().out, nullptr);
}

TEST(SaStore, AKernelThatKeepsNothingIsNotSentWith) {
    Site site;
    site.kernel.add(0x1002, true, 2, 1);
    struct Forgetful : test::SharedKernel {
        using SharedKernel::SharedKernel;
        netlink::Answer<void> write(const netlink::SaCheckpoint&) override { return {}; }
    };
    site.store = std::make_unique<SaStore>(Engine::create().value(), site.world, site.metrics,
                                           std::make_unique<Forgetful>(site.kernel));
    site.dump();
    EXPECT_EQ(site.tunnel().out, nullptr);
    EXPECT_EQ(site.metrics[Metric::xfrm_sa_failed], 1u);
}

TEST(SaStore, ARekeyNeverLeavesTheTunnelWithoutAnSa) {
    Site site;
    const auto old_in = site.add(0x1001, false, 1);
    const auto old_out = site.add(0x1002, true, 2);
    site.add(0x2001, false, 3);
    EXPECT_EQ(site.tunnel().in.size(), 2u);
    EXPECT_EQ(site.tunnel().out->spi(), 0x1002u);
    site.add(0x2002, true, 4);
    EXPECT_EQ(site.tunnel().out->spi(), 0x1002u) << "the other end may not take the new one yet";
    site.remove(old_out);
    EXPECT_EQ(site.tunnel().out->spi(), 0x2002u);
    EXPECT_GE(site.synchronized, 1u);
    EXPECT_EQ(site.tunnel().in.size(), 2u) << "the old inbound SA lives until Linux deletes it";
    site.remove(old_in);
    ASSERT_EQ(site.tunnel().in.size(), 1u);
    EXPECT_TRUE(site.tunnel().complete());
}

TEST(SaStore, ANewOutboundSaTakesOverFromOneThatNobodyDeletes) {
    Site site;
    const auto old_out = site.add(0x1002, true, 2);
    site.add(0x2002, true, 4);
    for (unsigned i = 0; i < 199; ++i) {
        site.store->tick();
    }
    EXPECT_EQ(site.tunnel().out->spi(), 0x1002u);
    site.store->tick();
    EXPECT_EQ(site.tunnel().out->spi(), 0x2002u);
    EXPECT_GE(site.synchronized, 1u);
    EXPECT_EQ(site.kernel.sas[old_out].replay.sent, 0u) << "what was not used is given back";
}

TEST(SaStore, ANewOutboundSaTakesOverFromOneThatIsWornOutAtOnce) {
    Site site;
    site.kernel.add(0x1002, true, 2, 1).limits.hard_bytes = 2000;
    site.dump();
    site.add(0x2002, true, 4);
    site.tunnel().out->add_bytes(0, 1999);
    site.store->tick();
    EXPECT_EQ(site.tunnel().out->spi(), 0x1002u);
    site.tunnel().out->add_bytes(0, 1);
    site.store->tick();
    ASSERT_NE(site.tunnel().out, nullptr);
    EXPECT_EQ(site.tunnel().out->spi(), 0x2002u);
}

TEST(SaStore, WithoutTheNewOutboundSaTheOldOneSendsAgain) {
    Site site;
    const auto old_out = site.add(0x1002, true, 2);
    EXPECT_EQ(site.tunnel().out->reserve_burst(7).granted, 7u);
    const auto new_out = site.add(0x2002, true, 4);
    site.wait_for_take_over();
    EXPECT_EQ(site.kernel.sas[old_out].replay.sent, 7u);
    site.remove(new_out);
    ASSERT_NE(site.tunnel().out, nullptr);
    EXPECT_EQ(site.tunnel().out->spi(), 0x1002u);
    const SequenceBurst burst = site.tunnel().out->reserve_burst(1);
    EXPECT_EQ(burst.first, 8u);
    EXPECT_EQ(burst.granted, 1u);
    EXPECT_EQ(site.kernel.sas[old_out].replay.sent, site.tunnel().out->limit() - 1);
}

TEST(SaStore, AKeyThatComesBackGoesOnWhereItEnded) {
    Site site;
    const auto id = site.add(0x1002, true, 2);
    EXPECT_EQ(site.tunnel().out->reserve_burst(10).granted, 10u);
    site.remove(id);
    site.add(0x1003, true, 2);
    ASSERT_NE(site.tunnel().out, nullptr);
    EXPECT_EQ(site.tunnel().out->next_seq(), 11u);
}

// As strongSwan moves an SA to another address: deletes it, and adds it with the numbers that it had read before. Both
// are in one batch, and workers send until the grace period is over.
TEST(SaStore, AKeyThatComesBackInTheSameBatchGoesOnWhereItEnded) {
    for (const bool flushed : {false, true}) {
        Site site;
        const auto id = site.add(0x1002, true, 2);
        OutboundSa* old = site.tunnel().out;
        EXPECT_EQ(old->reserve_burst(10).granted, 10u);
        site.store->set_workers({[](std::span<const std::size_t>) { return std::chrono::nanoseconds{0}; },
                                 [&] { static_cast<void>(std::exchange(old, nullptr)->reserve_burst(5)); }});
        site.kernel.sas[id].replay.sent = 3;
        site.store->apply(flushed ? netlink::XfrmEvent{netlink::SasFlushed{}} : netlink::SaDeleted{id});
        site.store->apply(site.kernel.event(site.kernel.sas[id]));
        site.store->commit();
        ASSERT_NE(site.tunnel().out, nullptr);
        EXPECT_EQ(site.tunnel().out->next_seq(), 16u);
        EXPECT_EQ(site.kernel.sas[id].replay.sent, site.tunnel().out->limit() - 1);
    }
}

TEST(SaStore, WhatWasGivenBackIsCoveredAgainAlsoIfTheAnswerWasLost) {
    struct Deaf : test::SharedKernel {
        Deaf(FakeKernel& kernel, const bool& deaf) : SharedKernel(kernel), deaf_(deaf) {}
        netlink::Answer<void> write(const netlink::SaCheckpoint& checkpoint) override {
            const auto written = SharedKernel::write(checkpoint);
            return deaf_ ? std::unexpected(netlink::KernelRefusal{ETIMEDOUT, "no answer"}) : written;
        }
        const bool& deaf_;
    };
    Site site;
    bool deaf = false;
    site.store = std::make_unique<SaStore>(Engine::create().value(), site.world, site.metrics,
                                           std::make_unique<Deaf>(site.kernel, deaf));
    site.store->set_workers(
        {[](std::span<const std::size_t>) { return std::chrono::nanoseconds{0}; }, [&] { deaf = true; }});
    const auto old_out = site.add(0x1002, true, 2);
    EXPECT_EQ(site.tunnel().out->reserve_burst(7).granted, 7u);
    const auto new_out = site.add(0x2002, true, 4);
    site.wait_for_take_over();
    deaf = false;
    EXPECT_EQ(site.kernel.sas[old_out].replay.sent, 7u);
    site.store->set_workers({});
    site.remove(new_out);
    ASSERT_NE(site.tunnel().out, nullptr);
    EXPECT_EQ(site.tunnel().out->spi(), 0x1002u);
    EXPECT_EQ(site.kernel.sas[old_out].replay.sent, site.tunnel().out->limit() - 1);
}

TEST(SaStore, AnSaThatLinuxSendsOverItselfGetsNoMoreNumbers) {
    Site site;
    const auto id = site.add(0x1002, true, 2);
    OutboundSa& out = *site.tunnel().out;
    const std::uint64_t limit = out.limit();
    site.kernel.sas[id].replay.sent += 1;  // which comes next here
    while (out.reserve_burst(1u << 20).granted != 0) {
    }
    site.store->tick();
    EXPECT_LE(out.limit(), limit);
    EXPECT_EQ(out.reserve_burst(1).granted, 0u);
    EXPECT_GT(site.metrics[Metric::xfrm_write_failures], 0u);
    site.store->close();
    EXPECT_EQ(site.kernel.sas[id].replay.sent, limit) << "a restart goes on past what the other has used";
}

// Under lockdown=confidentiality Linux shows every key so.
TEST(SaStore, AKeyThatIsAllZerosIsNotUsed) {
    Site site;
    site.add(0x1002, true, 0);
    EXPECT_EQ(site.tunnel().out, nullptr);
    EXPECT_EQ(site.metrics[Metric::xfrm_sa_unsupported], 1u);
}

TEST(SaStore, BadSasAreNamedOnceAndTheOthersGoOn) {
    Site site;
    site.add(0x1001, false, 1);
    site.add(0x1002, true, 2);
    const auto bad = [&](std::uint32_t spi, bool outbound, auto&& change) {
        FakeSa& sa = site.kernel.add(spi, outbound, static_cast<std::uint8_t>(spi), 5);
        change(sa);
        site.store->apply(site.kernel.event(sa));
        site.store->commit();
    };
    bad(0x3001, false, [](FakeSa& sa) { sa.if_id = 77; });
    bad(0x3002, false, [](FakeSa& sa) { sa.if_id = 2; });  // static keys
    bad(0x3003, true, [](FakeSa& sa) { sa.cipher = "cbc(aes)"; });
    bad(0x3004, true, [](FakeSa& sa) { sa.key_bytes = 35; });
    bad(0x3005, true, [](FakeSa& sa) { sa.mode = netlink::SaMode::transport; });
    bad(0x3006, true, [](FakeSa& sa) { sa.source = IpAddress::parse("192.0.2.1").value(); });
    bad(0x3007, true, [](FakeSa& sa) { sa.key = 1; });
    site.dump();
    EXPECT_EQ(site.metrics[Metric::xfrm_sa_unknown_if_id], 1u);
    EXPECT_EQ(site.metrics[Metric::xfrm_sa_unsupported], 3u);
    EXPECT_EQ(site.metrics[Metric::xfrm_sa_key_length], 1u);
    EXPECT_EQ(site.metrics[Metric::xfrm_sa_address], 1u);
    EXPECT_EQ(site.metrics[Metric::xfrm_sa_key_reused], 1u);
    EXPECT_EQ(site.tunnel().out->spi(), 0x1002u);
    EXPECT_EQ(site.tunnel().in.size(), 1u);
}

TEST(SaStore, OfTwoInboundSasWithOneSpiTheNewerIsRefusedUntilTheOtherGoes) {
    Site site;
    TunnelConfig other = site.world.config.tunnels[0];
    other.name = "azure-2";
    other.if_id = 3;
    other.local = IpAddress::parse("203.0.113.5").value();
    site.world.config.tunnels.push_back(other);
    site.world.sas.clear();
    site.start();
    const auto first = site.add(0x1001, false, 1);
    FakeSa& second = site.kernel.add(0x1001, false, 9, 2);
    FakeSa moved = second;
    moved.id.destination = IpAddress::parse("203.0.113.5").value();
    moved.if_id = 3;
    site.kernel.sas[moved.id] = moved;
    site.store->apply(site.kernel.event(moved));
    site.store->commit();
    EXPECT_TRUE(site.world.sas[2].in.empty());
    EXPECT_EQ(site.metrics[Metric::xfrm_sa_spi_conflict], 1u);
    EXPECT_FALSE(site.store->wants_resync());
    site.remove(first);
    EXPECT_TRUE(site.store->wants_resync());
    site.dump();
    EXPECT_EQ(site.world.sas[2].in.size(), 1u);
}

TEST(SaStore, CountersAndTheWindowReachTheKernelWithItsOwnTimes) {
    Site site;
    const auto out = site.add(0x1002, true, 2);
    const auto in = site.add(0x1001, false, 1);
    site.kernel.sas[out].lifetime.use_time = 4;
    static_cast<void>(site.tunnel().out->reserve_burst(3));
    site.tunnel().out->add_bytes(0, 300);
    InboundSa& inbound = *site.tunnel().in.at(0).sa;
    inbound.replay().accept(5);
    inbound.replay().accept(3);
    inbound.add_usage(0, 2, 222);
    for (int i = 0; i < 5; ++i) {
        site.store->tick();
    }
    const netlink::SaLifetime& life = site.kernel.sas[out].lifetime;
    EXPECT_EQ(life.packets, 3u);
    EXPECT_EQ(life.bytes, 300u);
    EXPECT_EQ(life.add_time, 1001u);
    EXPECT_NE(life.use_time, 0u);
    EXPECT_EQ(site.kernel.sas[in].lifetime.bytes, 222u);
    EXPECT_EQ(site.kernel.sas[in].replay.highest, 5u);
    EXPECT_EQ(site.kernel.sas[in].replay.bitmap.at(0), 0b10100u) << "number n is bit n - 1";

    site.crash();
    const InboundSa& again = *site.tunnel().in.at(0).sa;
    EXPECT_EQ(again.replay().check(5), ReplayVerdict::seen);
    EXPECT_EQ(again.replay().check(4), ReplayVerdict::fresh);
    EXPECT_EQ(again.replay().check(3), ReplayVerdict::seen);
    EXPECT_EQ(site.store->rows().at(0).usage.packets + site.store->rows().at(1).usage.packets, 5u);
}

TEST(SaStore, AnOrderlyEndGivesBackTheExactNumber) {
    Site site;
    const auto out = site.add(0x1002, true, 2);
    static_cast<void>(site.tunnel().out->reserve_burst(41));
    site.store->close();
    EXPECT_EQ(site.kernel.sas[out].replay.sent, 41u);
    site.crash();
    EXPECT_EQ(site.tunnel().out->next_seq(), 42u);
}

TEST(SaStore, ASoftLimitIsToldOnceAndAHardOneStopsTheSa) {
    Site site;
    FakeSa& sa = site.kernel.add(0x1002, true, 2, 1);
    sa.limits.soft_bytes = 1000;
    sa.limits.hard_bytes = 2000;
    const netlink::SaId id = sa.id;
    site.dump();
    site.tunnel().out->add_bytes(0, 999);
    site.store->tick();
    EXPECT_TRUE(site.kernel.expired.empty());
    site.tunnel().out->add_bytes(0, 1);
    site.store->tick();
    site.store->tick();
    ASSERT_EQ(site.kernel.expired.size(), 1u);
    EXPECT_EQ(site.kernel.expired[0], (std::pair{id, false}));
    site.tunnel().out->add_bytes(0, 1000);
    site.store->tick();
    ASSERT_EQ(site.kernel.expired.size(), 2u);
    EXPECT_TRUE(site.kernel.expired[1].second);
    EXPECT_EQ(site.tunnel().out, nullptr);
}

// What Linux had counted before counts, and so does a number from when it is reserved.
TEST(SaStore, ALimitInPacketsIsToldLikeOneInBytesInBothDirections) {
    for (const bool outbound : {true, false}) {
        Site site;
        FakeSa& sa = site.kernel.add(0x1002, outbound, 2, 1);
        sa.limits.soft_packets = 110;
        sa.limits.hard_packets = 120;
        sa.lifetime.packets = 100;
        const netlink::SaId id = sa.id;
        site.dump();
        const auto use = [&](std::uint32_t packets) {
            if (outbound) {
                EXPECT_EQ(site.tunnel().out->reserve_burst(packets).granted, packets);
            } else {
                site.tunnel().in.at(0).sa->add_usage(0, packets, 0);
            }
            site.store->tick();
            site.store->tick();
        };
        use(9);
        EXPECT_TRUE(site.kernel.expired.empty());
        use(1);
        EXPECT_EQ(site.kernel.expired, (std::vector{std::pair{id, false}}));
        use(9);
        EXPECT_EQ(site.kernel.expired.size(), 1u);
        EXPECT_TRUE(site.kernel.sas.contains(id));
        use(1);
        EXPECT_EQ(site.kernel.expired, (std::vector{std::pair{id, false}, std::pair{id, true}}));
        EXPECT_EQ(site.tunnel().out, nullptr);
        EXPECT_EQ(site.metrics[Metric::xfrm_soft_expires], 1u);
        EXPECT_EQ(site.metrics[Metric::xfrm_hard_expires], 1u);
    }
}

TEST(SaStore, AnExpiryThatLinuxDoesNotTakeIsToldAgain) {
    Site site;
    FakeSa& sa = site.kernel.add(0x1002, true, 2, 1);
    sa.limits.hard_bytes = 2000;
    const netlink::SaId id = sa.id;
    site.dump();
    site.kernel.refuse_expires = true;
    site.tunnel().out->add_bytes(0, 2000);
    for (int i = 0; i < 3; ++i) {
        site.store->tick();
        EXPECT_EQ(site.tunnel().out, nullptr);
    }
    EXPECT_EQ(site.metrics[Metric::xfrm_hard_expires], 0u);
    site.kernel.refuse_expires = false;
    site.store->tick();
    site.store->tick();
    ASSERT_EQ(site.kernel.expired.size(), 1u);
    EXPECT_EQ(site.kernel.expired[0], (std::pair{id, true}));
    EXPECT_EQ(site.metrics[Metric::xfrm_hard_expires], 1u);
}

// Linux takes no more numbers of the one in use: another one that waits is used at once, and a new one is asked for.
TEST(SaStore, AnSaThatCanReserveNoMoreGivesItsPlaceToOneThatWaits) {
    Site site;
    const auto worn = site.add(0x1002, true, 2);
    site.add(0x1004, true, 4);
    ASSERT_EQ(site.tunnel().out->spi(), 0x1002u);
    site.kernel.refuse_writes_of = {worn};
    site.store->tick();
    EXPECT_EQ(site.tunnel().out->spi(), 0x1002u) << "it has numbers";
    EXPECT_TRUE(site.kernel.expired.empty());
    while (site.tunnel().out->reserve_burst(1u << 20).granted != 0) {
    }
    site.store->tick();
    ASSERT_NE(site.tunnel().out, nullptr);
    EXPECT_EQ(site.tunnel().out->spi(), 0x1004u);
    EXPECT_GT(site.tunnel().out->reserve_burst(1).granted, 0u);
    site.store->tick();
    ASSERT_EQ(site.kernel.expired.size(), 1u);
    EXPECT_EQ(site.kernel.expired[0], (std::pair{worn, false}));
}

TEST(SaStore, ATunnelWhoseOnlySaCanReserveNoMoreIsDownUntilItCan) {
    Site site;
    site.add(0x1001, false, 1);
    const auto worn = site.add(0x1002, true, 2);
    site.kernel.refuse_writes_of = {worn};
    while (site.tunnel().out->reserve_burst(1u << 20).granted != 0) {
    }
    site.store->tick();
    EXPECT_FALSE(site.tunnel().complete());
    EXPECT_EQ(site.kernel.expired, (std::vector{std::pair{worn, false}}));
    site.kernel.refuse_writes_of.clear();
    site.store->tick();
    ASSERT_TRUE(site.tunnel().complete());
    EXPECT_GT(site.tunnel().out->reserve_burst(1).granted, 0u);
}

TEST(SaStore, ARekeyIsDueBeforeTheNumbersEnd) {
    Site site;
    FakeSa& sa = site.kernel.add(0x1002, true, 2, 1);
    sa.replay.sent = (std::uint64_t{1} << 32) / 8 * 7 - 1;
    site.dump();
    site.store->tick();
    ASSERT_EQ(site.kernel.expired.size(), 1u);
    EXPECT_FALSE(site.kernel.expired[0].second);
}

TEST(SaStore, ATunnelOverAnIncompleteDumpStays) {
    Site site;
    site.add(0x1001, false, 1);
    site.add(0x1002, true, 2);
    site.store->begin_dump();
    site.store->end_dump(false);
    site.store->commit();
    EXPECT_TRUE(site.tunnel().complete());
    site.store->begin_dump();
    site.store->end_dump(true);
    site.store->commit();
    EXPECT_FALSE(site.tunnel().complete());
}

// Rekeys, deletions, lost and old events, orderly ends and crashes in any order, with traffic between all of them: no
// number of a key is ever used twice, and an outbound SA is used only when Linux has it.
TEST(SaStore, NoNumberOfAKeyIsUsedTwiceWhateverHappens) {
    for (unsigned seed = 0; seed < 150; ++seed) {
        std::mt19937 random{seed};
        const auto pick = [&](unsigned n) { return std::uniform_int_distribution<unsigned>{0, n - 1}(random); };
        Site site;
        std::map<std::uint8_t, std::uint64_t> last_used;  // by key: bursts ascend, so the highest is enough
        std::vector<FakeSa> known;  // every SA there was
        std::uint8_t next_key = 1;
        const auto send = [&] {
            if (OutboundSa* out = site.tunnel().out) {
                const auto key = static_cast<std::uint8_t>(out->spi() - 0x1000);
                const SequenceBurst burst = out->reserve_burst(1 + pick(1u << 18));
                if (burst.granted != 0) {
                    ASSERT_GT(burst.first, last_used[key]) << "seed " << seed;
                    last_used[key] = burst.first + burst.granted - 1;
                }
            }
        };
        for (unsigned step = 0; step < 60; ++step) {
            switch (pick(10)) {
                case 0:
                case 1: {
                    const bool outbound = pick(3) != 0;
                    const std::uint8_t key = next_key++;
                    const netlink::SaId id = site.add(0x1000u + key, outbound, key);
                    known.push_back(site.kernel.sas[id]);
                    break;
                }
                case 2:
                    if (!site.kernel.sas.empty()) {
                        site.remove(
                            std::next(site.kernel.sas.begin(), pick(static_cast<unsigned>(site.kernel.sas.size())))
                                ->first);
                    }
                    break;
                case 3:  // its event is lost
                    if (!site.kernel.sas.empty()) {
                        site.kernel.sas.erase(
                            std::next(site.kernel.sas.begin(), pick(static_cast<unsigned>(site.kernel.sas.size()))));
                    }
                    break;
                case 4:
                    if (!known.empty()) {  // an old event, of an SA that may be gone
                        site.store->apply(site.kernel.event(known[pick(static_cast<unsigned>(known.size()))]));
                        site.store->commit();
                    }
                    break;
                case 5:
                    site.crash();
                    break;
                case 6:
                    site.store->close();
                    site.crash();
                    break;
                case 7:
                    site.dump();
                    break;
                case 8:
                    site.kernel.refuse_writes = pick(2) == 0;
                    break;
                default:
                    pick(3) == 0 ? site.wait_for_take_over() : site.store->tick();
            }
            send();
            if (HasFatalFailure()) {
                return;
            }
        }
    }
}

TEST(KernelReplay, BothFormsComeBackAsTheyWent) {
    for (const std::uint64_t highest : {1ull, 31ull, 64ull, 1000ull, (1ull << 32) + 5, (1ull << 33) - 1}) {
        auto window = ReplayWindow::create(96, highest < 200 ? 0 : highest - 150).value();
        for (std::uint64_t back = 0; back < std::min<std::uint64_t>(highest, 96); back += 3) {
            window.accept(highest - back);
        }
        netlink::SaReplay form{.extended = true, .sent = 9, .highest = 0, .window = 96, .bitmap = {0, 0, 0}};
        const ReplayState before = window.state();
        const ReplayState after = from_kernel(to_kernel(before, form));
        ASSERT_EQ(after.highest, before.highest);
        for (std::uint64_t back = 0; back < std::min<std::uint64_t>(highest, 96); ++back) {
            EXPECT_EQ(after.seen[back / 32] >> (back % 32) & 1, before.seen[back / 32] >> (back % 32) & 1)
                << highest << " - " << back;
        }
    }
    const netlink::SaReplay shorter{.extended = false, .sent = 4, .highest = 0, .window = 0, .bitmap = {0}};
    const netlink::SaReplay kept = to_kernel({.highest = 40, .seen = {0b1011}}, shorter);
    EXPECT_EQ(kept.bitmap, std::vector<std::uint32_t>{0b1011});
    EXPECT_EQ(kept.sent, 4u);
}

}  // namespace
}  // namespace twinspan
