// A small site with a session table and the graph, walked as a worker walks it, and what must hold after every walk:
// each packet is in exactly one list, and the equation of WorkerCounters.
#pragma once

#include "dataplane/graph.hpp"
#include "dataplane/state/reassembly.hpp"
#include "tests/support/nat_world.hpp"
#include "tests/support/small_world.hpp"

#include <algorithm>
#include <initializer_list>
#include <span>
#include <vector>

namespace twinspan::test {

class GraphWorld : public SmallWorld {
public:
    explicit GraphWorld(std::uint32_t sessions = 4096, std::uint64_t seed = 1)
        : table({.sessions = sessions, .workers = 1, .seed = seed}, *readers),
          reassembly({.datagrams = 6, .timeout_tsc = kReassemblyTimeout}) {
        ctx.nat = &table;
        ctx.reassembly = &reassembly;
    }

    // Walks at most kBurst packets to their ends. The lists are left for the caller to look at; see forget().
    void from_wire(std::span<rte_mbuf* const> packets) {
        counters.rx.add(packets.size());
        fill(packets);
        graph.from_wire(ctx, batch);
        end_walk();
    }
    void from_linux(std::span<rte_mbuf* const> packets) {
        counters.injected.add(packets.size());
        fill(packets);
        graph.from_linux(ctx, batch);
        end_walk();
    }
    void from_wire(std::initializer_list<TestPacket*> packets) { from_wire(mbufs(packets)); }
    void from_linux(std::initializer_list<TestPacket*> packets) { from_linux(mbufs(packets)); }

    // This inner packet, whatever it is, as the far end of tunnel 0 sends it: outer header and ESP.
    Bytes from_peer(std::span<const std::uint8_t> inner, std::uint8_t tos = 0) {
        PacketSpec spec = outer_by_peer();
        spec.tos = tos;
        return ip_packet(spec, +IpProtocol::esp, sealed_by_peer(inner));
    }
    // The same in UDP (RFC 3948).
    Bytes from_peer_in_udp(std::span<const std::uint8_t> inner, std::uint16_t dst_port = 4500, std::uint8_t tos = 0) {
        return datagram_by_peer(sealed_by_peer(inner), dst_port, tos);
    }
    // Any bytes in such a datagram.
    Bytes datagram_by_peer(const Bytes& payload, std::uint16_t dst_port = 4500, std::uint8_t tos = 0) {
        PacketSpec spec = outer_by_peer();
        spec.src_port = 1024;
        spec.dst_port = dst_port;
        spec.payload = payload;
        spec.tos = tos;
        spec.udp_checksum = !config.tunnels[0].local.is_v4();
        return udp_packet(spec);
    }
    Bytes sealed_by_peer(std::span<const std::uint8_t> inner) {
        Bytes esp(kPayloadOffset + inner.size() + kEspMaxRoom);
        std::ranges::copy(inner, esp.begin() + kPayloadOffset);
        const std::uint8_t next_header = !inner.empty() && inner[0] >> 4 == 6 ? kNextHeaderIpv6 : kNextHeaderIpv4;
        esp.resize(peer0->seal_in_place(engine, ++peer_sequence_, esp.data(), inner.size(), next_header));
        return esp;
    }

    // Every packet of the walk is in one list, and no other is; then empties the lists as a worker does.
    bool ended_once(std::span<rte_mbuf* const> packets) {
        std::vector<rte_mbuf*> in(packets.begin(), packets.end());
        for (const ExactPacket& p : made) {
            in.push_back(&p.mbuf);
        }
        put_away();
        std::vector<rte_mbuf*> out = std::move(away);
        std::ranges::sort(in);
        std::ranges::sort(out);
        forget();
        return in == out;
    }
    void forget() {
        made.clear();
        away.clear();
        ctx.dropped.clear();
        ctx.punted.clear();
        ctx.generated.clear();
        ctx.handed.clear();
        for (auto& list : ctx.transmit) {
            list.clear();
        }
    }

    static constexpr std::uint64_t kReassemblyTimeout = 1'000'000;  // of ctx.now_tsc

    Readers readers{1};
    NatTable table;
    Reassembly reassembly;
    Graph graph;
    std::vector<rte_mbuf*> away;  // came to their ends before the last walk

private:
    PacketSpec outer_by_peer() const {
        return {.src = config.tunnels[0].remote.text(), .dst = config.tunnels[0].local.text()};
    }
    static std::vector<rte_mbuf*> mbufs(std::initializer_list<TestPacket*> packets) {
        std::vector<rte_mbuf*> out;
        for (TestPacket* p : packets) {
            out.push_back(&p->mbuf);
        }
        return out;
    }
    void fill(std::span<rte_mbuf* const> packets) {
        batch.clear();
        for (rte_mbuf* m : packets) {
            batch.push(m);
        }
    }
    // As Worker does. An error about an error is never made, so one walk is enough for them.
    void end_walk() {
        settle();
        while (!ctx.oversize.empty()) {
            cut_oversize();
        }
        count();
    }
    void settle() {
        take_aside();
        fill({ctx.generated.data(), ctx.generated.size()});
        ctx.generated.clear();
        graph.from_self(ctx, batch);
        take_aside();
    }
    void cut_oversize() {
        PacketList<kBurst> waiting = ctx.oversize;
        ctx.oversize.clear();
        for (rte_mbuf* m : waiting) {
            if (std::ranges::any_of(ctx.transmit, [](const auto& list) { return list.size() > kBurst; })) {
                count();
                put_away();
            }
            fill({&m, 1});
            graph.from_oversize(ctx, batch);
            settle();
            if (!ctx.fragments.empty()) {
                fill({ctx.fragments.data(), ctx.fragments.size()});
                ctx.fragments.clear();
                graph.from_fragments(ctx, batch);
            }
        }
    }
    void take_aside() {
        while (!ctx.aside.empty()) {
            fill({ctx.aside.data(), ctx.aside.size()});
            ctx.aside.clear();
            graph.from_aside(ctx, batch);
        }
    }
    void count() {
        counters.punted.add(ctx.punted.size());
        counters.handed.add(ctx.handed.size());
        for (const auto& list : ctx.transmit) {
            counters.tx.add(list.size());
        }
    }
    void put_away() {
        const auto take = [this](auto& list) {
            away.insert(away.end(), list.begin(), list.end());
            list.clear();
        };
        take(ctx.dropped);
        take(ctx.punted);
        take(ctx.generated);
        take(ctx.handed);
        std::ranges::for_each(ctx.transmit, take);
    }

    std::uint64_t peer_sequence_ = 0;
};

}  // namespace twinspan::test
