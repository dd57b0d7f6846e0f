// A DPDK device by its name, opened the way the data plane wants it.
#pragma once

#include "dataplane/dataplane.hpp"
#include "dataplane/io/queue.hpp"
#include "dataplane/io/xdp_steering.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

struct rte_eth_dev_info;  // NOLINT(readability-identifier-naming): DPDK's
struct rte_mempool;

namespace twinspan {

// Thread: control, but for the queues.
class Port {
public:
    // Probes and configures the device: a transmit queue per worker, receive queues as the device has them. `index` is
    // the port's in Snapshot::ports. Fails with the device's name and what it lacks.
    static Result<Port> open(const PortSpec& spec, std::uint16_t index, std::uint16_t workers, rte_mempool* buffers);
    Port(Port&& other) noexcept;
    Port& operator=(Port&&) = delete;
    ~Port();

    Result<void> start();  // packets flow from here on
    const PortInfo& info() const noexcept { return info_; }
    bool link_up() const;
    PortStats stats() const;
    Result<void> steer(const Steering& wanted);  // of a shared port
    SteeringCounters steered() const;

    // To be dealt to the workers; a queue is for one worker alone.
    std::uint16_t rx_queues() const noexcept { return rx_queues_; }
    RxQueue rx_queue(std::uint16_t queue) const noexcept;
    TxQueue tx_queue(std::uint16_t worker) const noexcept;

private:
    Port(PortSpec spec, std::uint16_t device) : spec_(std::move(spec)), device_(device) {}
    Result<void> prepare_shared();
    Result<void> probe();
    Result<void> configure(std::uint16_t workers, rte_mempool* buffers);
    Result<void> make_queues(const rte_eth_dev_info& device, std::uint16_t tx_queues, rte_mempool* buffers);
    Error failed(const std::string& what, int code) const;

    PortSpec spec_;
    std::uint16_t device_;  // DPDK's port id
    std::uint16_t rx_queues_ = 0;
    PortInfo info_{};
    std::unique_ptr<XdpSteering> steering_;  // of a shared port
};

}  // namespace twinspan
