#include "tests/support/exact_packet.hpp"
#include "tests/support/fragments.hpp"
#include "tests/support/graph_world.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <vector>

namespace twinspan {
namespace {

using test::Bytes;
using test::ExactPacket;
using test::PacketSpec;

// Valid packets with bytes changed, on ports and netdevs where they belong or do not.
struct GraphProperty : testing::Test, test::GraphWorld {
    static constexpr std::array<VlanTag, 1> kTag{VlanTag{kEtherTypeVlan, to_be16(300)}};
    unsigned below(unsigned n) { return static_cast<unsigned>(random() % n); }

    Bytes valid_inner() {
        static const char* const kAddresses[] = {"10.10.0.10", "10.10.0.77",  "10.20.1.2",   "10.21.1.2",
                                                 "10.22.1.2",  "10.23.0.1",   "10.10.9.9",   "8.8.8.8",
                                                 "13.107.6.9", "13.107.7.9",  "203.0.113.1", "198.51.100.3",
                                                 "224.0.0.5",  "192.0.2.200", "10.10.0.1",   "198.51.100.17"};
        static const char* const kAddresses6[] = {"fd10:10::10", "fd10:20::2", "2001:db8::1", "fd10:10::1", "ff02::5"};
        PacketSpec spec{
            .src_port = static_cast<std::uint16_t>(below(4)), .dst_port = 443, .payload = test::filler(below(1500))};
        const bool v6 = below(4) == 0;
        spec.src = v6 ? kAddresses6[below(5)] : kAddresses[below(16)];
        spec.dst = v6 ? kAddresses6[below(5)] : kAddresses[below(16)];
        spec.ttl = static_cast<std::uint8_t>(below(3) == 0 ? below(3) : 64);
        spec.fragment = below(8) == 0 ? static_cast<std::uint16_t>(random()) : 0;
        switch (below(6)) {
            case 0:
                spec.tcp_flags = kTcpSyn;
                spec.tcp_options = {1, 2, 4, 0x23, 0, 0, 0, 0};
                return test::tcp_packet(spec);
            case 1:
                return test::echo_request(spec);
            case 2:
                return test::echo_reply(spec);
            case 3:
                return test::icmp_error_packet(spec, v6 ? 1 : 3, 1, test::udp_packet({}));
            case 4:
                spec.payload.resize(spec.payload.size() % 200);
                return test::tcp_packet(spec);
            default:
                return test::udp_packet(spec);
        }
    }
    Bytes valid_frame(std::uint16_t& port) {
        Bytes inside = valid_inner();
        if (inside.size() > 1446) {
            inside.resize(1446);
        }
        switch (below(3)) {
            case 0:
                port = kLanPort;
                return test::ethernet_frame(kOurLanMac, kHostMac, {}, inside);
            case 1:
                port = kPriPort;
                return test::ethernet_frame(kOurPriMac, kMsee1Mac, kTag, from_peer(inside));
            default:
                port = kSecPort;
                return test::ethernet_frame(kOurSecMac, kMsee2Mac, kTag, inside);
        }
    }
    void mutate(Bytes& bytes) {
        for (unsigned n = below(3); n > 0 && !bytes.empty(); --n) {
            switch (below(4)) {
                case 0:
                    bytes[below(static_cast<unsigned>(bytes.size()))] = static_cast<std::uint8_t>(random());
                    break;
                case 1:
                    bytes[below(static_cast<unsigned>(std::min<std::size_t>(bytes.size(), 64)))] ^=
                        static_cast<std::uint8_t>(1u << below(8));
                    break;
                case 2:
                    bytes.resize(below(static_cast<unsigned>(bytes.size()) + 1));
                    break;
                default:
                    bytes.resize(bytes.size() + below(40), 0x5a);
                    break;
            }
        }
    }
    // A frame of ESP, or UDP, or anything, for us and in pieces; some are lost, some come twice.
    std::vector<Bytes> frames_in_pieces() {
        static const std::uint8_t kProtocols[] = {50, 17, 1, 6};
        const std::size_t size = 8 * (below(6) == 0 ? 1 : 1 + below(150));
        const Bytes whole =
            below(2) == 0 ? from_peer(valid_inner())
                          : test::ip_packet(
                                {.src = "20.51.0.4", .dst = "203.0.113.1", .id = static_cast<std::uint16_t>(below(64))},
                                kProtocols[below(4)], test::filler(8 + below(1500)));
        std::vector<Bytes> out;
        for (const Bytes& part : test::fragments4(whole, size)) {
            for (unsigned times = below(8) == 0 ? below(3) : 1; times > 0; --times) {
                out.push_back(test::ethernet_frame(kOurPriMac, kMsee1Mac, kTag, part));
            }
        }
        std::ranges::shuffle(out, random);
        out.resize(std::min<std::size_t>(out.size(), kBurst));
        return out;
    }
    std::mt19937_64 random{20240607};
};

TEST_F(GraphProperty, EveryPacketEndsOnce) {
    constexpr unsigned kPackets = 100'000;
    config.egresses[kToLanHost].mtu = 700;
    unsigned walked = 0;
    while (walked < kPackets) {
        ctx.icmp_tokens = below(3) == 0 ? below(8) : 1000;
        ctx.punt_tokens.fill(below(3) == 0 ? below(8) : 1000);
        const bool wire = below(3) != 0;
        std::vector<std::unique_ptr<ExactPacket>> packets;
        std::vector<rte_mbuf*> mbufs;
        std::vector<Bytes> pieces = wire && below(3) == 0 ? frames_in_pieces() : std::vector<Bytes>{};
        buffers_left = below(8) == 0 ? below(8) : 1000;
        ctx.now_tsc += below(kReassemblyTimeout / 64);
        for (std::size_t n = std::max<std::size_t>(pieces.size(), 1 + below(kBurst)); n > 0; --n) {
            std::uint16_t port = 0;
            Bytes bytes = wire || below(2) == 0 ? valid_frame(port) : valid_inner();
            const bool piece = !pieces.empty();
            if (piece) {
                bytes = std::move(pieces.back());
                pieces.pop_back();
                port = kPriPort;
            }
            if (!piece || below(8) == 0) {
                mutate(bytes);
            }
            packets.push_back(std::make_unique<ExactPacket>(bytes, below(8) == 0 ? 0 : 64));
            rte_mbuf& m = packets.back()->mbuf;
            m.port = static_cast<std::uint16_t>(below(8) == 0 ? below(4) : port);
            meta(m).netdev = static_cast<std::uint16_t>(below(static_cast<unsigned>(config.netdevs.size())));
            if (below(16) == 0) {
                m.ol_flags = RTE_MBUF_F_RX_VLAN_STRIPPED;
                m.vlan_tci = below(2) == 0 ? 300 : static_cast<std::uint16_t>(random());
            }
            mbufs.push_back(&m);
        }
        wire ? from_wire(mbufs) : from_linux(mbufs);
        walked += static_cast<unsigned>(mbufs.size());
        ASSERT_TRUE(ctx.generated.empty());
        ASSERT_TRUE(ended_once(mbufs)) << "after " << walked;
        reassembly.expire(ctx.now_tsc, counters);
        ASSERT_TRUE(accounts_are_right()) << "after " << walked;
    }
    // The walk went everywhere.
    EXPECT_GT(counters.tx.read(), kPackets / 12);
    EXPECT_GT(counters.punted.read(), kPackets / 100);
    EXPECT_GT(counters.generated.read(), kPackets / 100);
    EXPECT_GT(counters.fragmented.read(), kPackets / 1000);
    EXPECT_GT(counters.merged.read(), kPackets / 2000);
    for (const Drop reason :
         {Drop::malformed_frame,    Drop::unknown_vlan,      Drop::not_for_us,        Drop::unknown_ethertype,
          Drop::bad_ip_header,      Drop::no_route,          Drop::hop_limit_expired, Drop::policy_denied,
          Drop::encrypt_required,   Drop::unsolicited,       Drop::tunnel_down,       Drop::no_headroom,
          Drop::esp_auth_failed,    Drop::punt_rate_limited, Drop::inject_bad_packet, Drop::too_big,
          Drop::nat_no_session,     Drop::no_mbuf,           Drop::fragment_tiny,     Drop::fragment_overlap,
          Drop::fragment_duplicate, Drop::fragment_too_many, Drop::fragment_timeout,  Drop::fragment_table_full}) {
        EXPECT_GT(drops(reason), 0u) << name_of(reason);
    }
}

}  // namespace
}  // namespace twinspan
