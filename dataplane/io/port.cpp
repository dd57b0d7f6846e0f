#include "dataplane/io/port.hpp"

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>

#include <net/if.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <string_view>
#include <utility>

namespace twinspan {
namespace {

constexpr std::uint16_t kNoDevice = RTE_MAX_ETHPORTS;
constexpr std::uint16_t kDescriptors = 2048;
constexpr std::uint16_t kMaxRxQueues = 64;

// A queue in a pointer: the packet path needs three small numbers, and no object that has to stay alive.
void* pack(unsigned device, unsigned queue, unsigned index) noexcept {
    return reinterpret_cast<void*>(static_cast<std::uintptr_t>(device | queue << 16) |
                                   static_cast<std::uintptr_t>(index) << 32);
}
std::uint16_t device_of(void* arg) noexcept {
    return static_cast<std::uint16_t>(reinterpret_cast<std::uintptr_t>(arg));
}
std::uint16_t queue_of(void* arg) noexcept {
    return static_cast<std::uint16_t>(reinterpret_cast<std::uintptr_t>(arg) >> 16);
}
std::uint16_t index_of(void* arg) noexcept {
    return static_cast<std::uint16_t>(reinterpret_cast<std::uintptr_t>(arg) >> 32);
}

std::uint16_t receive(void* arg, rte_mbuf** out, std::uint16_t n) noexcept {
    return rte_eth_rx_burst(device_of(arg), queue_of(arg), out, n);
}

// The driver writes its own number into each packet; where ours differs, it is written over.
std::uint16_t receive_and_relabel(void* arg, rte_mbuf** out, std::uint16_t n) noexcept {
    const std::uint16_t got = receive(arg, out, n);
    for (std::uint16_t i = 0; i < got; ++i) {
        out[i]->port = index_of(arg);
    }
    return got;
}

std::uint16_t transmit(void* arg, rte_mbuf** packets, std::uint16_t n) noexcept {
    return rte_eth_tx_burst(device_of(arg), queue_of(arg), packets, n);
}

std::string_view device_name(std::string_view device) noexcept { return device.substr(0, device.find(',')); }

bool starts_with_any(std::string_view text, std::initializer_list<std::string_view> prefixes) noexcept {
    return std::ranges::any_of(prefixes, [&](std::string_view p) { return text.starts_with(p); });
}

// Drivers that deal packets over all their queues whether we ask for them or not: all must be read.
bool has_fixed_queues(std::string_view device) noexcept {
    return starts_with_any(device, {"net_af_packet", "net_af_xdp", "net_pcap", "net_ring"});
}

// The driver sits behind a Linux interface, which it names in its arguments.
std::string kernel_netdev(std::string_view device, unsigned if_index) {
    if (starts_with_any(device, {"net_af_packet", "net_af_xdp", "net_tap"})) {
        for (std::size_t at = device.find(','); at != std::string_view::npos; at = device.find(',', at + 1)) {
            const std::string_view argument = device.substr(at + 1, device.find(',', at + 1) - at - 1);
            if (argument.starts_with("iface=")) {
                return std::string{argument.substr(6)};
            }
        }
    }
    char name[IF_NAMESIZE];  // a NIC that Linux and DPDK share
    return if_index != 0 && if_indextoname(if_index, name) != nullptr ? name : "";
}

}  // namespace

Error Port::failed(const std::string& what, int code) const {
    return {"port " + spec_.name + " (" + spec_.device + "): " + what +
            (code == 0 ? "" : std::string{": "} + rte_strerror(code))};
}

Result<Port> Port::open(const PortSpec& spec, std::uint16_t index, std::uint16_t workers, rte_mempool* buffers) {
    Port port{spec, kNoDevice};
    port.info_.index = index;
    Result<void> done;
    if (!spec.shared.empty()) {
        done = port.prepare_shared();
    }
    if (done) {
        done = port.probe();
    }
    if (done) {
        done = port.configure(workers, buffers);
    }
    if (done && port.steering_ != nullptr) {
        done = port.steering_->take_over(port.info_.mac);
        port.info_.blind_to_stripped_tags = port.steering_->blind_to_stripped_tags();
    }
    return done ? Result<Port>{std::move(port)} : std::unexpected(done.error());
}

Result<void> Port::prepare_shared() {
    auto steering = XdpSteering::prepare(spec_.shared);
    if (!steering) {
        return std::unexpected(Error{"port " + spec_.name + ": " + steering.error().what});
    }
    steering_ = std::move(*steering);
    if (steering_->mtu() < spec_.mtu) {
        return std::unexpected(Error{"port " + spec_.name + ": MTU " + std::to_string(spec_.mtu) +
                                     " is more than the " + std::to_string(steering_->mtu()) + " of netdev " +
                                     spec_.shared});
    }
    spec_.device = steering_->device("net_af_xdp_" + std::to_string(info_.index));
    return {};
}

Result<void> Port::probe() {
    if (const int rc = rte_dev_probe(spec_.device.c_str()); rc != 0) {
        return std::unexpected(failed("no such device, or its driver did not take it", -rc));
    }
    const std::string name{device_name(spec_.device)};
    if (const int rc = rte_eth_dev_get_port_by_name(name.c_str(), &device_); rc != 0) {
        device_ = kNoDevice;
        return std::unexpected(failed("the device is no network port", -rc));
    }
    return {};
}

Port::Port(Port&& other) noexcept
    : spec_(std::move(other.spec_)),
      device_(std::exchange(other.device_, kNoDevice)),
      rx_queues_(other.rx_queues_),
      info_(std::move(other.info_)),
      steering_(std::move(other.steering_)) {}

Port::~Port() {
    steering_.reset();  // the driver takes off whatever program is there
    if (device_ != kNoDevice) {
        rte_eth_dev_stop(device_);
        rte_eth_dev_close(device_);
    }
}

Result<void> Port::configure(std::uint16_t workers, rte_mempool* buffers) {
    rte_eth_dev_info device{};
    if (const int rc = rte_eth_dev_info_get(device_, &device); rc != 0) {
        return std::unexpected(failed("no information", -rc));
    }
    if (device.max_tx_queues < workers) {
        return std::unexpected(failed("it has " + std::to_string(device.max_tx_queues) + " transmit queues, and " +
                                          std::to_string(workers) +
                                          " workers need one each (AF_PACKET: qpairs=, AF_XDP: queue_count=)",
                                      0));
    }
    rx_queues_ = has_fixed_queues(spec_.device) ? device.max_rx_queues : std::min(workers, device.max_rx_queues);
    rx_queues_ = std::min(rx_queues_, kMaxRxQueues);

    // No offloads: the stages check and write checksums, and Parse reads the tags from the frame.
    rte_eth_conf conf{};
    // But AF_PACKET gets the outer tag beside the frame, and would put it back as 0x8100 whatever it was.
    if (spec_.device.starts_with("net_af_packet")) {
        conf.rxmode.offloads = device.rx_offload_capa & RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
    }
    conf.rxmode.mtu = std::clamp<std::uint32_t>(spec_.mtu, device.min_mtu, device.max_mtu);
    if (rx_queues_ > 1 && device.flow_type_rss_offloads != 0) {
        conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        conf.rx_adv_conf.rss_conf.rss_hf =
            device.flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP);
    }
    const std::uint16_t tx_queues = has_fixed_queues(spec_.device) ? device.max_tx_queues : workers;
    if (const int rc = rte_eth_dev_configure(device_, rx_queues_, tx_queues, &conf); rc != 0) {
        return std::unexpected(failed("configuring " + std::to_string(rx_queues_) + " receive and " +
                                          std::to_string(tx_queues) + " transmit queues",
                                      -rc));
    }
    if (auto made = make_queues(device, tx_queues, buffers); !made) {
        return made;
    }
    // The MTU of a shared NIC is Linux's affair.
    const int rc = steering_ != nullptr ? 0 : rte_eth_dev_set_mtu(device_, spec_.mtu);
    if (rc != 0 && rc != -ENOTSUP) {
        return std::unexpected(failed("MTU " + std::to_string(spec_.mtu), -rc));
    }
    rte_ether_addr mac{};
    rte_eth_macaddr_get(device_, &mac);
    std::memcpy(info_.mac.data(), mac.addr_bytes, info_.mac.size());
    info_.kernel_netdev = kernel_netdev(spec_.device, device.if_index);
    return {};
}

Result<void> Port::make_queues(const rte_eth_dev_info& device, std::uint16_t tx_queues, rte_mempool* buffers) {
    std::uint16_t rx_descriptors = kDescriptors;
    std::uint16_t tx_descriptors = kDescriptors;
    rte_eth_dev_adjust_nb_rx_tx_desc(device_, &rx_descriptors, &tx_descriptors);
    const auto socket = static_cast<unsigned>(rte_eth_dev_socket_id(device_));
    for (std::uint16_t q = 0; q < rx_queues_; ++q) {
        if (const int rc = rte_eth_rx_queue_setup(device_, q, rx_descriptors, socket, &device.default_rxconf, buffers);
            rc != 0) {
            return std::unexpected(failed("receive queue " + std::to_string(q), -rc));
        }
    }
    for (std::uint16_t q = 0; q < tx_queues; ++q) {
        if (const int rc = rte_eth_tx_queue_setup(device_, q, tx_descriptors, socket, &device.default_txconf);
            rc != 0) {
            return std::unexpected(failed("transmit queue " + std::to_string(q), -rc));
        }
    }
    return {};
}

Result<void> Port::start() {
    if (const int rc = rte_eth_dev_start(device_); rc != 0) {
        return std::unexpected(failed("starting it", -rc));
    }
    // Neighbour discovery and routing protocols need multicast; a device that cannot filter it gives us everything. On
    // a shared NIC the steering sees to it.
    if (steering_ == nullptr && rte_eth_allmulticast_enable(device_) != 0) {
        rte_eth_promiscuous_enable(device_);
    }
    return {};
}

bool Port::link_up() const {
    rte_eth_link link{};
    return rte_eth_link_get_nowait(device_, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

PortStats Port::stats() const {
    rte_eth_stats s{};
    rte_eth_stats_get(device_, &s);
    return {.rx_packets = s.ipackets,
            .rx_bytes = s.ibytes,
            .tx_packets = s.opackets,
            .tx_bytes = s.obytes,
            .rx_missed = s.imissed + s.rx_nombuf,
            .rx_errors = s.ierrors,
            .tx_errors = s.oerrors};
}

Result<void> Port::steer(const Steering& wanted) {
    auto done =
        steering_ != nullptr ? steering_->set(wanted) : std::unexpected(Error{"the NIC is not shared with Linux"});
    return done ? done : std::unexpected(Error{"port " + spec_.name + ": " + done.error().what});
}

SteeringCounters Port::steered() const { return steering_ != nullptr ? steering_->counters() : SteeringCounters{}; }

RxQueue Port::rx_queue(std::uint16_t queue) const noexcept {
    return {.burst = device_ == info_.index ? receive : receive_and_relabel, .arg = pack(device_, queue, info_.index)};
}

TxQueue Port::tx_queue(std::uint16_t worker) const noexcept {
    return {.burst = transmit, .arg = pack(device_, worker, info_.index)};
}

}  // namespace twinspan
