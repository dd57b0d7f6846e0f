// The one thread that serves all netdevs: packets for Linux come from the workers' rings and are written to the TAPs
// and TUNs; packets that Linux sends are read and dealt to the workers, a netdev always to the same one.
#pragma once

#include "dataplane/dataplane.hpp"
#include "dataplane/io/buffers.hpp"
#include "dataplane/io/ike_hold.hpp"
#include "dataplane/io/tun_device.hpp"
#include "dataplane/packet/batch.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace twinspan {

class PuntThread {
public:
    static constexpr unsigned kRingSize = 1024;

    // Thread: control. `name` tells the rings of several instances in one process apart.
    static Result<std::unique_ptr<PuntThread>> create(const std::string& name, std::uint16_t workers,
                                                      rte_mempool* buffers);
    ~PuntThread();  // removes the netdevs; the workers have ended
    PuntThread(const PuntThread&) = delete;
    PuntThread& operator=(const PuntThread&) = delete;

    Result<std::uint16_t> add(const NetdevSpec& spec);  // before start()
    void set_carrier(std::uint16_t netdev, bool up) const noexcept;
    void start();
    void stop();

    // A worker puts what it punts into the one, and takes from the other what Linux sent.
    rte_ring* punt_ring(std::uint16_t worker) const noexcept { return links_[worker].punted.get(); }
    rte_ring* inject_ring(std::uint16_t worker) const noexcept { return links_[worker].injected.get(); }

    const WorkerCounters& counters() const noexcept { return *counters_; }
    // What Linux's IKE sends on the TAPs waits there, once it is open.
    IkeHold& ike() noexcept { return ike_; }

private:
    struct WorkerLink {
        PacketRing punted;
        PacketRing injected;
    };

    explicit PuntThread(rte_mempool* buffers) noexcept : buffers_(buffers) {}
    void run();
    unsigned write_punted() noexcept;
    void write_one(rte_mbuf& m) noexcept;
    unsigned read_ready(int timeout_us) noexcept;
    unsigned read_netdev(std::uint16_t netdev) noexcept;
    void take_from_linux(rte_mbuf& m, std::uint16_t netdev) noexcept;
    void inject(rte_mbuf& m) noexcept;
    unsigned inject_released() noexcept;
    void drop(rte_mbuf* m, Drop reason) noexcept;

    rte_mempool* buffers_;
    int epoll_ = -1;
    std::vector<WorkerLink> links_;
    std::vector<TunDevice> netdevs_;
    std::vector<NetdevKind> kinds_;  // as netdevs_
    IkeHold ike_;
    std::unique_ptr<WorkerCounters> counters_ = std::make_unique<WorkerCounters>();
    std::array<char, 65536> discard_;  // what is read when there is no buffer
    std::atomic<bool> stop_{false};    // control: writes
    std::thread thread_;
};

}  // namespace twinspan
