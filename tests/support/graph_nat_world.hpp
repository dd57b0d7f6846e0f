// The small site with one address in Microsoft's pool and two hosts inside: what goes in and what comes out.
#pragma once

#include "tests/support/checksum.hpp"
#include "tests/support/graph_world.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace twinspan::test {

using Packet = Bytes (*)(const PacketSpec&);

class GraphNatWorld : public GraphWorld {
public:
    GraphNatWorld() {
        config.pools[0].addresses = {{ip4(kPool), ip4(kPool)}};
        config.pools[0].address_count = 1;
        fib.insert4("10.10.0.11", 32, RouteResult{RouteKind::forward, kLanHost});
    }
    static constexpr const char* kPool = "198.51.100.1";

    // What left by the port in this walk, without the link layer.
    std::vector<Bytes> sent(std::uint16_t port) {
        std::vector<Bytes> out;
        for (const rte_mbuf* m : ctx.transmit[port]) {
            const auto* p = rte_pktmbuf_mtod(m, const std::uint8_t*);
            out.emplace_back(p + (port == kLanPort ? 14 : 18), p + m->data_len);
        }
        return out;
    }
    // One packet in, one out; and the books are right.
    Bytes walk(TestPacket& p, std::uint16_t port) {
        from_wire({&p});
        const std::vector<Bytes> out = sent(port);
        EXPECT_EQ(out.size(), 1u);
        EXPECT_TRUE(accounts_are_right());
        forget();
        return out.empty() ? Bytes{} : out[0];
    }
    void end(TestPacket& p, Drop reason) {
        const std::uint64_t before = drops(reason), all = all_drops();
        from_wire({&p});
        EXPECT_EQ(drops(reason), before + 1) << name_of(reason);
        EXPECT_EQ(all_drops(), all + 1);
        EXPECT_TRUE(accounts_are_right());
        forget();
    }
    // The payload of all pieces, by their offsets; and that they are one packet.
    static Bytes joined(const std::vector<Bytes>& pieces) {
        Bytes payload;
        std::size_t total = 0;
        for (const Bytes& piece : pieces) {
            const std::size_t at = (static_cast<std::size_t>(piece[6] & 0x1f) << 8 | piece[7]) * 8;
            payload.resize(std::max(payload.size(), at + piece.size() - 20));
            std::ranges::copy(piece.begin() + 20, piece.end(), payload.begin() + static_cast<std::ptrdiff_t>(at));
            total += piece.size() - 20;
            EXPECT_EQ(internet_checksum(std::span{piece}.first(20)), 0);
        }
        EXPECT_EQ(total, payload.size());
        return payload;
    }
};

}  // namespace twinspan::test
