#include "crypto/last_peer.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace twinspan {
namespace {

PeerAddress peer(std::uint8_t byte, bool ipv6 = false) {
    PeerAddress p{.port_be = static_cast<std::uint16_t>(byte * 0x0101), .ipv6 = ipv6};
    std::fill_n(p.address.begin(), ipv6 ? 16 : 4, byte);
    return p;
}

TEST(LastPeerTest, ComesBackAsItWasNoted) {
    LastPeer last;
    EXPECT_FALSE(last.load());
    for (const PeerAddress& p : {peer(0), peer(1), peer(1, true), peer(2), peer(1)}) {
        last.note(p);
        EXPECT_EQ(last.load(), p);
    }
}

TEST(LastPeerTest, EveryPartMakesAnotherPeer) {
    LastPeer last;
    const PeerAddress first = peer(7, true);
    for (std::size_t byte = 0; byte < 16; ++byte) {
        last.note(first);
        PeerAddress other = first;
        other.address[byte] ^= 1;
        last.note(other);
        EXPECT_EQ(last.load(), other) << byte;
    }
    for (PeerAddress other : {first, first}) {
        last.note(first);
        other.port_be ^= 0x100;
        last.note(other);
        EXPECT_EQ(last.load(), other);
        other.ipv6 = false;
        last.note(other);
        EXPECT_EQ(last.load(), other);
    }
}

// Two workers that never agree: control sees one of them or nothing, never half of each.
TEST(LastPeerTest, IsWhole) {
    LastPeer last;
    std::atomic<bool> stop = false;
    std::vector<std::jthread> workers;
    for (const std::uint8_t id : std::vector<std::uint8_t>{1, 2}) {
        workers.emplace_back([&, id] {
            while (!stop) {
                last.note(peer(id, true));
            }
        });
    }
    unsigned seen = 0;
    for (unsigned i = 0; i < 200'000 || seen == 0; ++i) {
        if (const auto p = last.load()) {
            ++seen;
            ASSERT_TRUE(*p == peer(1, true) || *p == peer(2, true));
        }
    }
    stop = true;
}

}  // namespace
}  // namespace twinspan
