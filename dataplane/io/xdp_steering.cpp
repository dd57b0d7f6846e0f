#include "dataplane/io/xdp_steering.hpp"

#include "dataplane/xdp/steer.h"

#include <sockets.skel.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

namespace twinspan {
namespace {

constexpr std::string_view kDriverProgram = "twinspan_pass";  // of sockets.bpf.c
constexpr std::string_view kSocketsMap = "xsks_map";

struct AttachedProgram {
    Descriptor fd;
    bpf_prog_info info;
    std::string name() const { return {info.name, strnlen(info.name, sizeof info.name)}; }
};

// What a frame of this interface meets first.
std::optional<AttachedProgram> attached_program(unsigned ifindex) {
    std::uint32_t id = 0;
    if (bpf_xdp_query_id(static_cast<int>(ifindex), 0, &id) != 0 || id == 0) {
        return std::nullopt;
    }
    AttachedProgram program{Descriptor{bpf_prog_get_fd_by_id(id)}, {}};
    std::uint32_t size = sizeof program.info;
    if (program.fd.get() < 0 || bpf_obj_get_info_by_fd(program.fd.get(), &program.info, &size) != 0) {
        program.info.id = id;
    }
    return program;
}

int take_off(unsigned ifindex, const AttachedProgram& program) {
    LIBBPF_OPTS(bpf_xdp_attach_opts, options, .old_prog_fd = program.fd.get());
    return bpf_xdp_detach(static_cast<int>(ifindex), XDP_FLAGS_REPLACE, &options);
}

Descriptor open_map(const AttachedProgram& program, std::string_view name) {
    std::array<std::uint32_t, 8> ids{};
    bpf_prog_info info{};
    info.nr_map_ids = ids.size();
    info.map_ids = reinterpret_cast<std::uintptr_t>(ids.data());
    std::uint32_t size = sizeof info;
    if (bpf_obj_get_info_by_fd(program.fd.get(), &info, &size) != 0) {
        return Descriptor{-1};
    }
    for (std::size_t i = 0; i < std::min<std::size_t>(info.nr_map_ids, ids.size()); ++i) {
        Descriptor map{bpf_map_get_fd_by_id(ids[i])};
        bpf_map_info found{};
        size = sizeof found;
        if (map.get() >= 0 && bpf_obj_get_info_by_fd(map.get(), &found, &size) == 0 && name == found.name) {
            return map;
        }
    }
    return Descriptor{-1};
}

template <class Command>
bool ask_ethtool(int socket, ifreq& request, Command& command) {
    request.ifr_data = reinterpret_cast<char*>(&command);
    return ioctl(socket, SIOCETHTOOL, &request) == 0;
}

}  // namespace

Error XdpSteering::failed(const std::string& what, int code) const {
    return {"netdev " + netdev_ + ": " + what + (code == 0 ? "" : std::string{": "} + std::strerror(code))};
}

Result<std::unique_ptr<XdpSteering>> XdpSteering::prepare(const std::string& netdev) {
    std::unique_ptr<XdpSteering> self{new XdpSteering{netdev}};
    Result<void> done = self->inspect();
    if (done) {
        done = self->make_file();
    }
    return done ? Result<std::unique_ptr<XdpSteering>>{std::move(self)} : std::unexpected(done.error());
}

XdpSteering::~XdpSteering() = default;

Result<void> XdpSteering::inspect() {
    ifindex_ = if_nametoindex(netdev_.c_str());
    if (ifindex_ == 0 || netdev_.size() >= IFNAMSIZ) {
        return std::unexpected(failed("no such interface", 0));
    }
    const Descriptor socket{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
    ifreq request{};
    netdev_.copy(request.ifr_name, IFNAMSIZ - 1);
    if (ioctl(socket.get(), SIOCGIFMTU, &request) == 0) {
        mtu_ = static_cast<std::uint16_t>(std::min(request.ifr_mtu, 0xffff));
    }
    // As DPDK's driver counts them: without combined channels there is one queue.
    ethtool_channels channels{};
    channels.cmd = ETHTOOL_GCHANNELS;
    const bool combined = ask_ethtool(socket.get(), request, channels) && channels.max_combined != 0;
    queues_ = static_cast<std::uint16_t>(std::clamp<unsigned>(combined ? channels.combined_count : 1, 1, STEER_QUEUES));
    ethtool_value flags{};
    flags.cmd = ETHTOOL_GFLAGS;
    strips_tags_ = ask_ethtool(socket.get(), request, flags) && (flags.data & ETH_FLAG_RXVLAN) != 0;

    const auto program = attached_program(ifindex_);
    if (program && (program->name() != kDriverProgram || take_off(ifindex_, *program) != 0)) {
        return std::unexpected(failed("another XDP program, \"" + program->name() + "\" (id " +
                                          std::to_string(program->info.id) + "), is attached already",
                                      0));
    }
    return {};
}

Result<void> XdpSteering::make_file() {
    std::size_t size = 0;
    const void* object = sockets__elf_bytes(&size);
    file_ = Descriptor{memfd_create("twinspan-sockets", MFD_CLOEXEC)};
    if (file_.get() < 0 || write(file_.get(), object, size) != static_cast<ssize_t>(size)) {
        return std::unexpected(failed("a file in memory for the driver's XDP program", errno));
    }
    return {};
}

// Copy mode: in zero-copy mode Linux would lose the ring of each queue, and get its own frames as copies. No busy
// polling: the NIC's interrupts go on to serve Linux, and with it the sockets.
std::string XdpSteering::device(const std::string& driver_name) const {
    return driver_name + ",iface=" + netdev_ + ",start_queue=0,queue_count=" + std::to_string(queues_) +
           ",force_copy=1,busy_budget=0,xdp_prog=/proc/self/fd/" + std::to_string(file_.get());
}

Result<Descriptor> XdpSteering::take_off_driver_program() const {
    const auto program = attached_program(ifindex_);
    if (!program || program->name() != kDriverProgram) {
        return std::unexpected(failed("DPDK's driver did not attach the XDP program that it was given", 0));
    }
    Descriptor map = open_map(*program, kSocketsMap);
    if (map.get() < 0) {
        return std::unexpected(failed("the map of the driver's sockets cannot be opened", errno));
    }
    if (const int rc = take_off(ifindex_, *program); rc != 0) {
        return std::unexpected(failed("taking the driver's XDP program off", -rc));
    }
    return map;
}

Result<void> XdpSteering::take_over(const MacAddress& mac) {
    auto taken = take_off_driver_program();
    if (!taken) {
        return std::unexpected(taken.error());
    }
    if (attach(mac, taken->get(), true)) {
        return {};
    }
    blind_ = strips_tags_;
    return attach(mac, taken->get(), false);
}

Result<void> XdpSteering::attach(const MacAddress& mac, int sockets_map, bool bound) {
    auto program = XdpProgram::load({.mac = mac, .sockets_map = sockets_map, .bound_to = bound ? ifindex_ : 0});
    if (!program) {
        return std::unexpected(failed(program.error().what, 0));
    }
    Descriptor link{bpf_link_create(program->fd(), static_cast<int>(ifindex_), BPF_XDP, nullptr)};
    if (link.get() < 0) {
        return std::unexpected(failed("attaching the XDP program", errno));
    }
    program_ = std::make_unique<XdpProgram>(std::move(*program));
    link_ = std::move(link);
    return {};
}

Result<void> XdpSteering::set(const Steering& wanted) {
    if (!wanted.tags.empty() && all_multicast_.get() < 0) {
        // Neighbour discovery and routing protocols on the tagged legs.
        Descriptor socket{::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)};
        packet_mreq wish{};
        wish.mr_ifindex = static_cast<int>(ifindex_);
        wish.mr_type = PACKET_MR_ALLMULTI;
        if (setsockopt(socket.get(), SOL_PACKET, PACKET_ADD_MEMBERSHIP, &wish, sizeof wish) != 0) {
            return std::unexpected(failed("asking for all multicast", errno));
        }
        all_multicast_ = std::move(socket);
    }
    return program_->set(wanted);
}

}  // namespace twinspan
