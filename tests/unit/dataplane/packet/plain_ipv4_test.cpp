// parse_plain_ipv4 against parse_ip: it takes exactly the packets that it is made for, and understands them alike.
#include "dataplane/packet/plain_ipv4.hpp"

#include "dataplane/packet/parse_ip.hpp"
#include "tests/support/checksum.hpp"
#include "tests/support/exact_packet.hpp"
#include "tests/support/packet_builder.hpp"

#include <gtest/gtest.h>

#include <random>

namespace twinspan {
namespace {

using test::Bytes;
using test::ExactPacket;

bool takes(const Bytes& packet) {
    ExactPacket p{packet};  // with nothing behind its last byte
    PacketMeta& pm = p.meta();
    pm.flags = 0;
    PlainIpv4 plain{};
    const bool taken = packet.size() >= kPlainMinBytes &&
                       parse_plain_ipv4(p.bytes().data(), static_cast<unsigned>(packet.size()), plain);
    const bool kept = parse_ip(p.mbuf, pm).kept();
    const bool of_its_kind =
        kept && pm.ip == IpVersion::v4 && pm.flags == 0 && pm.l4_offset == sizeof(Ipv4Header) &&
        (pm.protocol == +IpProtocol::tcp || pm.protocol == +IpProtocol::udp || pm.protocol == +IpProtocol::esp);
    EXPECT_EQ(taken, of_its_kind);
    if (taken && of_its_kind) {
        EXPECT_EQ(plain.length, pm.l3_length);
        EXPECT_EQ(plain.protocol, pm.protocol);
        EXPECT_EQ(plain.ports & 0xffff, pm.src_port.raw);
        EXPECT_EQ(plain.ports >> 16, pm.dst_port.raw);
    }
    return taken;
}

Bytes packet_of(std::uint8_t protocol, std::size_t payload = 40) {
    return test::ip_packet({.src = "10.10.0.10", .dst = "13.107.6.9", .payload = {}}, protocol, test::filler(payload));
}

TEST(PlainIpv4Test, TakesTcpUdpAndEsp) {
    for (const IpProtocol protocol : {IpProtocol::tcp, IpProtocol::udp, IpProtocol::esp}) {
        EXPECT_TRUE(takes(packet_of(+protocol)));
    }
}

TEST(PlainIpv4Test, EveryProtocolAndLength) {
    for (unsigned protocol = 0; protocol < 256; ++protocol) {
        for (std::size_t payload = 0; payload < 48; ++payload) {
            takes(packet_of(static_cast<std::uint8_t>(protocol), payload));
        }
    }
}

TEST(PlainIpv4Test, EveryChecksum) {
    Bytes packet = packet_of(+IpProtocol::udp);
    unsigned taken = 0;
    for (unsigned sum = 0; sum < 0x10000; ++sum) {
        packet[10] = static_cast<std::uint8_t>(sum >> 8);
        packet[11] = static_cast<std::uint8_t>(sum);
        taken += takes(packet) ? 1 : 0;
    }
    EXPECT_EQ(taken, 1u);
}

TEST(PlainIpv4Test, EveryFragmentField) {
    Bytes packet = packet_of(+IpProtocol::udp);
    for (unsigned field = 0; field < 0x10000; ++field) {
        packet[6] = static_cast<std::uint8_t>(field >> 8);
        packet[7] = static_cast<std::uint8_t>(field);
        test::set_ipv4_checksum(packet);
        takes(packet);
    }
}

TEST(PlainIpv4Test, RandomHeaders) {
    std::mt19937 random{1};
    unsigned taken = 0;
    for (unsigned i = 0; i < 50'000; ++i) {
        Bytes packet = packet_of(i % 3 == 0 ? +IpProtocol::tcp : +IpProtocol::udp, random() % 60);
        for (unsigned changes = random() % 4; changes > 0; --changes) {
            packet[random() % 20] = static_cast<std::uint8_t>(random() % 3 == 0 ? random() : random() % 70);
        }
        if (random() % 8 != 0) {
            test::set_ipv4_checksum(packet);
        }
        taken += takes(packet) ? 1 : 0;
    }
    EXPECT_GT(taken, 12'000u);
    EXPECT_LT(taken, 38'000u);
}

}  // namespace
}  // namespace twinspan
