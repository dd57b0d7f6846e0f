// Protocols without ports through the whole graph, where the pool takes them: by address alone.
#include "tests/support/graph_nat_world.hpp"

#include <gtest/gtest.h>

namespace twinspan {
namespace {

using test::Bytes;
using test::filler;
using test::PacketSpec;

constexpr const char* kHost = "10.10.0.10";
constexpr const char* kOther = "10.10.0.11";
constexpr const char* kServer = "13.107.7.9";  // by the primary link
constexpr std::uint8_t kGre = 47, kDccp = 33, kUdpLite = 136;

struct GraphNatProtocols : testing::Test, test::GraphNatWorld {
    GraphNatProtocols() { config.pools[0].any_protocol = true; }
    static PacketSpec spec(const char* src, const char* dst, std::uint8_t ttl = 64) {
        return {.src = src, .dst = dst, .ttl = ttl};
    }
    // With the checksum that UDP-Lite and DCCP have where UDP has its own, over all of it (RFC 3828, RFC 4340).
    static Bytes summed(const PacketSpec& spec, std::uint8_t protocol, Bytes l4) {
        l4[6] = l4[7] = 0;
        Bytes packet = test::ip_packet(spec, protocol, l4);
        const std::uint16_t sum =
            test::transport_checksum(std::span{packet}.subspan(12, 8), protocol, std::span{packet}.subspan(20));
        packet[26] = static_cast<std::uint8_t>(sum >> 8);
        packet[27] = static_cast<std::uint8_t>(sum);
        return packet;
    }
};

TEST_F(GraphNatProtocols, ChecksumsOfAddressesFollow) {
    for (const std::uint8_t protocol : {kUdpLite, kDccp}) {
        const auto packet = [&](const char* src, const char* dst, std::uint8_t ttl = 64) {
            return summed(spec(src, dst, ttl), protocol, filler(20));
        };
        EXPECT_EQ(walk(from_lan(packet(kHost, kServer)), kPriPort), packet(kPool, kServer, 63)) << int{protocol};
        EXPECT_EQ(walk(from_msee(packet(kServer, kPool)), kLanPort), packet(kServer, kHost, 63));
        const auto error = [&](const char* to, std::size_t quoted, const Bytes& about, std::uint8_t ttl = 64) {
            return test::icmp_error_packet(spec(kServer, to, ttl), 3, 1, std::span{about}.first(quoted));
        };
        for (const std::size_t quoted : {std::size_t{28}, std::size_t{40}}) {
            EXPECT_EQ(walk(from_msee(error(kPool, quoted, packet(kPool, kServer))), kLanPort),
                      error(kHost, quoted, packet(kHost, kServer), 63));
        }
    }
}

TEST_F(GraphNatProtocols, OthersChangeNothingButTheAddress) {
    for (const std::size_t bytes : {std::size_t{0}, std::size_t{7}, std::size_t{8}, std::size_t{101}}) {
        const auto packet = [&](const char* src, const char* dst, std::uint8_t ttl = 64) {
            return test::ip_packet(spec(src, dst, ttl), kGre, filler(bytes));
        };
        EXPECT_EQ(walk(from_lan(packet(kHost, kServer)), kPriPort), packet(kPool, kServer, 63)) << bytes;
        EXPECT_EQ(walk(from_msee(packet(kServer, kPool)), kLanPort), packet(kServer, kHost, 63));
    }
    EXPECT_EQ(table.usage(0).opened, 1u);
}

// Too short for a checksum: what lies behind the packet in its buffer is nobody's.
TEST_F(GraphNatProtocols, HalfAChecksumIsLeftAlone) {
    for (const std::size_t bytes : {std::size_t{0}, std::size_t{6}, std::size_t{7}}) {
        test::TestPacket& p = from_lan(test::ip_packet(spec(kHost, kServer), kUdpLite, filler(bytes)));
        auto* behind = rte_pktmbuf_mtod_offset(&p.mbuf, std::uint8_t*, p.mbuf.data_len);
        std::fill_n(behind, 8, std::uint8_t{0x55});
        EXPECT_EQ(walk(p, kPriPort), test::ip_packet(spec(kPool, kServer, 63), kUdpLite, filler(bytes))) << bytes;
        behind = rte_pktmbuf_mtod_offset(&p.mbuf, std::uint8_t*, p.mbuf.data_len);
        EXPECT_TRUE(std::all_of(behind, behind + 8, [](std::uint8_t b) { return b == 0x55; })) << bytes;
    }
}

// RFC 792: an error quotes eight bytes of the data, or all of it.
TEST_F(GraphNatProtocols, ErrorsQuoteWhatThereIs) {
    const auto packet = [](const char* src, const char* dst, std::uint8_t protocol, std::size_t bytes) {
        return test::ip_packet(spec(src, dst), protocol, filler(bytes));
    };
    for (const std::uint8_t protocol : {kGre, kDccp}) {
        for (const std::size_t bytes : {std::size_t{0}, std::size_t{4}, std::size_t{7}}) {
            from_wire({&from_lan(packet(kHost, kServer, protocol, bytes))});
            forget();
            const auto error = [&](const char* to, const char* src, std::uint8_t ttl) {
                return test::icmp_error_packet(spec(kServer, to, ttl), 3, 1, packet(src, kServer, protocol, bytes));
            };
            test::TestPacket& p = from_msee(error(kPool, kPool, 64));
            auto* behind = rte_pktmbuf_mtod_offset(&p.mbuf, std::uint8_t*, p.mbuf.data_len);
            std::fill_n(behind, 8, std::uint8_t{0x55});
            EXPECT_EQ(walk(p, kLanPort), error(kHost, kHost, 63)) << bytes;
            behind = rte_pktmbuf_mtod_offset(&p.mbuf, std::uint8_t*, p.mbuf.data_len);
            EXPECT_TRUE(std::all_of(behind, behind + 8, [](std::uint8_t b) { return b == 0x55; })) << bytes;
        }
    }
}

TEST_F(GraphNatProtocols, AnAddressIsOneHostsTowardsEachRemote) {
    const auto gre = [](const char* src, const char* dst, std::uint8_t ttl = 64) {
        return test::ip_packet(spec(src, dst, ttl), kGre, filler(9));
    };
    EXPECT_EQ(walk(from_lan(gre(kHost, kServer)), kPriPort), gre(kPool, kServer, 63));
    end(from_lan(gre(kOther, kServer)), Drop::nat_ports_exhausted);
    EXPECT_EQ(walk(from_lan(gre(kOther, "13.107.7.10")), kPriPort), gre(kPool, "13.107.7.10", 63));
    end(from_msee(gre("13.107.7.11", kPool)), Drop::nat_no_session);
    config.pools[0].any_protocol = false;
    end(from_lan(gre(kHost, kServer)), Drop::nat_unsupported);
}

}  // namespace
}  // namespace twinspan
