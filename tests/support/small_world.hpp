// A small site for tests of stages and of the graph, without EAL: a LAN leg, Microsoft and public legs on both links,
// a pool on each, two tunnels, and a naive FIB. Addresses are those of the lab.
#pragma once

#include "crypto/ipsec_mb.hpp"
#include "crypto/sa.hpp"
#include "dataplane/config/snapshot.hpp"
#include "dataplane/packet/batch.hpp"
#include "tests/support/exact_packet.hpp"
#include "tests/support/packet_builder.hpp"
#include "tests/support/test_packet.hpp"

#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace twinspan::test {

// What the layout of a GCM packet comes to.
inline constexpr EspLayout kLayout = layout_of(Suite::aes_256_gcm);
inline constexpr std::size_t kPayloadOffset = payload_offset(kLayout);

// Longest prefix match by looking at every prefix: the oracle, and good enough for a handful.
class NaiveFib {
public:
    void insert4(const std::string& prefix, unsigned length, RouteResult result);
    void insert6(const std::string& prefix, unsigned length, RouteResult result);
    Lookup4 lookup4() const;
    Lookup6 lookup6() const;

private:
    struct Entry4 {
        std::uint32_t prefix;
        unsigned length;
        RouteResult result;
    };
    struct Entry6 {
        Ipv6Address prefix;
        unsigned length;
        RouteResult result;
    };
    static void find4(const void* self, const std::uint32_t* dst, std::uint64_t* out, unsigned n) noexcept;
    static void find6(const void* self, const Ipv6Address* dst, std::uint64_t* out, unsigned n) noexcept;
    std::vector<Entry4> v4_;
    std::vector<Entry6> v6_;
};

class SmallWorld {
public:
    // Legs, ports, egresses, groups and netdevs, by index.
    enum LegIndex : std::uint16_t { kLan, kMsftPri, kMsftSec, kPubPri, kPubSec };
    enum PortIndex : std::uint16_t { kLanPort, kPriPort, kSecPort };
    enum EgressIndex : std::uint16_t {
        kToLanHost,
        kToMsftPri,
        kToMsftSec,
        kOuterPri,
        kOuterSec,
        kIntoTunnel0,
        kIntoTunnel1,
        kDown,
        kGlean
    };
    enum GroupIndex : std::uint16_t {
        kLanHost,
        kMsftBoth,
        kMsftPrimary,
        kTunnelsBoth,
        kTunnel0Only,
        kAllDown,
        kUnresolved
    };
    enum NetdevIndex : std::uint16_t { kLanTap, kMsftPriTap, kMsftSecTap, kPubPriTap, kPubSecTap, kTun0, kTun1 };

    static constexpr MacAddress kOurLanMac{2, 0, 0, 0, 0, 1}, kOurPriMac{2, 0, 0, 0, 0, 2},
        kOurSecMac{2, 0, 0, 0, 0, 3};
    static constexpr MacAddress kHostMac{2, 0, 0, 0, 1, 1}, kMsee1Mac{2, 0, 0, 0, 2, 1}, kMsee2Mac{2, 0, 0, 0, 2, 2};

    SmallWorld();
    SmallWorld(const SmallWorld&) = delete;
    SmallWorld& operator=(const SmallWorld&) = delete;

    // Makes a packet that lives as long as the world; its mbuf belongs to `port` as if it had been received there.
    TestPacket& packet(std::span<const std::uint8_t> bytes, std::uint16_t port = kLanPort);
    // An untagged frame from the LAN host; a tagged one from an MSEE.
    TestPacket& from_lan(std::span<const std::uint8_t> ip_packet);
    TestPacket& from_msee(std::span<const std::uint8_t> ip_packet, std::uint16_t vlan = 300, PortIndex port = kPriPort);

    template <class S>
    void run(S& stage, std::initializer_list<TestPacket*> packets) {
        batch.clear();
        for (TestPacket* p : packets) {
            batch.push(&p->mbuf);
        }
        stage.process(ctx, batch);
    }
    std::uint64_t drops(Drop reason) const { return counters[reason].read(); }
    // From now on the tunnel's ESP is in UDP (RFC 3948); both ports 0: no more.
    void encapsulate(std::size_t tunnel, std::uint16_t local_port = 4500, std::uint16_t remote_port = 4500);
    // From now on the tunnel has these ends, of either IP version.
    void between(std::size_t tunnel, const std::string& local, const std::string& remote);
    std::uint64_t all_drops() const;
    // The equation of WorkerCounters, for packets that have come to their ends.
    bool accounts_are_right() const;

    // What stages took from ctx.buffers and ctx.large_buffers, in order. Take no more than `buffers_left`.
    std::deque<ExactPacket> made;
    std::size_t buffers_left = 1u << 20;

    NaiveFib fib;
    Snapshot config;
    WorkerCounters counters;
    Engine engine;
    std::unique_ptr<OutboundSa> out0, out1;  // our tunnels' outbound SAs
    std::unique_ptr<InboundSa> in0, in1;     // our inbound ones
    std::unique_ptr<OutboundSa> peer0;       // the peer's outbound SA of tunnel 0: what in0 opens
    std::unique_ptr<InboundSa> peer_in0;     // opens what out0 seals
    std::unique_ptr<Context> context;        // large
    Context& ctx;
    Batch batch;

private:
    void make_buffers();
    void make_legs();
    void make_paths();
    void make_tunnels();
    void receive();
    void make_routes();
    std::deque<TestPacket> packets_;
};

}  // namespace twinspan::test
