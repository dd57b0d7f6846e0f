// A NIC that Linux keeps: DPDK's AF_XDP driver has sockets on it, and our XDP program says which frames they get. The
// program hangs on a bpf_link: it goes with the process, however that ends, and Linux has every frame again.
#pragma once

#include "dataplane/base/descriptor.hpp"
#include "dataplane/base/error.hpp"
#include "dataplane/io/xdp_program.hpp"

#include <cstdint>
#include <memory>
#include <string>

namespace twinspan {

class XdpSteering {
public:
    // Looks at the NIC, and takes off what a twinspand that was killed while it started may have left there.
    static Result<std::unique_ptr<XdpSteering>> prepare(const std::string& netdev);
    ~XdpSteering();  // the frames are Linux's again; before the driver is closed
    XdpSteering(const XdpSteering&) = delete;
    XdpSteering& operator=(const XdpSteering&) = delete;

    std::uint16_t queues() const noexcept { return queues_; }
    std::uint16_t mtu() const noexcept { return mtu_; }
    std::string device(const std::string& driver_name) const;  // for rte_dev_probe(); this object lives as long

    // The driver has its sockets: puts our program in the place of its own. Until set(), all frames are Linux's.
    Result<void> take_over(const MacAddress& mac);
    Result<void> set(const Steering& wanted);
    SteeringCounters counters() const { return program_->counters(); }
    // Tags that the NIC takes off cannot be seen here: frames with them look untagged.
    bool blind_to_stripped_tags() const noexcept { return blind_; }

private:
    explicit XdpSteering(std::string netdev) : netdev_(std::move(netdev)) {}
    Result<void> inspect();
    Result<void> make_file();
    Result<Descriptor> take_off_driver_program() const;
    Result<void> attach(const MacAddress& mac, int sockets_map, bool bound);
    Error failed(const std::string& what, int code) const;

    std::string netdev_;
    unsigned ifindex_ = 0;
    std::uint16_t queues_ = 1;
    std::uint16_t mtu_ = 1500;
    bool strips_tags_ = false;
    bool blind_ = false;
    Descriptor file_{-1};           // the driver loads its program from here
    Descriptor all_multicast_{-1};  // a socket that asks for it: the wish ends with the socket
    std::unique_ptr<XdpProgram> program_;
    Descriptor link_{-1};
};

}  // namespace twinspan
