// A small site with a session table and the graph, walked as a worker walks it, and what must hold after every walk:
// each packet is in exactly one list, and rx + injected + generated = tx + punted + drops.
#pragma once

#include "dataplane/graph.hpp"
#include "tests/support/nat_world.hpp"
#include "tests/support/small_world.hpp"

#include <algorithm>
#include <initializer_list>
#include <span>
#include <vector>

namespace twinspan::test {

class GraphWorld : public SmallWorld {
public:
    explicit GraphWorld(std::uint32_t sessions = 4096) : table({.sessions = sessions, .workers = 1, .seed = 1}, *readers) {
        ctx.nat = &table;
    }

    // Walks at most kBurst packets to their ends. The lists are left for the caller to look at; see forget().
    void from_wire(std::span<rte_mbuf* const> packets) {
        counters.rx.add(packets.size());
        fill(packets);
        graph.from_wire(ctx, batch);
        route_generated();
    }
    void from_linux(std::span<rte_mbuf* const> packets) {
        counters.injected.add(packets.size());
        fill(packets);
        graph.from_linux(ctx, batch);
        route_generated();
    }
    void from_wire(std::initializer_list<TestPacket*> packets) { from_wire(mbufs(packets)); }
    void from_linux(std::initializer_list<TestPacket*> packets) { from_linux(mbufs(packets)); }

    // Every packet of the walk is in one list, and no other is; then empties the lists as a worker does.
    bool ended_once(std::span<rte_mbuf* const> packets) {
        std::vector<rte_mbuf*> in(packets.begin(), packets.end());
        std::vector<rte_mbuf*> out(ctx.dropped.begin(), ctx.dropped.end());
        out.insert(out.end(), ctx.punted.begin(), ctx.punted.end());
        out.insert(out.end(), ctx.generated.begin(), ctx.generated.end());
        for (auto& list : ctx.transmit) {
            out.insert(out.end(), list.begin(), list.end());
        }
        std::ranges::sort(in);
        std::ranges::sort(out);
        forget();
        return in == out;
    }
    bool accounts_are_right() const {
        return counters.rx.read() + counters.injected.read() + counters.generated.read() ==
               counters.tx.read() + counters.punted.read() + all_drops();
    }
    void forget() {
        ctx.dropped.clear();
        ctx.punted.clear();
        ctx.generated.clear();
        for (auto& list : ctx.transmit) {
            list.clear();
        }
    }

    Readers readers{1};
    NatTable table;
    Graph graph;

private:
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
    // An error about an error is never made, so one walk is enough.
    void route_generated() {
        fill({ctx.generated.data(), ctx.generated.size()});
        ctx.generated.clear();
        graph.from_self(ctx, batch);
        counters.punted.add(ctx.punted.size());
        for (const auto& list : ctx.transmit) {
            counters.tx.add(list.size());
        }
    }
};

}  // namespace twinspan::test
