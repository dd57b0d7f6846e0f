// What must hold after every walk through the NAT, whatever came: see NatInvariants.
#pragma once

#include "tests/fuzz/packet_sums.hpp"
#include "tests/support/graph_world.hpp"

#include <deque>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

namespace twinspan::test {

inline GraphWorld& nat_fuzz_world() {
    static GraphWorld world;
    static bool fresh = true;
    if (std::exchange(fresh, false)) {
        const RouteResult lan{RouteKind::forward, SmallWorld::kLanHost};
        world.fib.insert4("10.10.0.11", 32, lan);
        world.fib.insert4("10.10.0.12", 32, lan);
        world.fib.insert4("10.10.1.0", 24, lan);
        world.fib.insert4("10.10.255.1", 32, RouteResult{RouteKind::pool, 0});
    }
    return world;
}

// Each packet ends in one list; what leaves is translated, and its checksums are as good as they came; a session is
// found from both its ends, which are its own; records come back when all has ended.
class NatInvariants {
public:
    NatInvariants(GraphWorld& world, NatTable& table) : world_(world), table_(table) {
        world_.ctx.now_seconds = 1000;
        world_.ctx.now_tsc = 1000;
    }

    // One burst. `good`: the checksums of all of it are right. `closed`: none of it may begin a session.
    void walk(const std::vector<Bytes>& frames, std::uint16_t port, bool good, bool closed) {
        std::deque<ExactPacket> packets;
        std::vector<rte_mbuf*> burst;
        for (const Bytes& frame : frames) {
            burst.push_back(&packets.emplace_back(frame, std::size_t{64}).mbuf);
            burst.back()->port = port;
        }
        world_.ctx.icmp_tokens = 8;
        world_.ctx.punt_tokens.fill(8);
        const std::uint64_t opened = opened_sessions();
        world_.from_wire(burst);
        require(!closed || opened_sessions() == opened);
        for (std::uint16_t out = 0; out < world_.ctx.transmit.size(); ++out) {
            for (const rte_mbuf* m : world_.ctx.transmit[out]) {
                const auto at = static_cast<std::size_t>(std::ranges::find(burst, m) - burst.begin());
                const Bytes* came = at == burst.size() ? nullptr : &frames[at];
                look_at(packet_in(*m, out), out, came == nullptr ? std::span<const std::uint8_t>{} : ip_of(*came, port),
                        good);
            }
        }
        require(world_.ctx.aside.empty() && world_.ctx.oversize.empty() && world_.ctx.generated.empty());
        require(world_.ended_once(burst));
        require(world_.accounts_are_right());
        world_.readers.quiescent(0);
        look_at_sessions();
    }

    // Packets that left, and by which port.
    std::vector<std::pair<Bytes, std::uint16_t>> take_sent() { return std::exchange(sent_, {}); }

    void age() {
        world_.reassembly.expire(world_.ctx.now_tsc, world_.counters);
        for (int i = 0; i < 3; ++i) {  // unlink, wait, free
            table_.age(0, world_.ctx.now_seconds, world_.config.pools, 1u << 20);
            world_.readers.quiescent(0);
        }
        look_at_sessions();
    }

    // After more time than anything lasts.
    void nothing_left() {
        require(world_.counters.held.read() == 0);
        require(table_.usage(0).sessions == 0 && table_.usage(1).sessions == 0);
        const NatPool plain = nat_pool({"198.51.100.1"});
        for (std::uint32_t i = 0; i < table_.capacity(); ++i) {
            const NatKey key =
                nat_key(to_be32(0x0a0a0000 + i), ip4("13.107.6.9"), to_be16(2000), to_be16(443), +IpProtocol::udp);
            require(table_.open(0, key, plain, world_.ctx.now_seconds).session != nullptr);
        }
    }

private:
    static std::span<const std::uint8_t> ip_of(const Bytes& frame, std::uint16_t port) {
        return std::span{frame}.subspan(port == SmallWorld::kLanPort ? 14 : 18);
    }
    static std::span<const std::uint8_t> packet_in(const rte_mbuf& m, std::uint16_t port) {
        require(m.data_len == m.pkt_len && m.data_off + m.data_len <= m.buf_len);
        const std::size_t link = port == SmallWorld::kLanPort ? 14 : 18;
        require(m.data_len >= link + 20);
        return {rte_pktmbuf_mtod_offset(&m, const std::uint8_t*, link), m.data_len - link};
    }

    // `came`: what was in the same buffer; empty: it is of our making.
    void look_at(std::span<const std::uint8_t> packet, std::uint16_t port, std::span<const std::uint8_t> came,
                 bool good) {
        if (packet[0] >> 4 != 4 || (packet[9] == +IpProtocol::esp && packet[12] == 203)) {
            return;  // IPv6 is not translated, and what is in a tunnel is not seen
        }
        const PacketSums sums{packet};
        require(sums.whole());
        const bool ours = is_ours(sums.source());
        if (port == SmallWorld::kLanPort) {
            require(sums.destination().host() >> 16 == (10u << 8 | 10));
        } else {
            require(ours || is_in_pool(world_.config.pools[0], sums.source()));
            require(sums.destination().host() >> 24 != 10);
        }
        sent_.emplace_back(Bytes(packet.begin(), packet.end()), port);
        const bool made = came.empty() || (sums.is_error() && !PacketSums{came}.is_error());
        require(!(good || (made && sums.is_error())) || sums.all_right());
        require(made || sums.as_good_as(PacketSums{came}));
    }

    bool is_ours(be32 address) const {
        return std::ranges::any_of(world_.config.legs, [&](const Leg& leg) { return leg.address4 == address; });
    }
    static bool is_in_pool(const NatPool& pool, be32 address) {
        return pool.holds(address) || pool.statics.uses(address);
    }

    std::uint64_t opened_sessions() const { return table_.usage(0).opened + table_.usage(1).opened; }

    void look_at_sessions() {
        std::set<std::pair<std::uint64_t, std::uint64_t>> insides, outsides;
        table_.for_each(table_.capacity(), [&](const NatSessionView& view) {
            const NatKey in = view.inside, out = view.outside;
            require(insides.emplace(in.addresses, in.rest).second);
            require(outsides.emplace(out.addresses, out.rest).second);
            const NatSession* session = table_.find_inside(in);
            require(session != nullptr && session == table_.find_outside(out));
            const NatPool& pool = world_.config.pools.at(in.pool());
            require(is_in_pool(pool, out.address()) && in.protocol() == out.protocol());
            if (in.remote() != out.remote() || in.remote_port() != out.remote_port()) {
                require(pool.stands_for_outside(in.remote()));
            }
            const NatStatic* mapping = pool.statics.from_outside(out.address(), out.protocol(), out.port());
            if (mapping != nullptr) {
                require(mapping->inside == in.address() && mapping->to_inside(out.port()) == in.port());
            }
        });
    }

    GraphWorld& world_;
    NatTable& table_;
    std::vector<std::pair<Bytes, std::uint16_t>> sent_;
};

}  // namespace twinspan::test
