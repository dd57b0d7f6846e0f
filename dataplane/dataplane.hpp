// The data plane as control sees it: ports, netdevs, workers, tables, counters. No mbufs here.
#pragma once

#include "dataplane/base/error.hpp"
#include "dataplane/config/route_result.hpp"
#include "dataplane/config/snapshot.hpp"
#include "dataplane/config/steering.hpp"
#include "dataplane/state/nat_restored.hpp"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace twinspan {

class WorkerCounters;
class IkeHold;
class NatTable;
struct NatEvent;

struct DataplaneOptions {
    std::string name = "twinspan";  // EAL file prefix: a second daemon of this name is refused
    std::string runtime_directory = "/run/twinspan";  // of the lock file
    bool hugepages = true;
    std::uint32_t memory_mib = 1024;
    std::uint16_t workers = 1;
    std::vector<unsigned> cpus;           // one per worker; empty: the scheduler chooses
    bool sleep_when_idle = true;          // design decision 9
    std::uint32_t punts_per_second = 10'000;        // to Linux, per worker, of each PuntClass
    std::uint32_t icmp_errors_per_second = 1'000;   // made here, per worker
    std::uint32_t buffers = 32768;        // mbufs in the pool
    std::uint16_t max_mtu = 1500;         // of all ports and netdevs: the size of the buffers follows
    std::uint16_t reassembled = 256;      // packets in fragments for us, at once
    std::uint32_t large_buffers = 1023;   // for packets made whole or linear, 10 KiB each
    std::uint32_t nat_sessions = 1 << 17;
    std::uint32_t nat_events = 0;         // NatEventMask: what take_nat_events() gives; 0: nothing, at no cost
    bool keep_nat = false;                // sessions outlive the process
    std::filesystem::path nat_saved;      // of sessions, taken once by start(); empty: none
    std::uint32_t max_routes4 = 1 << 21;  // also bounds memory for /25 and longer; taken when used
    std::uint32_t max_routes6 = 1 << 15;
    std::vector<std::string> eal_args;    // appended as they are
};

struct PortSpec {
    std::string name;    // as in the configuration
    std::string device;  // PCI address, or a vdev with its arguments: "net_af_packet0,iface=eth1"
    std::uint16_t mtu = 1500;
    std::string shared = {};  // instead of `device`: a NIC that Linux keeps
};

struct PortInfo {
    std::uint16_t index;      // in Snapshot::ports
    MacAddress mac;
    std::string kernel_netdev;  // the Linux interface behind it (AF_PACKET, AF_XDP), or empty
    // Shared, and the NIC takes VLAN tags off where the XDP program cannot see them.
    bool blind_to_stripped_tags = false;
};

enum class NetdevKind : std::uint8_t { tap, tun };

struct NetdevSpec {
    std::string name;  // at most 15 characters
    NetdevKind kind = NetdevKind::tap;
    MacAddress mac{};  // tap only
    std::uint16_t mtu = 1500;
};

// What is kept of NAT sessions, and what became of those of an earlier run.
struct NatKept {
    std::filesystem::path file;   // where the running daemon has them; empty: they end with the process
    std::filesystem::path saved;  // where a start looks for others
    std::vector<std::string> problems;  // with that memory and with old files, in words
    NatRestored restored;
    std::chrono::milliseconds took{};
};

struct PortStats {
    std::uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes, rx_missed, rx_errors, tx_errors;
};

// Thread: control, unless said otherwise.
class Dataplane {
public:
    // Starts EAL, makes the buffer pool and the tables. One per process.
    static Result<std::unique_ptr<Dataplane>> create(const DataplaneOptions& options);
    ~Dataplane();  // stops workers, closes ports, removes netdevs and EAL's files
    Dataplane(const Dataplane&) = delete;
    Dataplane& operator=(const Dataplane&) = delete;

    Result<PortInfo> add_port(const PortSpec& spec);
    // The netdev appears in the calling thread's network namespace, down and without carrier.
    Result<std::uint16_t> add_netdev(const NetdevSpec& spec);  // index in Snapshot::netdevs
    void set_carrier(std::uint16_t netdev, bool up);
    // What Linux's IKE sends on the TAPs waits there for release(), from start() on, if it is opened before.
    IkeHold& ike();

    // Ports and netdevs are complete; NAT sessions are put back; workers begin with `first`.
    Result<void> start(std::unique_ptr<const Snapshot> first);

    // Never blocks; the old snapshot is freed when every worker has let it go.
    void publish(std::unique_ptr<const Snapshot> next);
    // Blocks until every worker has passed a quiescent point: microseconds, or a sleep's length.
    void synchronize();
    // From a timer: frees what was retired. Returns how many snapshots still wait.
    std::size_t reclaim();

    // The FIBs are updated in place while workers read. `length` in bits. Errors: no room.
    Lookup4 fib4() const;
    Lookup6 fib6() const;
    Result<void> insert(be32 prefix, unsigned length, RouteResult result);
    Result<void> insert(const Ipv6Address& prefix, unsigned length, RouteResult result);
    void erase(be32 prefix, unsigned length);
    void erase(const Ipv6Address& prefix, unsigned length);

    // Link state by the driver; ports with a kernel netdev are better watched by rtnetlink.
    bool link_up(std::uint16_t port) const;
    PortStats port_stats(std::uint16_t port) const;

    // Shared ports: what the workers take from Linux. Nothing until the first call, nothing after the end.
    Result<void> steer(std::uint16_t port, const Steering& wanted);
    SteeringCounters steered(std::uint16_t port) const;

    // Workers first, the punt thread last. Any thread may read.
    // Workers: the equation of WorkerCounters.
    // Punt thread: `rx` counts packets read from Linux, `injected` those taken from the workers, `punted` those
    // written to Linux, `tx` those handed to the workers; the same equation holds.
    std::vector<const WorkerCounters*> counters() const;
    const NatTable& nat() const;
    const NatKept& nat_kept() const;  // after start()
    // From a timer, each second at least: what is kept says until when it is true.
    void date_nat();
    // What the NAT did since the last call: at most `most` events of each worker; their `time` is in milliseconds since
    // 1970. Returns how many.
    std::size_t take_nat_events(std::size_t most, const std::function<void(const NatEvent&)>& fn);
    std::uint64_t nat_events_lost() const;

private:
    struct Impl;
    explicit Dataplane(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace twinspan
