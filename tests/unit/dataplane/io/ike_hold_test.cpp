// Which of Linux's packets wait for control, for how long, and in what order they leave.
#include "dataplane/io/ike_hold.hpp"

#include "dataplane/packet/headers.hpp"

#include <gtest/gtest.h>
#include <poll.h>

#include <rte_mbuf.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

namespace twinspan {
namespace {

using Frame = std::vector<std::uint8_t>;

template <class T>
void append(Frame& frame, const T& header) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(&header);
    frame.insert(frame.end(), bytes, bytes + sizeof header);
}

UdpHeader udp(std::uint16_t from, std::uint16_t to) { return {to_be16(from), to_be16(to), to_be16(12), {}}; }

Frame v4(std::uint16_t from, std::uint16_t to, std::uint8_t protocol = 17, std::uint16_t fragment = 0,
         std::uint8_t option_words = 0) {
    EthernetHeader ethernet{};
    ethernet.type = kEtherTypeIpv4;
    Ipv4Header ip{};
    ip.version_ihl = static_cast<std::uint8_t>(0x45 + option_words);
    ip.protocol = protocol;
    ip.fragment = to_be16(fragment);
    Frame frame;
    append(frame, ethernet);
    append(frame, ip);
    frame.resize(frame.size() + 4u * option_words);
    append(frame, udp(from, to));
    frame.resize(frame.size() + 4);
    return frame;
}

Frame v6(std::uint16_t from, std::uint16_t to) {
    EthernetHeader ethernet{};
    ethernet.type = kEtherTypeIpv6;
    Ipv6Header ip{};
    ip.next_header = 17;
    Frame frame;
    append(frame, ethernet);
    append(frame, ip);
    append(frame, udp(from, to));
    return frame;
}

TEST(IkeHold, IkeIsToldFromAllElse) {
    EXPECT_TRUE(IkeHold::is_ike(v4(500, 500)));
    EXPECT_TRUE(IkeHold::is_ike(v4(4500, 4500)));
    EXPECT_TRUE(IkeHold::is_ike(v4(500, 1024))) << "to a peer behind a NAT";
    EXPECT_TRUE(IkeHold::is_ike(v4(500, 500, 17, 0x2000))) << "a first fragment";
    EXPECT_TRUE(IkeHold::is_ike(v4(500, 500, 17, 0, 3))) << "behind options";
    EXPECT_TRUE(IkeHold::is_ike(v6(500, 500)));
    EXPECT_TRUE(IkeHold::is_ike(v6(4500, 4500)));

    EXPECT_FALSE(IkeHold::is_ike(v4(1024, 500)));
    EXPECT_FALSE(IkeHold::is_ike(v4(3784, 3784)));
    EXPECT_FALSE(IkeHold::is_ike(v4(500, 500, 6)));
    EXPECT_FALSE(IkeHold::is_ike(v4(500, 500, 17, 0x0010))) << "a later fragment has no ports";
    Frame arp = v4(500, 500);
    arp[13] = 0x06;
    EXPECT_FALSE(IkeHold::is_ike(arp));
    const Frame whole = v4(500, 500);
    const std::size_t udp_end = sizeof(EthernetHeader) + sizeof(Ipv4Header) + sizeof(UdpHeader);
    for (std::size_t length = 0; length < udp_end; ++length) {
        EXPECT_FALSE(IkeHold::is_ike(std::span{whole}.first(length))) << length;
    }
    EXPECT_TRUE(IkeHold::is_ike(std::span{whole}.first(udp_end)));
}

class IkeHoldTest : public testing::Test {
protected:
    bool readable() {
        pollfd wait{hold_.fd(), POLLIN, 0};
        return poll(&wait, 1, 0) == 1;
    }

    IkeHold hold_;
    std::unique_ptr<std::array<rte_mbuf, 3>> packets_ = std::make_unique<std::array<rte_mbuf, 3>>();
    rte_mbuf& a_ = (*packets_)[0];
    rte_mbuf& b_ = (*packets_)[1];
    rte_mbuf& c_ = (*packets_)[2];
    const IkeHold::Clock::time_point now_{std::chrono::hours{1}};
};

TEST_F(IkeHoldTest, NothingIsHeldUntilItIsOpened) {
    EXPECT_FALSE(hold_.wants(v4(500, 500)));
    ASSERT_TRUE(hold_.open());
    EXPECT_TRUE(hold_.wants(v4(500, 500)));
    EXPECT_FALSE(hold_.wants(v4(1024, 500)));
}

TEST_F(IkeHoldTest, PacketsLeaveInTheirOrderWhenControlHasSaidSo) {
    ASSERT_TRUE(hold_.open());
    EXPECT_FALSE(readable());
    hold_.hold(a_, now_);
    hold_.hold(b_, now_);
    EXPECT_TRUE(readable());
    const std::uint64_t asked = hold_.asked();
    EXPECT_EQ(asked, 2u);
    EXPECT_FALSE(readable());
    hold_.hold(c_, now_);  // after control has looked: it may be about what came later
    EXPECT_TRUE(readable());
    EXPECT_EQ(hold_.take(now_), nullptr);
    hold_.release(asked);
    EXPECT_EQ(hold_.take(now_), &a_);
    EXPECT_EQ(hold_.take(now_), &b_);
    EXPECT_EQ(hold_.take(now_), nullptr);
    EXPECT_FALSE(hold_.empty());
    hold_.release(hold_.asked());
    EXPECT_EQ(hold_.take(now_), &c_);
    EXPECT_TRUE(hold_.empty());
    EXPECT_EQ(hold_.take(now_), nullptr);
    EXPECT_EQ(hold_.overdue().read(), 0u);
}

TEST_F(IkeHoldTest, ControlThatDoesNotAnswerHoldsNobodyForLong) {
    ASSERT_TRUE(hold_.open());
    hold_.hold(a_, now_);
    hold_.hold(b_, now_ + std::chrono::milliseconds{1});
    EXPECT_EQ(hold_.take(now_ + IkeHold::kLongest - std::chrono::milliseconds{1}), nullptr);
    EXPECT_EQ(hold_.take(now_ + IkeHold::kLongest), &a_);
    EXPECT_EQ(hold_.take(now_ + IkeHold::kLongest), nullptr);
    EXPECT_EQ(hold_.overdue().read(), 1u);
    hold_.release(hold_.asked());
    EXPECT_EQ(hold_.take(now_ + IkeHold::kLongest), &b_);
    EXPECT_EQ(hold_.overdue().read(), 1u);
}

TEST_F(IkeHoldTest, AFloodPushesOutTheOldest) {
    ASSERT_TRUE(hold_.open());
    hold_.hold(a_, now_);
    for (std::size_t i = 1; i < IkeHold::kMost; ++i) {
        EXPECT_FALSE(hold_.full());
        hold_.hold(b_, now_);
    }
    EXPECT_TRUE(hold_.full());
    EXPECT_EQ(hold_.take_unreleased(), &a_);
    EXPECT_EQ(hold_.overdue().read(), 1u);
    EXPECT_FALSE(hold_.full());
    hold_.hold(c_, now_);
    hold_.release(hold_.asked());
    for (std::size_t i = 1; i < IkeHold::kMost; ++i) {
        ASSERT_EQ(hold_.take(now_), &b_);
    }
    EXPECT_EQ(hold_.take(now_), &c_);
    EXPECT_TRUE(hold_.empty());
}

}  // namespace
}  // namespace twinspan
