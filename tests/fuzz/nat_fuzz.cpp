// Conversations through the NAT of the whole graph, from both sides. Byte 0 of the input chooses the modes, byte 1 the
// limits; then steps of eight bytes: what, who, which ports, protocol and flags, and four that What needs. Everything
// that leaves must be translated, with checksums as good as they came, and no two sessions may share an end.
#include "tests/fuzz/nat_invariants.hpp"
#include "tests/support/fragments.hpp"

#include <deque>

namespace twinspan {
namespace {

using test::Bytes;
using test::SmallWorld;

enum Mode : std::uint8_t {
    kIndependent = 1,
    kBlocks = 2,
    kAnyProtocol = 4,
    kStatics = 8,
    kTwice = 16,
    kNoInboundRefresh = 32,
    kHostLimit = 64,
    kFewPorts = 128,
};
enum What : std::uint8_t { kInside, kOutside, kAnswer, kError, kChanged, kRaw, kTime, kFragments };
constexpr std::size_t kStep = 8;
using Step = std::span<const std::uint8_t, kStep>;

constexpr const char* kHosts[] = {"10.10.0.10", "10.10.0.11", "10.10.0.12", "10.10.1.13"};
constexpr const char* kRemotes[] = {"13.107.6.9",   "13.107.7.9",   "13.107.6.10",   "198.51.100.1",
                                    "198.51.100.2", "198.51.100.5", "198.51.100.17", "10.10.255.1"};
constexpr const char* kPools[] = {"198.51.100.1", "198.51.100.2", "198.51.100.5", "198.51.100.17"};
constexpr std::uint16_t kPorts[] = {22, 443, 2000, 2001, 2002, 8443, 0, 65535};
constexpr std::uint8_t kFlags[] = {kTcpSyn, kTcpSyn | kTcpAck, kTcpAck, kTcpFin | kTcpAck,
                                   kTcpRst, kTcpRst | kTcpAck, 0,       0xff};

std::uint8_t low(std::uint8_t value, unsigned n) { return static_cast<std::uint8_t>(value % n); }

// proto: 0 TCP, 1 UDP, 2 UDP without a checksum, 3 to 6 queries, 7 GRE, UDP-Lite or DCCP.
Bytes build(const test::PacketSpec& spec, std::uint8_t proto) {
    switch (proto) {
        case 0:
            return test::tcp_packet(spec);
        case 1:
        case 2: {
            test::PacketSpec udp = spec;
            udp.udp_checksum = proto == 1;
            return test::udp_packet(udp);
        }
        case 3:
        case 5:
        case 4:
        case 6: {
            Bytes packet = proto % 2 == 1 ? test::echo_request(spec) : test::echo_reply(spec);
            if (proto >= 5) {  // timestamp and its answer: types 13 and 14 for 8 and 0
                const std::size_t at = 20 + spec.ip_options.size();
                packet[at] = proto == 5 ? 13 : 14;
                test::set_checksums(packet);
            }
            return packet;
        }
        default: {
            static constexpr std::uint8_t kOthers[] = {47, 136, 33, 50};
            return test::ip_packet(spec, kOthers[spec.src_port % 4], spec.payload);
        }
    }
}

class Walk {
public:
    Walk(test::GraphWorld& world, std::uint8_t modes, std::uint8_t limits)
        : world_(world),
          modes_(modes),
          table_({.sessions = 4u + limits % 64u, .workers = 1, .seed = 1}, *world.readers),
          invariants_(world, table_) {
        world_.ctx.nat = &table_;
        NatPool& pool = world_.config.pools[0];
        pool = test::nat_pool({"198.51.100.1", "198.51.100.2"});
        if ((modes & kFewPorts) != 0) {
            pool.first_port = 2000;
            pool.last_port = 2007;
        }
        pool.mapping = on(kIndependent) ? NatMapping::endpoint_independent : NatMapping::endpoint_dependent;
        pool.open_filter = on(kIndependent) && (limits & 128) != 0;
        pool.block_ports = on(kBlocks) ? 4 : 0;
        pool.host_blocks = 2;
        pool.any_protocol = on(kAnyProtocol);
        pool.inbound_refresh = !on(kNoInboundRefresh);
        pool.host_sessions = on(kHostLimit) ? 3 : 0;
        pool.host_rate = on(kHostLimit) && (limits & 64) != 0 ? 1 : 0;
        if (on(kStatics)) {
            pool.statics = NatStatics{{{.outside = test::ip4("198.51.100.5"), .inside = test::ip4(kHosts[0])},
                                       {.outside = test::ip4("198.51.100.1"),
                                        .inside = test::ip4(kHosts[1]),
                                        .protocol = +IpProtocol::tcp,
                                        .outside_port = to_be16(443),
                                        .inside_port = to_be16(8443)}}};
            pool.reserved = on(kFewPorts) ? std::vector<PortRange>{} : std::vector<PortRange>{{2002, 2002}};
        }
        if (on(kTwice)) {
            NatPool source = test::nat_pool({"10.10.255.1"}, 2000, 2003);
            pool.from_microsoft = std::make_shared<const NatPool>(source);
        }
        world_.config.has_nat_options = pool.has_options();
    }

    // Returns how many bytes behind the step it has used.
    std::size_t step(Step s, std::span<const std::uint8_t> rest) {
        const auto port = static_cast<std::uint16_t>((s[0] & 64) != 0 ? SmallWorld::kSecPort : SmallWorld::kPriPort);
        switch (s[0] % 8) {
            case kInside:
                send({conversation(s, true)}, SmallWorld::kLanPort, true);
                return 0;
            case kOutside:
                send({conversation(s, false)}, port, true);
                return 0;
            case kAnswer:
                return again(s, [&](const Bytes& sent) { return answer(sent, s); }, true);
            case kError:
                return again(s, [&](const Bytes& sent) { return error(sent, s); }, true);
            case kChanged:
                return again(s, [&](const Bytes& sent) { return changed(answer(sent, s), s); }, false);
            case kRaw: {
                const std::size_t n = std::min<std::size_t>(rest.size(), s[4]);
                send({Bytes(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(n))},
                     (s[1] & 1) != 0 ? std::uint16_t{SmallWorld::kLanPort} : port, false);
                return n;
            }
            case kTime:
                pass((s[1] + 1u) * ((s[2] & 1) != 0 ? 60u : 1u));
                return 0;
            default:
                fragments(s, (s[1] & 128) != 0 ? port : std::uint16_t{SmallWorld::kLanPort});
                return 0;
        }
    }

    // All that is held ends in time.
    void finish() {
        pass(8 * 24 * 3600);
        invariants_.nothing_left();
        world_.ctx.nat = &world_.table;
    }

private:
    struct Sent {
        Bytes packet;
        std::uint16_t port;
    };

    bool on(Mode mode) const { return (modes_ & mode) != 0; }
    bool takes_sessions() const { return on(kStatics) || world_.config.pools[0].open_filter; }

    Bytes conversation(Step s, bool inside) const {
        test::PacketSpec spec{.src = inside ? kHosts[low(s[1], 4)] : kRemotes[low(s[1], 8)],
                              .dst = inside ? kRemotes[low(s[1] >> 4, 8)] : kPools[low(s[1] >> 4, 4)],
                              .src_port = kPorts[low(s[2], 8)],
                              .dst_port = kPorts[low(s[2] >> 4, 8)],
                              .payload = test::filler(s[4]),
                              .ttl = static_cast<std::uint8_t>((s[5] & 1) != 0 ? 1 : 64),
                              .fragment = static_cast<std::uint16_t>((s[5] & 2) != 0 ? 0x4000 : 0),
                              .ip_options = Bytes((s[5] & 4) != 0 ? 8 : 0, 1),
                              .tcp_flags = kFlags[low(s[3] >> 4, 8)],
                              .sequence = s[6]};
        if ((s[5] & 8) != 0) {
            spec.payload = test::filler(1480u + s[4]);
        }
        return build(spec, low(s[3], 8));
    }

    template <class Make>
    std::size_t again(Step s, Make make, bool good) {
        if (!sent_.empty()) {
            const Sent& sent = sent_[s[1] % sent_.size()];
            const Bytes packet = make(sent.packet);
            const bool other_link = sent.port != SmallWorld::kLanPort && (s[0] & 64) != 0;
            send({packet}, other_link ? std::uint16_t{SmallWorld::kSecPort} : sent.port, good && !packet.empty());
        }
        return 0;
    }

    // What the receiver says to it.
    static Bytes answer(Bytes packet, Step s) {
        const std::size_t l4 = (packet[0] & 15u) * 4u;
        std::swap_ranges(packet.begin() + 12, packet.begin() + 16, packet.begin() + 16);
        packet[8] = 64;
        if ((packet[9] == +IpProtocol::tcp || packet[9] == +IpProtocol::udp) && packet.size() >= l4 + 8) {
            std::swap_ranges(packet.begin() + static_cast<std::ptrdiff_t>(l4),
                             packet.begin() + static_cast<std::ptrdiff_t>(l4) + 2,
                             packet.begin() + static_cast<std::ptrdiff_t>(l4) + 2);
            if (packet[9] == +IpProtocol::tcp && packet.size() >= l4 + 20) {
                packet[l4 + 13] = kFlags[low(s[3], 8)];
            }
        } else if (packet[9] == +IpProtocol::icmp && packet.size() >= l4 + 8) {
            packet[l4] = packet[l4] == 8 ? 0 : packet[l4] == 13 ? 14 : packet[l4];
        }
        test::set_checksums(packet);
        return packet;
    }

    // What the receiver, or a router before it, says about it.
    static Bytes error(const Bytes& packet, Step s) {
        static constexpr std::uint8_t kTypes[] = {3, 11, 12, 4};
        const auto address = [&](std::size_t at) {
            std::string text;
            for (std::size_t i = 0; i < 4; ++i) {
                text += (i == 0 ? "" : ".") + std::to_string(packet[at + i]);
            }
            return text;
        };
        const std::size_t quoted = std::min<std::size_t>(packet.size(), 20u + s[4]);
        return test::icmp_error_packet({.src = (s[5] & 1) != 0 ? "203.0.113.99" : address(16), .dst = address(12)},
                                       kTypes[s[3] % 4], static_cast<std::uint8_t>(s[3] >> 4),
                                       std::span{packet}.first(quoted), s[6]);
    }

    static Bytes changed(Bytes packet, Step s) {
        packet[(std::size_t{s[4]} << 8 | s[5]) % packet.size()] ^= static_cast<std::uint8_t>(s[6] | 1);
        return packet;
    }

    // Pieces in any order, in one burst or one by one; bit 6 of s[5]: one is missing.
    void fragments(Step s, std::uint16_t port) {
        const Bytes whole = conversation(s, port == SmallWorld::kLanPort);
        if ((whole[0] & 15) != 5 || (whole[6] & 0x40) != 0) {
            return;
        }
        std::vector<Bytes> pieces = test::fragments4(whole, 8u * (1u + s[6] % 128u));
        if (pieces.empty() || pieces.size() > 12) {
            return;
        }
        std::rotate(pieces.begin(), pieces.begin() + s[7] % static_cast<std::ptrdiff_t>(pieces.size()), pieces.end());
        if ((s[5] & 64) != 0) {
            pieces.pop_back();
        }
        if ((s[5] & 128) != 0) {
            send(pieces, port, true);
            return;
        }
        for (const Bytes& piece : pieces) {
            send({piece}, port, true);
        }
    }

    void send(const std::vector<Bytes>& packets, std::uint16_t port, bool good) {
        if (packets.empty()) {
            return;
        }
        static constexpr VlanTag kTag{kEtherTypeVlan, to_be16(300)};
        const bool lan = port == SmallWorld::kLanPort;
        const bool primary = port == SmallWorld::kPriPort;
        std::vector<Bytes> frames;
        for (const Bytes& packet : packets) {
            frames.push_back(lan ? test::ethernet_frame(SmallWorld::kOurLanMac, SmallWorld::kHostMac, {}, packet)
                                 : test::ethernet_frame(primary ? SmallWorld::kOurPriMac : SmallWorld::kOurSecMac,
                                                        primary ? SmallWorld::kMsee1Mac : SmallWorld::kMsee2Mac,
                                                        {&kTag, 1}, packet));
        }
        invariants_.walk(frames, port, good, !lan && !takes_sessions());
        for (auto& [packet, left] : invariants_.take_sent()) {
            sent_.push_back({std::move(packet), left});
        }
        while (sent_.size() > 8) {
            sent_.pop_front();
        }
    }

    void pass(std::uint32_t seconds) {
        world_.ctx.now_seconds += seconds;
        world_.ctx.now_tsc += seconds * test::GraphWorld::kReassemblyTimeout / 2;
        invariants_.age();
    }

    test::GraphWorld& world_;
    std::uint8_t modes_;
    NatTable table_;
    test::NatInvariants invariants_;
    std::deque<Sent> sent_;
};

}  // namespace
}  // namespace twinspan

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace twinspan;
    static test::GraphWorld& world = test::nat_fuzz_world();
    if (size < 2) {
        return 0;
    }
    Walk walk{world, data[0], data[1]};
    std::span<const std::uint8_t> rest{data + 2, size - 2};
    while (rest.size() >= kStep) {
        const Step s = rest.first<kStep>();
        rest = rest.subspan(kStep);
        rest = rest.subspan(walk.step(s, rest));
    }
    walk.finish();
    return 0;
}
