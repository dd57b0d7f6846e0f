// Packets of a session whose outside address has left the pool: as a reload does it, while they are on their way.
#include "tests/support/graph_nat_world.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

namespace twinspan::test {
namespace {

struct GraphNatDrain : testing::Test, GraphNatWorld {
    static constexpr const char* kOther = "198.51.100.9";

    TestPacket& out(std::uint16_t port, const char* from = "10.10.0.10") {
        return from_lan(udp_packet({.src = from, .dst = "13.107.7.1", .src_port = port, .dst_port = 443}));
    }
    TestPacket& back(const Bytes& translated) {
        const auto port = static_cast<std::uint16_t>(translated[20] << 8 | translated[21]);
        return from_msee(
            udp_packet({.src = "13.107.7.1", .dst = outside_of(translated), .src_port = 443, .dst_port = port}));
    }
    static std::string outside_of(const Bytes& translated) {
        be32 address;
        std::memcpy(&address, translated.data() + 12, sizeof address);
        return IpAddress::from(address).text();
    }
    void leave_only(std::vector<Ipv4Range> addresses) {
        config.pools[0].address_count = static_cast<std::uint32_t>(addresses.size());
        config.pools[0].addresses = std::move(addresses);
    }
};

TEST_F(GraphNatDrain, GoOnBothWaysAndOthersBeginElsewhere) {
    const Bytes before = walk(out(5000), kPriPort);
    ASSERT_EQ(outside_of(before), kPool);
    walk(back(before), kLanPort);
    leave_only({{ip4(kOther), ip4(kOther)}});
    EXPECT_EQ(walk(out(5000), kPriPort), before);
    const Bytes home = walk(back(before), kLanPort);
    EXPECT_EQ((std::vector(home.begin() + 16, home.begin() + 20)), (std::vector<std::uint8_t>{10, 10, 0, 10}));
    EXPECT_EQ(outside_of(walk(out(5001), kPriPort)), kOther);
    EXPECT_EQ(outside_of(walk(out(5000, "10.10.0.11"), kPriPort)), kOther);
}

TEST_F(GraphNatDrain, OfAPoolThatIsTakenAwayGoOnAndNothingBegins) {
    const Bytes before = walk(out(5000), kPriPort);
    leave_only({});
    EXPECT_EQ(walk(out(5000), kPriPort), before);
    walk(back(before), kLanPort);
    const std::uint64_t refused = drops(Drop::nat_pool_down);
    from_wire({&out(5001)});
    EXPECT_EQ(drops(Drop::nat_pool_down), refused + 1);
    EXPECT_TRUE(sent(kPriPort).empty());
    ASSERT_EQ(sent(kLanPort).size(), 1u) << "its sender is told";
    EXPECT_EQ(sent(kLanPort)[0][20], 3);
    EXPECT_EQ(sent(kLanPort)[0][21], 13);
    EXPECT_TRUE(accounts_are_right());
}

}  // namespace
}  // namespace twinspan::test
