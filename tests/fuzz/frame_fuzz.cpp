// Frames from ports, and packets from Linux, through the whole graph. Input: byte 0 says where from (bit 7: Linux, else
// a port), byte 1 how (bit 0: the outer tag was stripped; bit 1: what follows the frame's headers is sealed for tunnel
// 0; bit 2: no room behind the packet; bit 3: tunnel 0's ESP is in UDP), bytes 2 and 3 the stripped tag; the rest is
// the packet.
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

enum : std::uint8_t { kFromLinux = 0x80, kStripped = 1, kSealed = 2, kNoRoom = 4, kInUdp = 8 };
constexpr std::size_t kHead = 4;
constexpr std::size_t kMaxPacket = 1500;

// The input as what the far end of tunnel 0 sends: the inner parser sees any bytes.
test::Bytes sealed(test::GraphWorld& world, std::span<const std::uint8_t> inner, bool in_udp) {
    const VlanTag tag{kEtherTypeVlan, to_be16(300)};
    return test::ethernet_frame(test::SmallWorld::kOurPriMac, test::SmallWorld::kMsee1Mac, {&tag, 1},
                                in_udp ? world.from_peer_in_udp(inner) : world.from_peer(inner));
}

void walk(test::GraphWorld& world, std::span<const std::uint8_t> input) {
    const std::uint8_t how = input[1];
    const auto packet = input.subspan(kHead).first(std::min(input.size() - kHead, kMaxPacket));
    const bool is_sealed = (how & kSealed) != 0 && (input[0] & kFromLinux) == 0;
    const bool in_udp = (how & kInUdp) != 0;
    world.encapsulate(0, in_udp ? 4500 : 0, in_udp ? 4500 : 0);
    test::ExactPacket p{is_sealed ? sealed(world, packet, in_udp) : test::Bytes(packet.begin(), packet.end()),
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
        m->port = is_sealed ? std::uint16_t{test::SmallWorld::kPriPort}
                            : static_cast<std::uint16_t>(input[0] % (world.config.ports.size() + 1));
        world.from_wire({&m, 1});
    }
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
