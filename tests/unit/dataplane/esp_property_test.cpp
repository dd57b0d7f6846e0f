// Random packets through EspOut and EspIn: every suite, both IP versions inside and outside, bare and in UDP, every
// rule. What comes out is what went in, but for what RFC 6040 says; and no bit of ESP can be changed unnoticed.
#include "dataplane/packet/ecn.hpp"
#include "dataplane/packet/parse_ip.hpp"
#include "dataplane/stages/esp_in.hpp"
#include "dataplane/stages/esp_out.hpp"
#include "dataplane/stages/udp_decap.hpp"
#include "tests/support/stage_test.hpp"

#include <random>

namespace twinspan {
namespace {

using test::Bytes;
using test::TestPacket;

struct EspPropertyTest : test::StageTest {
    // Of a tunnel to ourselves: what we seal, we can open.
    struct Ends {
        std::unique_ptr<OutboundSa> out;
        std::unique_ptr<InboundSa> in;
    };
    unsigned below(unsigned limit) { return static_cast<unsigned>(random() % limit); }
    template <class T>
    T any(std::initializer_list<T> of) {
        return of.begin()[below(static_cast<unsigned>(of.size()))];
    }

    Ends ends(Suite suite, std::uint32_t spi) {
        const auto config_of = [&] {
            SaConfig sa;
            sa.spi = spi;
            sa.suite = suite;
            sa.width = below(2) == 0 ? SequenceWidth::bits32 : SequenceWidth::bits64;
            sa.keymat = SecretBytes(keymat_len(suite));
            std::mt19937 key{spi};
            std::ranges::generate(std::span{sa.keymat.data(), sa.keymat.size()},
                                  [&] { return static_cast<std::uint8_t>(key()); });
            return sa;
        };
        SaConfig sa = config_of();
        const std::uint64_t first = 1 + below(1u << 20);
        auto sealing = OutboundSa::create(engine, sa, first);
        auto opening = InboundSa::create(engine, sa, any({32u, 64u, 1024u, 65536u}));
        EXPECT_TRUE(sealing && opening) << name(suite);
        (*sealing)->raise_limit((*sealing)->end_of_sequence());
        return {std::move(*sealing), std::move(*opening)};
    }

    void new_world(unsigned round) {
        config.dscp_maps = {identity_dscp_map(), {}};
        std::ranges::generate(config.dscp_maps[1], [&] { return static_cast<std::uint8_t>(below(64)); });
        std::vector<InboundSaEntry> entries;
        for (std::uint16_t i = 0; i < 2; ++i) {
            const Suite suite = static_cast<Suite>((round + i) % kSuites.size());
            ends_[i] = ends(suite, 0x5000u + 2 * round + i);
            Tunnel& t = config.tunnels[i];
            const bool v6 = below(2) != 0;
            t.local = t.remote = IpAddress::parse(v6 ? "2001:db8::1" : "203.0.113.1").value();
            t.encapsulation = below(2) == 0 ? Encapsulation{} : Encapsulation{kNatTraversalPort, kNatTraversalPort};
            t.out = ends_[i].out.get();
            t.df = any({DfRule::set, DfRule::clear, DfRule::copy});
            t.hop_limit = any({kCopyHopLimit, kDefaultHopLimit, std::uint8_t{255}});
            t.flow_label = any({FlowLabelRule::hash, FlowLabelRule::zero, FlowLabelRule::copy});
            t.ecn = any({EcnRule::normal, EcnRule::compatibility});
            t.dscp_map = static_cast<std::uint8_t>(below(2));
            make_outer_header(t);
            entries.push_back({0x5000u + 2 * round + i, i, ends_[i].in.get(), t.encapsulation});
        }
        config.inbound_sas = InboundSaTable(entries);
    }

    Bytes inner() {
        test::PacketSpec spec{.src = "10.10.0.10", .dst = "10.20.0.1"};
        if (below(2) != 0) {
            spec = {.src = "fd10:10::10", .dst = "fd10:20::1", .flow_label = below(1u << 20)};
        }
        spec.ttl = static_cast<std::uint8_t>(1 + below(255));
        spec.tos = static_cast<std::uint8_t>(below(256));
        spec.id = static_cast<std::uint16_t>(random());
        spec.fragment = any({std::uint16_t{0}, std::uint16_t{0x4000}});
        spec.src_port = static_cast<std::uint16_t>(random());
        spec.dst_port = static_cast<std::uint16_t>(random());
        spec.payload.resize(below(4) == 0 ? below(8) : below(1300));
        std::ranges::generate(spec.payload, [&] { return static_cast<std::uint8_t>(random()); });
        return below(2) != 0 ? test::udp_packet(spec) : test::tcp_packet(spec);
    }

    // As the far end's port gives it: Parse and the way to EspIn.
    void arrive(std::vector<TestPacket*>& packets) {
        batch.clear();
        for (TestPacket* p : packets) {
            PacketMeta& pm = p->meta();
            pm = PacketMeta{};
            if (parse_ip(p->mbuf, pm).kept()) {
                batch.push(&p->mbuf);
            }
        }
        decap.process(ctx, batch);
        std::uint16_t esp = 0;
        for (rte_mbuf* m : batch) {
            if (meta(*m).protocol == 50) {
                batch.data()[esp++] = m;
            }
        }
        batch.resize(esp);
        in.process(ctx, batch);
    }

    std::vector<TestPacket*> send(const std::vector<Bytes>& inners, std::vector<std::unique_ptr<TestPacket>>& hold) {
        std::vector<TestPacket*> sent;
        batch.clear();
        for (const Bytes& packet : inners) {
            TestPacket& p = *hold.emplace_back(std::make_unique<TestPacket>(packet));
            test::fill_meta(p.mbuf);
            p.meta().tunnel = static_cast<std::uint16_t>(below(2));
            batch.push(&p.mbuf);
            sent.push_back(&p);
        }
        out.process(ctx, batch);
        EXPECT_EQ(batch.size(), inners.size());
        return sent;
    }

    std::mt19937 random{7};
    std::array<Ends, 2> ends_;
    EspOut out;
    EspIn in;
    UdpDecap decap;
};

TEST_F(EspPropertyTest, WhatGoesInComesOut) {
    for (unsigned round = 0; round < 150; ++round) {
        new_world(round);
        std::vector<std::unique_ptr<TestPacket>> hold;
        std::vector<Bytes> inners(1 + below(32));
        std::ranges::generate(inners, [&] { return inner(); });
        std::vector<TestPacket*> sent = send(inners, hold);
        for (std::size_t i = 0; i < sent.size(); ++i) {
            const Bytes outer = sent[i]->bytes();
            ASSERT_TRUE(test::checksums_right(outer)) << round << " " << i;
            const Tunnel& tunnel = config.tunnels[sent[i]->meta().tunnel];
            const std::uint8_t wanted =
                static_cast<std::uint8_t>(config.dscp_maps[tunnel.dscp_map][traffic_class(inners[i].data()) >> 2] << 2 |
                                          (tunnel.ecn == EcnRule::normal ? traffic_class(inners[i].data()) & 3 : 0));
            ASSERT_EQ(traffic_class(outer.data()), wanted);
        }
        arrive(sent);
        ASSERT_EQ(batch.size(), sent.size()) << round;
        for (std::size_t i = 0; i < sent.size(); ++i) {
            ASSERT_EQ(batch[static_cast<std::uint16_t>(i)], &sent[i]->mbuf);
            ASSERT_EQ(sent[i]->bytes(), inners[i]) << round << " " << i;
        }
        ASSERT_EQ(all_drops(), 0u);
    }
}

TEST_F(EspPropertyTest, NoChangedBitPasses) {
    for (unsigned round = 0; round < 60; ++round) {
        new_world(round);
        for (unsigned packet = 0; packet < 20; ++packet) {
            std::vector<std::unique_ptr<TestPacket>> hold;
            std::vector<TestPacket*> sent = send({inner()}, hold);
            const Tunnel& tunnel = config.tunnels[sent[0]->meta().tunnel];
            const Bytes good = sent[0]->bytes();
            for (unsigned flip = 0; flip < 8; ++flip) {
                const std::size_t esp_bits = 8 * (good.size() - tunnel.outer_len);
                const std::size_t bit = 8u * tunnel.outer_len + random() % esp_bits;
                Bytes bad = good;
                bad[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
                sent[0]->assign(bad);
                arrive(sent);
                ASSERT_TRUE(batch.empty()) << round << ": bit " << bit;
                ctx.dropped.clear();
            }
            sent[0]->assign(good);
            arrive(sent);
            ASSERT_EQ(batch.size(), 1) << "none of them used the number up";
        }
    }
}

}  // namespace
}  // namespace twinspan
