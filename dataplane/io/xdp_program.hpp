// The XDP program of a shared port (dataplane/xdp/steer.bpf.c) in the kernel, and its maps. It steers nothing until it
// is attached.
#pragma once

#include "dataplane/base/error.hpp"
#include "dataplane/config/steering.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <set>

struct steer;  // NOLINT(readability-identifier-naming): as bpftool names it

namespace twinspan {

class XdpProgram {
public:
    struct Options {
        MacAddress mac{};
        int sockets_map = -1;    // the map to take the sockets from; -1: one of its own, empty
        unsigned bound_to = 0;   // ifindex; then the program also sees the tags that this NIC takes off (kernel 6.8)
    };
    static Result<XdpProgram> load(const Options& options);
    XdpProgram(XdpProgram&&) noexcept;
    XdpProgram& operator=(XdpProgram&&) noexcept;
    ~XdpProgram();

    // Only what differs from the last time is written; a frame sees either the old or the new entry of each kind.
    Result<void> set(const Steering& wanted);
    SteeringCounters counters() const;
    int fd() const noexcept { return program_; }
    int sockets_map() const noexcept;

private:
    struct Close {
        void operator()(steer* object) const noexcept;
    };
    explicit XdpProgram(steer* object) noexcept;

    std::unique_ptr<steer, Close> object_;
    int program_ = -1;
    std::set<std::uint32_t> tunnel_addresses_;
    std::map<IpPrefix, SteerTo> prefixes_;
    std::set<SteeredTags> tags_;
};

}  // namespace twinspan
