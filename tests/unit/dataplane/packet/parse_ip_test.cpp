#include "dataplane/packet/parse_ip.hpp"

#include "tests/support/exact_packet.hpp"
#include "tests/support/packet_builder.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

namespace twinspan {
namespace {

using test::Bytes;
using test::ExactPacket;
using test::PacketSpec;

const PacketSpec kV4{
    .src = "10.10.0.10", .dst = "13.107.6.9", .src_port = 0x1122, .dst_port = 0x3344, .payload = test::filler(13)};
const PacketSpec kV6{
    .src = "fd10:10::10", .dst = "fd10:20::1", .src_port = 0x1122, .dst_port = 0x3344, .payload = test::filler(13)};

// An IPv6 packet with `first` as its next header and these bytes behind the fixed header.
Bytes v6_with(std::uint8_t first, std::initializer_list<Bytes> parts) {
    Bytes behind;
    for (const Bytes& part : parts) {
        behind.insert(behind.end(), part.begin(), part.end());
    }
    return test::ip_packet(kV6, first, behind);
}
Bytes options(std::uint8_t next, std::uint8_t units = 0) {
    Bytes out(8u + units * 8u, 0);
    out[0] = next;
    out[1] = units;
    return out;
}
Bytes fragment_header(std::uint8_t next, unsigned offset, bool more) {
    const auto field = static_cast<std::uint16_t>(offset << 3 | (more ? 1u : 0u));
    return {next, 0, static_cast<std::uint8_t>(field >> 8), static_cast<std::uint8_t>(field), 1, 2, 3, 4};
}
Bytes udp_header() { return {0x11, 0x22, 0x33, 0x44, 0, 8, 0, 0}; }

struct Parsed {
    Verdict verdict;
    PacketMeta meta;
    Bytes bytes;
};
Parsed parse(const Bytes& packet) {
    ExactPacket p{packet};
    const Verdict v = parse_ip(p.mbuf, p.meta());
    EXPECT_EQ(p.mbuf.pkt_len, p.mbuf.data_len);
    return {v, p.meta(), p.bytes()};
}

TEST(ParseIpTest, LearnsAddressesPortsAndLengths) {
    struct Row {
        const char* name;
        Bytes packet;
        IpVersion ip;
        std::uint8_t protocol;
        unsigned l4_offset;
        std::uint16_t src_port, dst_port;
    };
    PacketSpec with_options = kV4;
    with_options.ip_options = Bytes(40, 1);
    const Row rows[] = {
        {"udp", test::udp_packet(kV4), IpVersion::v4, 17, 20, 0x1122, 0x3344},
        {"tcp", test::tcp_packet(kV4), IpVersion::v4, 6, 20, 0x1122, 0x3344},
        {"options", test::udp_packet(with_options), IpVersion::v4, 17, 60, 0x1122, 0x3344},
        {"echo request", test::echo_request(kV4), IpVersion::v4, 1, 20, 0x1122, 0x1122},
        {"echo reply", test::echo_reply(kV4), IpVersion::v4, 1, 20, 0x1122, 0x1122},
        {"icmp error", test::icmp_error_packet(kV4, 3, 1, test::udp_packet(kV4)), IpVersion::v4, 1, 20, 0, 0},
        {"esp", test::ip_packet(kV4, 50, test::filler(8)), IpVersion::v4, 50, 20, 0, 0},
        {"gre", test::ip_packet(kV4, 47, {}), IpVersion::v4, 47, 20, 0, 0},
        {"udp6", test::udp_packet(kV6), IpVersion::v6, 17, 40, 0x1122, 0x3344},
        {"tcp6", test::tcp_packet(kV6), IpVersion::v6, 6, 40, 0x1122, 0x3344},
        {"echo6", test::echo_request(kV6), IpVersion::v6, 58, 40, 0x1122, 0x1122},
        {"echo reply6", test::echo_reply(kV6), IpVersion::v6, 58, 40, 0x1122, 0x1122},
        {"icmp6 error", test::icmp_error_packet(kV6, 1, 0, test::udp_packet(kV6)), IpVersion::v6, 58, 40, 0, 0},
        {"hop by hop", v6_with(0, {options(17), udp_header()}), IpVersion::v6, 17, 48, 0x1122, 0x3344},
        {"chain", v6_with(0, {options(60, 1), options(43), options(17, 2), udp_header()}), IpVersion::v6, 17, 88,
         0x1122, 0x3344},
        {"no next header", v6_with(59, {}), IpVersion::v6, 59, 40, 0, 0},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.name);
        const Parsed got = parse(row.packet);
        ASSERT_TRUE(got.verdict.kept());
        EXPECT_EQ(got.bytes, row.packet);
        EXPECT_EQ(got.meta.ip, row.ip);
        EXPECT_EQ(got.meta.protocol, row.protocol);
        EXPECT_EQ(got.meta.l4_offset, row.l4_offset);
        EXPECT_EQ(got.meta.l3_length, row.packet.size());
        EXPECT_EQ(got.meta.src_port.host(), row.src_port);
        EXPECT_EQ(got.meta.dst_port.host(), row.dst_port);
        EXPECT_EQ(got.meta.flags, 0);
    }
}

TEST(ParseIpTest, CutsPadding) {
    for (const Bytes& packet : {test::udp_packet(kV4), test::udp_packet(kV6)}) {
        Bytes padded = packet;
        padded.resize(packet.size() + 18, 0xee);
        const Parsed got = parse(padded);
        EXPECT_TRUE(got.verdict.kept());
        EXPECT_EQ(got.bytes, packet);
    }
}

TEST(ParseIpTest, KnowsFragments) {
    using meta_flag::kFragment, meta_flag::kLaterFragment;
    auto v4 = [](std::uint16_t field) {
        PacketSpec spec = kV4;
        spec.fragment = field;
        return test::udp_packet(spec);
    };
    struct Row {
        const char* name;
        Bytes packet;
        unsigned flags;
        std::uint8_t protocol;
        bool has_ports;
    };
    const Row rows[] = {
        {"do not fragment", v4(0x4000), 0, 17, true},
        {"reserved bit", v4(0x8000), 0, 17, true},
        {"first", v4(0x2000), kFragment, 17, true},
        {"middle", v4(0x2001), kFragment | kLaterFragment, 17, false},
        {"last", v4(0x1fff), kFragment | kLaterFragment, 17, false},
        {"first6", v6_with(44, {fragment_header(17, 0, true), udp_header()}), kFragment, 17, true},
        {"atomic6", v6_with(44, {fragment_header(17, 0, false), udp_header()}), kFragment, 17, true},
        {"later6", v6_with(44, {fragment_header(17, 1, false), udp_header()}), kFragment | kLaterFragment, 17, false},
        // What follows a later fragment's header is payload, even when it could pass for a header.
        {"later6 options", v6_with(44, {fragment_header(60, 9, true), Bytes(8, 0xff)}), kFragment | kLaterFragment, 60,
         false},
        {"first6 options", v6_with(44, {fragment_header(60, 0, true), options(17), udp_header()}), kFragment, 17, true},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.name);
        const Parsed got = parse(row.packet);
        ASSERT_TRUE(got.verdict.kept());
        EXPECT_EQ(got.meta.flags, row.flags);
        EXPECT_EQ(got.meta.protocol, row.protocol);
        EXPECT_EQ(got.meta.src_port.host(), row.has_ports ? 0x1122 : 0);
        EXPECT_EQ(got.meta.dst_port.host(), row.has_ports ? 0x3344 : 0);
    }
}

TEST(ParseIpTest, RefusesWhatTheFieldsSayWrong) {
    const Bytes v4 = test::udp_packet(kV4);
    const Bytes v6 = test::udp_packet(kV6);
    auto changed = [](Bytes packet, std::initializer_list<std::pair<unsigned, unsigned>> at) {
        for (const auto& [offset, value] : at) {
            packet[offset] = static_cast<std::uint8_t>(value);
        }
        return packet;
    };
    // Changes a header field and makes the checksum right again, so that only the field is wrong.
    auto changed_v4 = [&](std::initializer_list<std::pair<unsigned, unsigned>> at) {
        Bytes packet = changed(v4, at);
        packet[10] = packet[11] = 0;
        const unsigned header = std::max(20u, (packet[0] & 0x0fu) * 4u);
        std::uint32_t sum = 0;
        for (unsigned i = 0; i < std::min<unsigned>(header, static_cast<unsigned>(packet.size())); i += 2) {
            sum += static_cast<std::uint32_t>(packet[i] << 8) + (i + 1 < packet.size() ? packet[i + 1] : 0u);
        }
        sum = (sum & 0xffff) + (sum >> 16);
        sum = ~((sum & 0xffff) + (sum >> 16));
        packet[10] = static_cast<std::uint8_t>(sum >> 8);
        packet[11] = static_cast<std::uint8_t>(sum);
        return packet;
    };
    struct Row {
        const char* name;
        Bytes packet;
        Drop reason;
    };
    const Row rows[] = {
        {"version 5", changed_v4({{0, 0x55}}), Drop::bad_ip_header},
        {"version 0", changed_v4({{0, 0x05}}), Drop::bad_ip_header},
        {"ihl 4", changed_v4({{0, 0x44}}), Drop::bad_ip_header},
        {"ihl 0", changed_v4({{0, 0x40}}), Drop::bad_ip_header},
        {"ihl beyond the packet", changed_v4({{0, 0x4f}}), Drop::bad_ip_header},
        {"length below the header", changed_v4({{2, 0}, {3, 19}}), Drop::bad_ip_header},
        {"length zero", changed_v4({{2, 0}, {3, 0}}), Drop::bad_ip_header},
        {"length beyond the packet", changed_v4({{3, static_cast<unsigned>(v4.size()) + 1}}), Drop::bad_ip_header},
        {"length far beyond", changed_v4({{2, 0xff}}), Drop::bad_ip_header},
        {"checksum", changed(v4, {{11, v4[11] + 1u}}), Drop::bad_ip_header},
        {"ttl without checksum", changed(v4, {{8, 63}}), Drop::bad_ip_header},
        {"udp cut by the length", changed_v4({{3, 27}}), Drop::malformed_frame},
        {"no udp at all", changed_v4({{3, 20}}), Drop::malformed_frame},
        {"icmp cut", test::ip_packet(kV4, 1, test::filler(7)), Drop::malformed_frame},
        {"tcp cut", test::ip_packet(kV4, 6, test::filler(19)), Drop::malformed_frame},
        {"esp cut", test::ip_packet(kV4, 50, test::filler(7)), Drop::malformed_frame},
        {"version 5 of 6", changed(v6, {{0, 0x50}}), Drop::bad_ip_header},
        {"length beyond 6", changed(v6, {{5, v6[5] + 1u}}), Drop::bad_ip_header},
        {"length far beyond 6", changed(v6, {{4, 0xff}, {5, 0xff}}), Drop::bad_ip_header},
        {"udp6 cut by the length", changed(v6, {{5, 7}}), Drop::malformed_frame},
        {"icmp6 cut", test::ip_packet(kV6, 58, test::filler(7)), Drop::malformed_frame},
        {"extension cut", v6_with(0, {test::filler(7)}), Drop::malformed_frame},
        {"extension longer than the packet", v6_with(0, {options(17, 1), {}}), Drop::malformed_frame},
        {"extension lies", changed(v6_with(0, {options(17), udp_header()}), {{41, 9}}), Drop::malformed_frame},
        {"extensions beyond 255", v6_with(0, {options(17, 27), udp_header()}), Drop::malformed_frame},
        {"no extension behind its number", v6_with(44, {}), Drop::malformed_frame},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.name);
        const Parsed got = parse(row.packet);
        ASSERT_FALSE(got.verdict.kept());
        EXPECT_EQ(name_of(got.verdict.reason()), name_of(row.reason));
    }
}

TEST(ParseIpTest, TakesExtensionsUpToWhatTheOffsetHolds) {
    // 40 + 208 = 248 is the last multiple of 8 below 256.
    EXPECT_EQ(parse(v6_with(0, {options(17, 25), udp_header()})).meta.l4_offset, 248);
}

TEST(ParseIpTest, SurvivesEveryTruncation) {
    PacketSpec options4 = kV4;
    options4.ip_options = Bytes(12, 1);
    const Bytes packets[] = {
        test::udp_packet(kV4),
        test::tcp_packet(options4),
        test::echo_request(kV4),
        test::udp_packet(kV6),
        test::tcp_packet(kV6),
        test::echo_request(kV6),
        v6_with(0, {options(60, 1), options(44), fragment_header(43, 0, true), options(17, 2), udp_header()}),
    };
    for (const Bytes& packet : packets) {
        ASSERT_TRUE(parse(packet).verdict.kept());
        for (std::size_t length = 0; length < packet.size(); ++length) {
            const Bytes cut(packet.begin(), packet.begin() + static_cast<std::ptrdiff_t>(length));
            EXPECT_FALSE(parse(cut).verdict.kept()) << length;
        }
    }
}

// The length fields follow the truncation: only the headers behind them are missing.
TEST(ParseIpTest, SurvivesEveryHonestTruncation) {
    const Bytes chain =
        v6_with(0, {options(60, 1), options(44), fragment_header(43, 0, true), options(6, 2), test::filler(20)});
    for (std::size_t length = 40; length <= chain.size(); ++length) {
        Bytes cut(chain.begin(), chain.begin() + static_cast<std::ptrdiff_t>(length));
        cut[5] = static_cast<std::uint8_t>(length - 40);
        EXPECT_EQ(parse(cut).verdict.kept(), length == chain.size()) << length;
    }
    for (const auto protocol : std::to_array<std::uint8_t>({1, 6, 17, 50})) {
        for (std::size_t l4 = 0; l4 <= 20; ++l4) {
            const bool whole = l4 >= (protocol == 6 ? 20u : 8u);
            EXPECT_EQ(parse(test::ip_packet(kV4, protocol, test::filler(l4))).verdict.kept(), whole) << l4;
        }
    }
}

TEST(ParseIpTest, AddsToTheFlagsItFinds) {
    PacketSpec spec = kV4;
    spec.fragment = 0x2000;
    ExactPacket p{test::udp_packet(spec)};
    p.meta().flags = meta_flag::kMulticast;
    EXPECT_TRUE(parse_ip(p.mbuf, p.meta()).kept());
    EXPECT_EQ(p.meta().flags, meta_flag::kMulticast | meta_flag::kFragment);
}

TEST(ParseIpTest, RefusesChains) {
    ExactPacket p{test::udp_packet(kV4)};
    p.mbuf.nb_segs = 2;
    EXPECT_EQ(parse_ip(p.mbuf, p.meta()).reason(), Drop::malformed_frame);
}

}  // namespace
}  // namespace twinspan
