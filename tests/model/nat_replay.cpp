// The packet path behind stdin and stdout, for the model in Python: IP packets in, what became of each out. Time is the
// caller's. All numbers are little-endian; README.md beside this file has the layout.
#include "dataplane/graph.hpp"
#include "tests/support/graph_world.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <deque>
#include <iostream>
#include <iterator>
#include <memory>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace twinspan {
namespace {

using test::Bytes;
using test::TestPacket;

constexpr std::size_t kLanHeader = 14, kLinkHeader = 18;  // Ethernet, and one tag
constexpr std::uint8_t kToLinux = 3;  // in a port's place
constexpr std::uint8_t kMade = 0xff;  // in the place of the packet whose buffer it came in
constexpr std::uint32_t kEpoch = 1000;  // seconds, at the caller's zero
constexpr std::uint64_t kTscPerMs = test::GraphWorld::kReassemblyTimeout / 2000;  // fragments wait 2 s
constexpr NatEventMask kTold = kNatSessionEvents | nat_event_bit(NatEventKind::mapping_created) |
                               nat_event_bit(NatEventKind::mapping_ended) |
                               nat_event_bit(NatEventKind::block_allocated) | nat_event_bit(NatEventKind::block_freed);
constexpr std::size_t kEvents = 1u << 16;

// Whole reads and writes, as many bytes as are asked for.
class Pipe {
public:
    // False at the end of input.
    bool read(void* to, std::size_t bytes) {
        auto* out = static_cast<std::uint8_t*>(to);
        while (bytes != 0) {
            if (at_ == in_.size()) {
                in_.resize(1u << 16);
                const ssize_t n = ::read(STDIN_FILENO, in_.data(), in_.size());
                if (n < 0) {
                    throw std::system_error(errno, std::generic_category(), "read");
                }
                in_.resize(static_cast<std::size_t>(n));
                at_ = 0;
                if (n == 0) {
                    return false;
                }
            }
            const std::size_t n = std::min(bytes, in_.size() - at_);
            std::memcpy(out, in_.data() + at_, n);
            at_ += n;
            out += n;
            bytes -= n;
        }
        return true;
    }
    template <class T>
    T take() {
        T value{};
        if (!read(&value, sizeof(value))) {
            throw std::runtime_error("input ends in the middle of a request");
        }
        return value;
    }
    template <class T>
    void put(T value) {
        append(&value, sizeof(value));
    }
    void append(const void* data, std::size_t bytes) {
        const auto* from = static_cast<const std::uint8_t*>(data);
        out_.insert(out_.end(), from, from + bytes);
    }
    void flush() {
        for (std::size_t done = 0; done < out_.size();) {
            const ssize_t n = ::write(STDOUT_FILENO, out_.data() + done, out_.size() - done);
            if (n < 0) {
                throw std::system_error(errno, std::generic_category(), "write");
            }
            done += static_cast<std::size_t>(n);
        }
        out_.clear();
    }

private:
    Bytes in_, out_;
    std::size_t at_ = 0;
};

struct Options {
    std::uint32_t sessions = 4096;
    std::uint64_t seed = 1;
    NatPool pool;
};

class Replay {
public:
    explicit Replay(const Options& options)
        : world_(options.sessions, options.seed), events_(kEvents, kTold, rte_get_tsc_hz()) {
        world_.table.tell(0, events_);
        world_.config.pools[0] = options.pool;
        world_.config.has_nat_options = options.pool.has_options();
        world_.fib.insert4("10.10.1.0", 24, RouteResult{RouteKind::forward, test::SmallWorld::kLanHost});
        if (options.pool.from_microsoft != nullptr) {
            world_.fib.insert4("10.10.255.0", 24, RouteResult{RouteKind::pool, 0});
        }
    }

    // Until the input ends.
    void serve() {
        for (char request = 0; pipe_.read(&request, 1);) {
            switch (request) {
                case 'D':
                    tell_drops();
                    break;
                case 'W':
                    walk();
                    break;
                case 'S':
                    tell_state();
                    break;
                case 'E':
                    pipe_.flush();
                    break;
                default:
                    throw std::runtime_error("unknown request");
            }
        }
    }

private:
    void tell_drops() {
        pipe_.put(static_cast<std::uint8_t>(kDropCount));
        for (const DropInfo& drop : kDropInfo) {
            pipe_.put(static_cast<std::uint8_t>(drop.name.size()));
            pipe_.append(drop.name.data(), drop.name.size());
        }
    }

    void walk() {
        set_time(pipe_.take<std::uint64_t>());
        const auto count = pipe_.take<std::uint8_t>();
        if (count > kBurst) {
            throw std::runtime_error("more packets than a walk takes");
        }
        std::vector<rte_mbuf*> burst;
        for (std::uint8_t i = 0; i < count; ++i) {
            burst.push_back(receive(i));
        }
        refill();
        world_.from_wire(burst);
        tell_sent(burst);
        tell_counted();
        tell_events();
        if (!world_.ended_once(burst) || !world_.accounts_are_right()) {
            throw std::runtime_error("a packet is in two lists or in none, or the accounts are wrong");
        }
        world_.made.clear();
        world_.readers.quiescent(0);
    }

    // Sessions and fragments end at the first moment that they may, as a worker that has nothing else to do ends them.
    void set_time(std::uint64_t ms) {
        world_.ctx.now_tsc = ms * kTscPerMs;
        world_.reassembly.expire(world_.ctx.now_tsc, world_.counters);
        const auto now = static_cast<std::uint32_t>(kEpoch + ms / 1000);
        if (now == world_.ctx.now_seconds) {
            return;
        }
        world_.ctx.now_seconds = now;
        for (int i = 0; i < 3; ++i) {  // unlink, wait, free
            world_.table.age(0, now, world_.config.pools, 1u << 24);
            world_.readers.quiescent(0);
        }
    }

    rte_mbuf* receive(std::uint8_t i) {
        const auto port = pipe_.take<std::uint8_t>();
        Bytes packet(pipe_.take<std::uint16_t>());
        if (port > test::SmallWorld::kSecPort || !pipe_.read(packet.data(), packet.size())) {
            throw std::runtime_error("no such port, or no packet");
        }
        static constexpr VlanTag kTag{kEtherTypeVlan, to_be16(300)};
        const bool lan = port == test::SmallWorld::kLanPort, primary = port == test::SmallWorld::kPriPort;
        const Bytes frame =
            lan ? test::ethernet_frame(world_.kOurLanMac, world_.kHostMac, {}, packet)
                : test::ethernet_frame(primary ? world_.kOurPriMac : world_.kOurSecMac,
                                       primary ? world_.kMsee1Mac : world_.kMsee2Mac, {&kTag, 1}, packet);
        while (packets_.size() <= i) {
            packets_.emplace_back(Bytes{});
        }
        TestPacket& p = packets_[i];
        p.assign(frame);
        p.meta() = {};
        p.mbuf.port = port;
        return &p.mbuf;
    }

    void refill() {
        constexpr std::uint64_t kEnough = 1u << 20;
        world_.ctx.icmp_tokens = kEnough;
        world_.ctx.punt_tokens.fill(kEnough);
        world_.buffers_left = kEnough;
    }

    void tell_sent(std::span<rte_mbuf* const> burst) {
        const auto tell = [&](std::uint8_t port, const rte_mbuf* m, std::size_t header) {
            const auto at = std::ranges::find(burst, m);
            const auto bytes = static_cast<std::uint16_t>(m->data_len - header);
            pipe_.put(port);
            pipe_.put(at == burst.end() ? kMade : static_cast<std::uint8_t>(at - burst.begin()));
            pipe_.put(bytes);
            pipe_.append(rte_pktmbuf_mtod_offset(m, const std::uint8_t*, header), bytes);
        };
        std::size_t count = world_.ctx.punted.size() + world_.away.size();
        for (std::uint8_t port = 0; port < kToLinux; ++port) {
            count += world_.ctx.transmit[port].size();
        }
        if (!world_.away.empty() || count > UINT8_MAX) {
            throw std::runtime_error("more came out than is told");
        }
        pipe_.put(static_cast<std::uint8_t>(count));
        for (std::uint8_t port = 0; port < kToLinux; ++port) {
            for (const rte_mbuf* m : world_.ctx.transmit[port]) {
                tell(port, m, port == test::SmallWorld::kLanPort ? kLanHeader : kLinkHeader);
            }
        }
        for (const rte_mbuf* m : world_.ctx.punted) {
            tell(kToLinux, m, 0);
        }
    }

    // Drops by name since the last walk, and how many fragments are waiting.
    void tell_counted() {
        std::vector<std::pair<std::uint8_t, std::uint8_t>> news;
        for (std::size_t i = 0; i < kDropCount; ++i) {
            const std::uint64_t all = world_.counters[static_cast<Drop>(i)].read();
            if (all != drops_[i]) {
                news.emplace_back(i, all - drops_[i]);
                drops_[i] = all;
            }
        }
        pipe_.put(static_cast<std::uint8_t>(news.size()));
        for (const auto& [reason, count] : news) {
            pipe_.put(reason);
            pipe_.put(count);
        }
        pipe_.put(static_cast<std::uint8_t>(world_.counters.held.read()));
    }

    void tell_events() {
        std::vector<NatEvent> events;
        events_.take(kEvents, [&events](const NatEvent& event) { events.push_back(event); });
        if (events_.lost() != 0) {
            throw std::runtime_error("the log has lost something");
        }
        pipe_.put(static_cast<std::uint32_t>(events.size()));
        for (const NatEvent& event : events) {
            pipe_.put(static_cast<std::uint8_t>(event.kind));
            tell_key(event.inside);
            tell_key(event.outside);
        }
    }

    void tell_key(const NatKey& key) {
        pipe_.put(key.address().host());
        pipe_.put(key.remote().host());
        pipe_.put(key.port().host());
        pipe_.put(key.remote_port().host());
        pipe_.put(key.protocol());
    }

    // All live sessions; the pool's counters; ports in use of each of its addresses and protocols, in their order.
    void tell_state() {
        std::vector<NatSessionView> sessions;
        world_.table.for_each(world_.table.capacity(), [&](const NatSessionView& view) { sessions.push_back(view); });
        pipe_.put(static_cast<std::uint32_t>(sessions.size()));
        for (const NatSessionView& view : sessions) {
            if (world_.table.find_inside(view.inside) != world_.table.find_outside(view.outside)) {
                throw std::runtime_error("a session is not found from both its ends");
            }
            tell_key(view.inside);
            tell_key(view.outside);
            pipe_.put(view.last_seen - kEpoch);
        }
        const NatUsage usage = world_.table.usage(0);
        for (const std::uint64_t count :
             {usage.sessions, usage.opened, usage.expired, usage.evicted, usage.ports_exhausted,
              usage.sessions_exhausted, usage.blocks_exhausted, usage.host_limited, usage.host_rate_limited}) {
            pipe_.put(count);
        }
        const NatPool& pool = world_.config.pools[0];
        for (std::uint32_t i = 0; i < pool.address_count; ++i) {
            for (const NatProtocol protocol : {NatProtocol::tcp, NatProtocol::udp, NatProtocol::icmp}) {
                pipe_.put(world_.table.ports_in_use(pool.nth_address(i), protocol).value_or(UINT32_MAX));
            }
        }
    }

    test::GraphWorld world_;
    NatEventRing events_;
    Pipe pipe_;
    std::deque<TestPacket> packets_;
    std::array<std::uint64_t, kDropCount> drops_{};
};

// FIRST-LAST of addresses or ports.
std::pair<std::string, std::string> parts(const std::string& range) {
    const std::size_t dash = range.find('-');
    return dash == std::string::npos ? std::pair{range, range}
                                     : std::pair{range.substr(0, dash), range.substr(dash + 1)};
}
PortRange ports(const std::string& range) {
    const auto [first, last] = parts(range);
    return {static_cast<std::uint16_t>(std::stoul(first)), static_cast<std::uint16_t>(std::stoul(last))};
}

void add_addresses(NatPool& pool, const std::vector<std::string>& ranges) {
    for (const std::string& text : ranges) {
        const auto [first, last] = parts(text);
        pool.addresses.push_back({test::ip4(first), test::ip4(last)});
        pool.address_count += pool.addresses.back().last.host() - pool.addresses.back().first.host() + 1;
    }
}
// OUTSIDE,INSIDE of a whole host, or with ,PROTOCOL,PORT,INSIDE-PORT.
NatStatic static_mapping(const std::string& text) {
    std::istringstream in{text};
    std::vector<std::string> fields;
    for (std::string field; std::getline(in, field, ',');) {
        fields.push_back(field);
    }
    NatStatic mapping{.outside = test::ip4(fields.at(0)), .inside = test::ip4(fields.at(1))};
    if (fields.size() > 2) {
        mapping.protocol = static_cast<std::uint8_t>(std::stoul(fields[2]));
        mapping.outside_port = to_be16(static_cast<std::uint16_t>(std::stoul(fields.at(3))));
        mapping.inside_port = to_be16(static_cast<std::uint16_t>(std::stoul(fields.at(4))));
    }
    return mapping;
}

Options parse(int argc, char** argv) {
    Options options;
    NatPool& pool = options.pool;
    std::vector<std::string> addresses, reserved, statics, from_microsoft;
    std::string range = "1024-65535";
    bool independent = false, no_inbound_refresh = false;
    CLI::App app{"The packet path behind stdin and stdout"};
    app.add_option("--sessions", options.sessions);
    app.add_option("--seed", options.seed);
    app.add_option("--pool", addresses)->required();
    app.add_option("--ports", range);
    app.add_option("--reserved", reserved);
    app.add_option("--static", statics);
    app.add_option("--from-microsoft", from_microsoft);
    app.add_flag("--any-protocol", pool.any_protocol);
    app.add_flag("--endpoint-independent", independent);
    app.add_flag("--open-filter", pool.open_filter);
    app.add_flag("--no-inbound-refresh", no_inbound_refresh);
    app.add_option("--host-limit", pool.host_sessions);
    app.add_option("--host-rate", pool.host_rate);
    app.add_option("--block-size", pool.block_ports);
    app.add_option("--blocks-per-host", pool.host_blocks);
    app.add_option("--udp", pool.timeouts.udp);
    app.add_option("--tcp-established", pool.timeouts.tcp_established);
    app.add_option("--tcp-transitory", pool.timeouts.tcp_transitory);
    app.add_option("--tcp-closing", pool.timeouts.tcp_closing);
    app.add_option("--icmp", pool.timeouts.icmp);
    app.add_option("--other", pool.timeouts.other);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        std::exit(app.exit(error));
    }
    add_addresses(pool, addresses);
    if (!from_microsoft.empty()) {
        NatPool source;
        add_addresses(source, from_microsoft);
        pool.from_microsoft = std::make_shared<const NatPool>(source);
    }
    std::vector<NatStatic> mappings;
    std::ranges::transform(statics, std::back_inserter(mappings), static_mapping);
    pool.statics = NatStatics{mappings};
    for (const std::string& text : reserved) {
        pool.reserved.push_back(ports(text));
    }
    const PortRange given = ports(range);
    pool.first_port = given.first;
    pool.last_port = given.last;
    pool.mapping = independent ? NatMapping::endpoint_independent : NatMapping::endpoint_dependent;
    pool.inbound_refresh = !no_inbound_refresh;
    return options;
}

}  // namespace
}  // namespace twinspan

int main(int argc, char** argv) {
    try {
        twinspan::Replay{twinspan::parse(argc, argv)}.serve();
    } catch (const std::exception& error) {
        std::cerr << "nat_replay: " << error.what() << '\n';
        return 1;
    }
}
