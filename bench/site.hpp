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
#include <string_view>
#include <vector>

namespace twinspan::bench {

enum class Path : std::uint8_t { forward, nat_out, nat_in, esp_out, esp_in };
inline constexpr std::array kPaths{Path::forward, Path::nat_out, Path::nat_in, Path::esp_out, Path::esp_in};
std::string_view name_of(Path path) noexcept;
constexpr bool is_esp(Path path) noexcept { return path == Path::esp_out || path == Path::esp_in; }

struct Setting {
    std::string_view name;
    unsigned routes;
    unsigned tunnels;
    unsigned sessions;  // NAT sessions, and flows of the other paths
};
inline constexpr Setting kOne{"one", 1, 1, 1'000};
inline constexpr Setting kMany{"many", 1'000, 64, 100'000};

inline constexpr std::uint16_t kInside = 0;   // port and leg index
inline constexpr std::uint16_t kOutside = 1;
inline constexpr MacAddress kOurMac{0x02, 0x00, 0x00, 0x00, 0x00, 0x01};

// One site for one path and setting. Every route's group has two members (one tunnel in setting `one`), so flows are
// hashed as they are when both links are up.
class Site {
public:
    static Result<std::unique_ptr<Site>> create(Path path, const Setting& setting, Engine& engine,
                                                std::uint32_t now_seconds);

    // The flows of this path, in random order, as they arrive here.
    const std::vector<Flow>& flows() const noexcept { return flows_; }
    std::uint16_t rx_port() const noexcept {
        return path_ == Path::nat_in || path_ == Path::esp_in ? kOutside : kInside;
    }
    SnapshotSlot& snapshots() noexcept { return *slot_; }
    NatTable& nat() noexcept { return *nat_; }
    const Snapshot& peer() const noexcept { return peer_; }

private:
    Site(Path path, const Setting& setting, Fib4 fib) : path_(path), setting_(setting), fib_(std::move(fib)) {}
    Result<void> build(Engine& engine, std::uint32_t now_seconds);
    void make_legs(Snapshot& snapshot) const;
    void make_groups(Snapshot& snapshot) const;
    Result<void> make_tunnels(Snapshot& snapshot, Engine& engine);
    Result<void> make_routes();
    void make_flows();
    Result<void> open_sessions(const Snapshot& snapshot, std::uint32_t now_seconds);

    Path path_;
    Setting setting_;
    Fib4 fib_;
    std::vector<std::unique_ptr<OutboundSa>> outbound_;
    std::vector<std::unique_ptr<InboundSa>> inbound_;
    std::unique_ptr<SnapshotSlot> slot_;
    std::unique_ptr<NatTable> nat_;
    Snapshot peer_;
    std::vector<Flow> flows_;
};

}  // namespace twinspan::bench
