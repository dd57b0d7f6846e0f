// A store over a kernel that the test plays, and the world that it feeds.
#pragma once

#include "control/sa/sa_store.hpp"
#include "tests/unit/control/sa/fake_kernel.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace twinspan::test {

// One tunnel with IKE and if_id 1, one with static SAs and if_id 2.
struct Site {
    Site() {
        TunnelConfig ike;
        ike.name = "azure-0";
        ike.if_id = 1;
        ike.local = IpAddress::parse("203.0.113.1").value();
        ike.remote = IpAddress::parse("20.51.0.4").value();
        ike.ike.emplace();
        TunnelConfig fixed = ike;
        fixed.name = "azure-1";
        fixed.if_id = 2;
        fixed.ike.reset();
        world.config.tunnels = {ike, fixed};
        world.config.legs.resize(1);
        start();
    }
    void start() {
        store =
            std::make_unique<SaStore>(Engine::create().value(), world, metrics, std::make_unique<SharedKernel>(kernel));
        store->set_workers({[this](std::span<const std::size_t>) {
            ++publications;
            return std::chrono::nanoseconds{0};
        }, [this] { ++synchronized; }});
    }
    // As the mirror does after a start.
    void dump() {
        store->begin_dump();
        std::vector<const FakeSa*> all;
        for (const auto& [id, sa] : kernel.sas) {
            all.push_back(&sa);
        }
        std::ranges::reverse(all);
        for (const FakeSa* sa : all) {
            store->apply(kernel.event(*sa));
        }
        store->end_dump(true);
        store->commit();
    }
    // All of what Linux has now, in one go.
    std::uint64_t audit() {
        store->begin_audit();
        for (const auto& [id, sa] : kernel.sas) {
            store->audit(kernel.event(sa));
        }
        return store->end_audit();
    }
    void crash() {
        store.reset();
        world.sas.clear();
        start();
        dump();
    }
    netlink::SaId add(std::uint32_t spi, bool outbound, std::uint8_t key) {
        const FakeSa& sa = kernel.add(spi, outbound, key, ++clock);
        store->apply(kernel.event(sa));
        store->commit();
        return sa.id;
    }
    void remove(netlink::SaId id) {  // a copy: it may be the id of what is erased
        kernel.sas.erase(id);
        store->apply(netlink::SaDeleted{id});
        store->commit();
    }
    // Until a new outbound SA takes over from one that nobody deletes.
    void wait_for_take_over() {
        for (unsigned i = 0; i < 200; ++i) {
            store->tick();
        }
    }
    TunnelSas& tunnel() { return world.sas[0]; }

    FakeKernel kernel;
    World world;
    Metrics metrics;
    unsigned publications = 0;
    unsigned synchronized = 0;
    std::uint64_t clock = 1000;
    std::unique_ptr<SaStore> store;
};

}  // namespace twinspan::test
