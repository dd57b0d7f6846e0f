// What the NAT makes of TCP's flags: rows of segments, and how long the session may then be idle.
#include "dataplane/state/nat_tcp.hpp"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace twinspan {
namespace {

struct Segment {
    bool outbound;
    std::uint8_t flags;
};
constexpr Segment out(std::uint8_t flags) { return {true, flags}; }
constexpr Segment in(std::uint8_t flags) { return {false, flags}; }

constexpr std::uint8_t S = kTcpSyn, A = kTcpAck, F = kTcpFin, R = kTcpRst, SA = kTcpSyn | kTcpAck,
                       FA = kTcpFin | kTcpAck, RA = kTcpRst | kTcpAck;

enum class Phase { opening, established, closing };

struct Row {
    const char* name;
    std::vector<Segment> segments;
    Phase phase;
};

class NatTcp : public testing::TestWithParam<Row> {};

TEST_P(NatTcp, PhaseAndTimeout) {
    std::atomic<std::uint8_t> state{0};
    for (const auto& [outbound, flags] : GetParam().segments) {
        outbound ? nat_tcp::track_outbound(state, flags) : nat_tcp::track_inbound(state, flags);
    }
    const Phase phase = GetParam().phase;
    EXPECT_EQ(nat_tcp::closing(state), phase == Phase::closing);
    EXPECT_EQ(nat_tcp::established(state), phase == Phase::established);
    const NatTimeouts timeouts{.tcp_established = 3, .tcp_transitory = 1, .tcp_closing = 2};
    EXPECT_EQ(nat_timeout(+IpProtocol::tcp, state, timeouts), phase == Phase::opening       ? 1u
                                                              : phase == Phase::established ? 3u
                                                                                            : 2u);
}

constexpr auto kOpening = Phase::opening, kUp = Phase::established, kClosing = Phase::closing;

INSTANTIATE_TEST_SUITE_P(
    Rfc5382AndRfc7857, NatTcp,
    testing::Values(
        Row{"syn", {out(S)}, kOpening}, Row{"syn_repeated", {out(S), out(S)}, kOpening},
        Row{"syn_answered", {out(S), in(SA)}, kOpening}, Row{"handshake", {out(S), in(SA), out(A)}, kUp},
        Row{"half_open_from_outside", {in(S), out(SA)}, kOpening},
        Row{"handshake_from_outside", {in(S), out(SA), in(A)}, kUp},
        Row{"simultaneous_open", {out(S), in(S), out(SA), in(SA)}, kUp},
        Row{"simultaneous_open_half", {out(S), in(S), out(SA)}, kOpening},
        Row{"older_than_its_session", {out(A), in(A)}, kUp}, Row{"refused", {out(S), in(RA)}, kClosing},
        Row{"half_closed_by_inside", {out(S), in(SA), out(A), out(FA), in(A)}, kUp},
        Row{"half_closed_by_outside", {out(S), in(SA), out(A), in(FA), out(A)}, kUp},
        Row{"closed", {out(S), in(SA), out(A), out(FA), in(FA), out(A)}, kClosing},
        Row{"last_ack_repeated", {out(S), in(SA), out(A), in(FA), out(FA), in(A), in(FA), out(A)}, kClosing},
        Row{"reset_by_inside", {out(S), in(SA), out(A), out(R)}, kClosing},
        Row{"reset_by_outside", {out(S), in(SA), out(A), in(R)}, kClosing},
        Row{"reset_while_data_was_on_its_way", {out(S), in(SA), out(A), out(R), in(A)}, kClosing},
        Row{"reset_from_outside_and_our_data_on_its_way", {out(S), in(SA), out(A), in(R), out(A)}, kClosing},
        Row{"reset_made_up", {out(S), in(SA), out(A), in(R), out(A), in(A)}, kUp},
        Row{"reset_made_up_inside", {out(S), in(SA), out(A), out(R), in(A), out(A)}, kUp},
        Row{"reset_on_both_sides", {out(S), in(SA), out(A), in(R), out(R), in(A)}, kClosing},
        Row{"reset_made_up_while_opening", {out(S), in(R), in(SA), out(A)}, kUp},
        Row{"ports_used_again", {out(S), in(SA), out(A), in(R), out(S)}, kOpening},
        Row{"ports_used_again_from_outside", {in(S), out(SA), in(A), in(FA), out(FA), in(S)}, kOpening},
        Row{"ports_used_again_and_up", {out(S), in(SA), out(A), out(FA), in(FA), out(S), in(SA), out(A)}, kUp},
        Row{"syn_ack_uses_no_port_again", {out(S), in(SA), out(A), out(FA), in(FA), in(SA)}, kClosing},
        Row{"syn_of_an_open_connection", {out(S), in(SA), out(A), in(S)}, kUp}),
    [](const auto& row) { return std::string{row.param.name}; });

TEST(NatTcpRefresh, RepeatedResetsKeepNothingAlive) {
    std::atomic<std::uint8_t> state{0};
    EXPECT_TRUE(nat_tcp::track_outbound(state, S));
    EXPECT_TRUE(nat_tcp::track_inbound(state, SA));
    EXPECT_TRUE(nat_tcp::track_outbound(state, R)) << "the closing time begins";
    EXPECT_FALSE(nat_tcp::track_outbound(state, R));
    EXPECT_TRUE(nat_tcp::track_inbound(state, RA));
    EXPECT_FALSE(nat_tcp::track_inbound(state, R));
    EXPECT_TRUE(nat_tcp::track_inbound(state, A));
    EXPECT_TRUE(nat_tcp::track_inbound(state, R));
}

TEST(NatTimeout, FollowsTheProtocol) {
    const NatTimeouts timeouts{.udp = 1, .tcp_transitory = 2, .icmp = 3, .other = 4};
    EXPECT_EQ(nat_timeout(+IpProtocol::udp, 0, timeouts), 1u);
    EXPECT_EQ(nat_timeout(+IpProtocol::tcp, 0, timeouts), 2u);
    EXPECT_EQ(nat_timeout(+IpProtocol::icmp, 0, timeouts), 3u);
    EXPECT_EQ(nat_timeout(47, 0, timeouts), 4u);
    const NatTimeouts defaults;
    EXPECT_EQ(defaults.tcp_established, 2u * 3600 + 4 * 60) << "RFC 5382 REQ-5";
    EXPECT_EQ(defaults.tcp_transitory, 240u);
    EXPECT_EQ(defaults.tcp_closing, 240u) << "RFC 7857 section 2.2";
    EXPECT_EQ(defaults.udp, 300u) << "RFC 4787 REQ-5c";
    EXPECT_EQ(defaults.icmp, 60u) << "RFC 5508 REQ-2";
}

}  // namespace
}  // namespace twinspan
