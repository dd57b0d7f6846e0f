// Frames from ports, and packets from Linux, through the whole graph. Input: byte 0 says where from (bit 7: Linux, else
// a port), byte 1 how, bytes 2 and 3 what How needs; the rest is the packet.
#include "tests/support/exact_packet.hpp"
#include "tests/support/graph_world.hpp"

#include <cstdlib>

namespace twinspan {
namespace {

void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

constexpr std::uint8_t kFromLinux = 0x80;
enum How : std::uint8_t {
    kStripped = 1,  // the outer tag was, bytes 2 and 3
    kSealed = 2,  // the packet is sealed for tunnel 0; the outer ECN field is that of byte 2
    kNoRoom = 4,  // behind the packet
    kInUdp = 8,  // tunnel 0's ESP is
    kOverIpv6 = 16,  // tunnel 0's ends have IPv6 addresses
    kDatagram = 32,  // the packet is what UDP brings to port 4500
    kForged = 64,  // of a sealed packet, the bit that bytes 2 and 3 name is changed
};
constexpr std::size_t kHead = 4;
constexpr std::size_t kMaxPacket = 1500;

// The input as what the far end of tunnel 0 sends: the inner parser, or the way to ESP, sees any bytes.
test::Bytes from_peer(test::GraphWorld& world, std::span<const std::uint8_t> input,
                      std::span<const std::uint8_t> packet) {
    const std::uint8_t how = input[1];
    const std::uint8_t tos = input[2] & 3;
    test::Bytes outer;
    if ((how & kDatagram) != 0) {
        outer = world.datagram_by_peer({packet.begin(), packet.end()}, 4500, tos);
    } else {
        outer = (how & kInUdp) != 0 ? world.from_peer_in_udp(packet, 4500, tos) : world.from_peer(packet, tos);
        if ((how & kForged) != 0) {
            const std::size_t esp_at = world.config.tunnels[0].outer_len;
            const std::size_t bit = (std::size_t{input[2]} << 8 | input[3]) % (8 * (outer.size() - esp_at));
            outer[esp_at + bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
        }
    }
    const VlanTag tag{kEtherTypeVlan, to_be16(300)};
    return test::ethernet_frame(test::SmallWorld::kOurPriMac, test::SmallWorld::kMsee1Mac, {&tag, 1}, outer);
}

void walk(test::GraphWorld& world, std::span<const std::uint8_t> input) {
    const std::uint8_t how = input[1];
    const auto packet = input.subspan(kHead).first(std::min(input.size() - kHead, kMaxPacket));
    const bool by_peer = (how & (kSealed | kDatagram)) != 0 && (input[0] & kFromLinux) == 0;
    const std::uint16_t port = (how & kInUdp) != 0 ? 4500 : 0;
    world.between(0, (how & kOverIpv6) != 0 ? "fd10:10::1" : "203.0.113.1",
                  (how & kOverIpv6) != 0 ? "2001:db8::4" : "20.51.0.4");
    world.encapsulate(0, port, port);
    const std::uint64_t opened = (*world.counters.tunnel_rx)[0].packets.read();
    test::ExactPacket p{by_peer ? from_peer(world, input, packet) : test::Bytes(packet.begin(), packet.end()),
                        (how & kNoRoom) != 0 ? 0u : 64u};
    world.ctx.icmp_tokens = 8;
    world.ctx.punt_tokens.fill(8);
    ++world.ctx.now_seconds;
    rte_mbuf* m = &p.mbuf;
    if ((how & kStripped) != 0) {
        m->ol_flags = RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
        m->vlan_tci = static_cast<std::uint16_t>(input[2] << 8 | input[3]);
    }
    if ((input[0] & kFromLinux) != 0) {
        p.meta().netdev = static_cast<std::uint16_t>((input[0] & 0x7fu) % world.config.netdevs.size());
        world.from_linux({&m, 1});
    } else {
        m->port = by_peer ? std::uint16_t{test::SmallWorld::kPriPort}
                          : static_cast<std::uint16_t>(input[0] % (world.config.ports.size() + 1));
        world.from_wire({&m, 1});
    }
    require(!by_peer || (how & (kForged | kDatagram)) == 0 || (*world.counters.tunnel_rx)[0].packets.read() == opened);
    require(m->data_len == m->pkt_len && m->data_off + m->data_len <= m->buf_len);
    require(world.ctx.generated.empty());
    require(world.ended_once({&m, 1}));
    require(world.accounts_are_right());
    world.readers.quiescent(0);
    world.table.age(0, world.ctx.now_seconds, world.config.pools, 256);
}

}  // namespace
}  // namespace twinspan

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static twinspan::test::GraphWorld world;
    if (size >= twinspan::kHead) {
        twinspan::walk(world, {data, size});
    }
    return 0;
}
