// The tables that the benchmarks run against: real ones, of the size the setting names.
#pragma once

#include "bench/traffic.hpp"
#include "crypto/ipsec_mb.hpp"
#include "crypto/sa.hpp"
#include "dataplane/base/error.hpp"
#include "dataplane/config/fib.hpp"
#include "dataplane/config/snapshot.hpp"
#include "dataplane/config/snapshot_slot.hpp"
#include "dataplane/state/nat_table.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace twinspan::bench {

enum class Path : std::uint8_t { forward, nat_out, nat_in, esp_out, esp_in };
inline constexpr std::array kPaths{Path::forward, Path::nat_out, Path::nat_in, Path::esp_out, Path::esp_in};
std::string_view name_of(Path path) noexcept;
constexpr bool is_esp(Path path) noexcept { return path == Path::esp_out || path == Path::esp_in; }
constexpr bool is_nat(Path path) noexcept { return path == Path::nat_out || path == Path::nat_in; }

// What stands before the SPI.
enum class Outer : std::uint8_t { ipv4, ipv6, udp };

struct Setting {
    std::string name;
    unsigned routes;
    unsigned tunnels;
    unsigned sessions;  // NAT sessions, and flows of the other paths
    unsigned tunnels_per_route = 2;
    Suite suite = Suite::aes_256_gcm;
    Outer outer = Outer::ipv4;
    std::uint32_t window = 1'024;  // anti-replay
    unsigned busy_routes = 0;      // only the first so many have flows; 0: all
    std::uint32_t nat_records = 0; // that the NAT table has room for; 0: twice the sessions
    std::uint16_t nat_workers = 2; // that share the NAT table's ageing
    bool opened = true;            // the flows have their sessions from the start
};
inline Setting one() { return {.name = "one", .routes = 1, .tunnels = 1, .sessions = 1'000}; }
inline Setting many() { return {.name = "many", .routes = 1'000, .tunnels = 64, .sessions = 100'000}; }
// So many tunnels, each behind a route of its own. The flows are as many whatever the tunnels, in random order.
inline Setting scale(unsigned tunnels) {
    return {.name = "scale", .routes = tunnels, .tunnels = tunnels, .sessions = 20'000, .tunnels_per_route = 1};
}

inline constexpr std::uint16_t kInside = 0;   // port and leg index
inline constexpr std::uint16_t kOutside = 1;
inline constexpr unsigned kMostWorkers = 2;
inline constexpr MacAddress kOurMac{0x02, 0x00, 0x00, 0x00, 0x00, 0x01};

// So many sessions in random order, in a table that they fill but for what it keeps for new ones.
inline Setting nat_scale(unsigned sessions) {
    return {.name = "nat",
            .routes = sessions < 10'000 ? 1u : 1'000,
            .tunnels = 1,
            .sessions = sessions,
            .nat_records = sessions + 4'096};
}

// One site for one path and setting. Every route's group has two members (one tunnel in setting `one`), so flows are
// hashed as they are when both links are up.
class Site {
public:
    static Result<std::unique_ptr<Site>> create(Path path, const Setting& setting, Engine& engine,
                                                std::uint32_t now_seconds);

    // The flows of this path, in random order, as they arrive here.
    const std::vector<Flow>& flows() const noexcept { return flows_; }
    Path path() const noexcept { return path_; }
    std::string name() const { return std::string{name_of(path_)} + "/" + setting_.name; }
    std::uint16_t rx_port() const noexcept {
        return path_ == Path::nat_in || path_ == Path::esp_in ? kOutside : kInside;
    }
    SnapshotSlot& snapshots() noexcept { return *slot_; }
    NatTable& nat() noexcept { return *nat_; }
    const Snapshot& peer() const noexcept { return peer_; }

    // From nat_out to nat_in: the flows become their replies. No worker has a source of this site.
    Result<void> turn_round();
    // Control, while no worker runs: a session for each flow, last seen then.
    Result<void> open_sessions(std::uint32_t now_seconds);

    // Control, beside workers: gives these tunnels new SAs both ways, publishes that, and frees what nobody holds any
    // more.
    Result<void> rekey(const std::vector<unsigned>& tunnels, Engine& engine);

private:
    struct Retired {
        std::unique_ptr<OutboundSa> out;
        std::unique_ptr<InboundSa> in;
    };
    Site(Path path, const Setting& setting, Fib4 fib, Fib6 fib6)
        : path_(path), setting_(setting), fib_(std::move(fib)), fib6_(std::move(fib6)) {}
    Result<void> build(Engine& engine, std::uint32_t now_seconds);
    void make_legs(Snapshot& snapshot) const;
    void make_groups(Snapshot& snapshot) const;
    Result<void> make_tunnels(Snapshot& snapshot, Engine& engine);
    Result<void> make_routes();
    void make_flows();

    Path path_;
    Setting setting_;
    Fib4 fib_;
    Fib6 fib6_;
    std::vector<std::unique_ptr<OutboundSa>> outbound_;
    std::vector<std::unique_ptr<InboundSa>> inbound_;
    std::vector<InboundSaEntry> entries_;
    const Snapshot* published_ = nullptr;
    std::uint32_t next_spi_ = 0x10'0000;
    std::vector<Retired> retired_;  // not in the published snapshot; older ones may still be read
    std::unique_ptr<SnapshotSlot> slot_;
    std::unique_ptr<NatTable> nat_;
    Snapshot peer_;
    std::vector<Flow> flows_;
};

}  // namespace twinspan::bench
